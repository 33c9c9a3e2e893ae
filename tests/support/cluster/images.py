"""
Our own images, built by buildah from the Dockerfiles, as archives that a node loads.

Kept by the hash of what they are built from: a second run builds nothing, a change builds the layers from it on. The
base is a Debian with Python, made by mmdebstrap once a machine, because no registry may be within reach.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import versions
from tests.support.cluster.archive import one_layer_archive
from tests.support.cluster.binaries import path, require
from tests.support.cluster.node import Node

PROGRAMS = ("buildah", "mmdebstrap")
ROOT = Path(__file__).parents[3]
BASE = "localhost/nemeton/base:test"

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUILD_SECONDS = 1800
_KEPT_ARCHIVES = 2
_CERTIFICATES = Path("/etc/ssl/certs")
# How this machine reaches a package index. Nothing of it stays in an image: all are build arguments.
_PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT")
# Documentation and other languages are half of a small Debian.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


class ImageNotBuilt(Exception):
    """The builder's own words."""


@dataclass(frozen=True, slots=True)
class Image:
    role: str
    dockerfile: str

    @property
    def name(self) -> str:
        """As pods ask for it, with `imagePullPolicy: IfNotPresent` or `Never`."""
        return f"localhost/nemeton/{self.role}:test"


IMAGES = {
    image.role: image
    for image in (
        Image("overlord", "Dockerfile"),
        Image("operator", "Dockerfile"),
        Image("trial", "Dockerfile"),
        Image("peon", "peon-image/Dockerfile"),
    )
}
"""By role, which is the target in the Dockerfile too."""


def load(node: Node, *roles: str) -> None:
    """The images of these roles, on the node. Builds what is not built; twice is once."""
    for role in roles:
        image = IMAGES[role]
        if not node.has_image(image.name):
            node.load_image(archive(role), image.name)


def archive(role: str) -> Path:
    """The image as an archive. Raises ImageNotBuilt, ProgramMissing."""
    image = IMAGES[role]
    folder = versions.images_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{role}-{fingerprint()}.tar"
    if target.exists():
        os.utime(target)
        return target
    require(PROGRAMS)
    with _locked(folder / ".lock"):
        if not target.exists():
            began = time.monotonic()
            _provide_base(folder)
            _build(image, folder, target)
            _forget_old(folder, role)
            print(f"image {role} built in {time.monotonic() - began:.0f} s", flush=True)
    return target


def fingerprint() -> str:
    """Of everything that the Dockerfiles may copy: what `.dockerignore` lets in, and the Dockerfiles."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    dockerfiles = {image.dockerfile for image in IMAGES.values()}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *let_in, *dockerfiles],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    digest = hashlib.sha256(_base_key().encode())
    for name in sorted({name for name in listed.decode().split("\0") if name}):
        file = ROOT / name
        if file.is_file():
            digest.update(f"{name}\0{file.stat().st_mode & 0o111}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _provide_base(folder: Path) -> None:
    """The base under its name in buildah's storage."""
    base = folder / f"base-{_base_key()}.tar"
    if not base.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            layer = Path(work) / "root.tar"
            leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
            packages = f"--include={','.join(versions.DEBIAN_PACKAGES)}"
            command = ["mmdebstrap", "--quiet", "--variant=essential", *leave_out, packages]
            _do([*command, versions.DEBIAN_SUITE, str(layer)])
            one_layer_archive(
                base, BASE, layer, {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
            )
    # Asked every time and not remembered: whoever prunes buildah's storage breaks nothing.
    known = subprocess.run(
        [*_buildah(folder), "inspect", "--type", "image", BASE], capture_output=True, check=False, timeout=60
    )
    if known.returncode != 0 or base.stem.encode() not in known.stdout:
        _do([*_buildah(folder), "pull", "--quiet", f"docker-archive:{base}"])


def _build(image: Image, folder: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        arguments = {"BASE_IMAGE": BASE} | {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
        build = [*_buildah(folder), "build", "--quiet", "--layers", "--pull-never"]
        # No namespaces of a container are needed, and many sandboxes refuse them.
        build += ["--isolation", "chroot", "--network", "host"]
        build += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", *_pip_secret()]
        build += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        _do([*build, "--target", image.role, "--file", image.dockerfile, "--tag", image.name, "."])
        fresh = Path(work) / "image.tar"
        _do(
            [
                *_buildah(folder),
                "push",
                "--quiet",
                "--disable-compression",
                image.name,
                f"docker-archive:{fresh}:{image.name}",
            ]
        )
        fresh.replace(target)


def _pip_secret() -> list[str]:
    places = [os.environ.get("PIP_CONFIG_FILE", ""), "~/.config/pip/pip.conf", "~/.pip/pip.conf", "/etc/pip.conf"]
    for file in (Path(place).expanduser() for place in places if place):
        if file.is_file():
            return ["--secret", f"id=pip.conf,src={file}"]
    return []


def _buildah(folder: Path) -> list[str]:
    storage = folder / "buildah"
    return [str(path("buildah")), "--root", str(storage / "root"), "--runroot", str(storage / "run")]


def _do(command: list[str]) -> None:
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS, stdin=subprocess.DEVNULL
    )
    if answer.returncode != 0:
        raise ImageNotBuilt(f"{' '.join(command[:8])} …: {(answer.stdout + answer.stderr)[-4000:]}")


def _forget_old(folder: Path, role: str) -> None:
    kept = sorted(folder.glob(f"{role}-*.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[_KEPT_ARCHIVES:]:
        file.unlink()


def _base_key() -> str:
    text = " ".join([versions.DEBIAN_SUITE, *versions.DEBIAN_PACKAGES, *_LEFT_OUT])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _locked(file: Path) -> Generator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for each in sys.argv[1:] or IMAGES:
        print(archive(each))
