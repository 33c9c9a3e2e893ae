"""
Environments of clients that others wrote: each its own, since their pins are theirs and not this project's.

What is in one stands in `requirements/NAME.txt`, made of `NAME.in` by
`uv pip compile --universal --python-version 3.11 --no-header --no-annotate NAME.in -o NAME.txt`.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
PROGRAMS = Path(__file__).parent / "programs"
"""Run by a client's own Python, never imported here."""

_INSTALL_SECONDS = 900


class ClientMissing(Exception):
    """A client cannot be installed on this machine; the text says what is missing."""


def client_python(name: str) -> Path:
    """
    The Python of a client's environment, made once a machine and list of requirements, in the user's cache folder.

    Safe when two runs race for it. Raises ClientMissing where the packages cannot be had.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _cache_folder() / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f".{name}.lock"):
        if not (folder / ".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(name, "venv", "--quiet", "--python", sys.executable, str(folder))
            python = str(folder / "bin" / "python")
            _run(name, "pip", "sync", "--quiet", "--python", python, str(requirements))
            (folder / ".done").touch()
    return folder / "bin" / "python"


def _cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/nemeton/clients`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nemeton" / "clients"


def _run(name: str, *arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise ClientMissing(f"No uv beside this Python, to install {name} with: `make setup` brings it")
    answer = subprocess.run(
        [uv, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALL_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if answer.returncode != 0:
        raise ClientMissing(f"The client {name} could not be installed: {answer.stderr.strip()[-600:]}")


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
