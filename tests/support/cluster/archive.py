"""
Image archives of one layer, written by hand: for images that need no build.

The form is that of `docker save`, which containerd and buildah both load.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.support.cluster.binaries import path


def busybox_archive(target: Path, name: str, entrypoint: list[str]) -> Path:
    """BusyBox under every name that it answers to, as the numeric user 65532."""
    program = path("busybox")
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout.split()
    layer = target.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.addfile(_entry("bin", tarfile.DIRTYPE, 0o755))
        with program.open("rb") as data:
            file = _entry("bin/busybox", tarfile.REGTYPE, 0o755)
            file.size = program.stat().st_size
            tar.addfile(file, data)
        for applet in sorted(set(applets) - {"busybox"}):
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            tar.addfile(link)
        tar.addfile(_entry("tmp", tarfile.DIRTYPE, 0o1777))
    config = {"Entrypoint": entrypoint, "User": "65532:65532", "Env": ["PATH=/bin"]}
    try:
        return one_layer_archive(target, name, layer, config)
    finally:
        layer.unlink()


def one_layer_archive(target: Path, name: str, layer: Path, config: dict[str, Any]) -> Path:
    """`layer` is a tar of a whole root; `config` is the image's, such as `{"Entrypoint": [...], "User": "65532"}`."""
    digest = hashlib.sha256()
    with layer.open("rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
        # buildah builds upon no image whose history does not account for its layers
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": target.stem}],
    }
    raw_image = json.dumps(image).encode()
    image_name = f"{hashlib.sha256(raw_image).hexdigest()}.json"
    manifest = [{"Config": image_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    fresh = target.with_suffix(".new")
    with tarfile.open(fresh, "w") as tar:
        for member, data in ((image_name, raw_image), ("manifest.json", json.dumps(manifest).encode())):
            file = _entry(member, tarfile.REGTYPE, 0o644)
            file.size = len(data)
            tar.addfile(file, io.BytesIO(data))
        tar.add(layer, "layer.tar")
    return fresh.replace(target)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
