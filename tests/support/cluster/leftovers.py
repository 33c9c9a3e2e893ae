"""
The folder of one running cluster, and what a killed run left behind.

Every process of a cluster has the folder's path in its command line and every mount of it lies below, so that the next
run can find both, end them, and remove the folder.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

PREFIX = "nemeton-cluster-"
_IN_MEMORY = Path("/dev/shm")
_OWNER = "owner.json"


def new_folder() -> Path:
    """A folder of this process's own. Sweeps first."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    own = psutil.Process()
    (folder / _OWNER).write_text(json.dumps({"pid": own.pid, "created": own.create_time()}))
    return folder


def in_memory(folder: Path) -> Path:
    """A place beside `folder` that goes with it and has no disk to wait for, where this machine has such."""
    return (_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else folder / "memory") / folder.name


def sweep() -> list[Path]:
    """Ends and removes the clusters whose owner lives no more. Returns their folders."""
    gone: list[Path] = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_ours(folder) and not _has_owner(folder):
            remove(folder)
            gone.append(folder)
    return gone


def remove(folder: Path) -> None:
    """Everything that belongs to the folder ends, then the folder goes. `NEMETON_KEEP_CLUSTER=1` keeps its files."""
    for process in _processes(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(_processes(folder), timeout=20)
    for mount in _mounts(folder):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False, timeout=60)
    _remove_cgroups(folder.name)
    shutil.rmtree(in_memory(folder), ignore_errors=True)
    if os.environ.get("NEMETON_KEEP_CLUSTER") == "1":
        (folder / _OWNER).unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid() and (folder / _OWNER).exists()
    except OSError:
        return False


def _has_owner(folder: Path) -> bool:
    try:
        owner = json.loads((folder / _OWNER).read_text())
        return psutil.Process(owner["pid"]).create_time() == owner["created"]
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return False


def _processes(folder: Path) -> list[psutil.Process]:
    """Those that name the folder, and all that descend from them: containers do not name it."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and any(str(folder) in part for part in process.cmdline()):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
    found.pop(os.getpid(), None)
    return list(found.values())


def _mounts(folder: Path) -> list[str]:
    """The innermost first."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def _remove_cgroups(name: str) -> None:
    """A node puts its pods below a cgroup of its folder's name, in every hierarchy."""
    for root in (*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup") / name):
        if root.is_dir():
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
