"""
What this process may use of its machine: memory and cores, as its cgroup has them.

A pod's limits are its container's cgroup. Libraries that size themselves by the machine take too much there: a pod that
goes beyond its memory is killed, where one that knows its bound spills to disk. Linux: cgroups(7)
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT_BYTES = 1 << 60
"""cgroup v1 writes a number near 2^63 where there is no limit."""


def memory_bytes(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int | None:
    """The least memory limit of our cgroup and those above it, in bytes; None where there is none."""
    limits = [
        limit
        for folder in _folders(mount, membership, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(folder / name)) is not None and limit < _NO_LIMIT_BYTES
    ]
    return min(limits, default=None)


def cores(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """How many threads can run at once: our CPUs, or the quota of our cgroup where that is less; at least 1."""
    count = len(os.sched_getaffinity(0))
    for folder in _folders(mount, membership, "cpu"):
        quota_us, period_us = _quota(folder)
        if quota_us is not None and quota_us > 0 and period_us:
            count = min(count, -(-quota_us // period_us))
    return max(1, count)


def _quota(folder: Path) -> tuple[int | None, int | None]:
    try:
        quota, _, period = (folder / "cpu.max").read_text().strip().partition(" ")
    except OSError:
        return _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return (None, None) if quota == "max" else (int(quota), int(period))


def _folders(mount: Path, membership: Path, controller: str) -> Iterator[Path]:
    """
    Our cgroup and those above it, as far as they can be seen.

    In a container the mount may begin at its own cgroup while /proc tells the path on the node: what does not exist is
    passed over, and the mount itself is always looked at.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = mount / controller if controllers else mount
        own = PurePosixPath(path.lstrip("/"))
        yield from (root / each for each in (own, *own.parents))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such file, or the word `max`
        return None
