"""What a peon takes for its memory and cores, by the files of cgroups as they are in pods and on machines."""

import os
from pathlib import Path

import pytest

from peon import allowance

GIB = 1 << 30


class Cgroup:
    """A mount and a membership to look at."""

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "cgroup"
        self.membership = folder / "self"

    def write(self, membership: str, **files: str) -> None:
        """Files by path, `__` for `/`."""
        self.membership.write_text(membership)
        for name, text in files.items():
            file = self.mount / name.replace("__", "/").replace("_DOT_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")

    def memory(self) -> int | None:
        return allowance.memory_bytes(self.mount, self.membership)

    def cores(self) -> int:
        return allowance.cores(self.mount, self.membership)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    return Cgroup(tmp_path)


def test_a_pod_of_cgroup_v2_has_its_limit_at_the_mount(cgroup: Cgroup) -> None:
    cgroup.write("0::/\n", memory_DOT_max=str(GIB), cpu_DOT_max="150000 100000")
    assert cgroup.memory() == GIB
    assert cgroup.cores() == 2


def test_a_pod_of_cgroup_v1_sees_its_own_cgroup_at_the_mount_and_the_nodes_path_in_proc(cgroup: Cgroup) -> None:
    cgroup.write(
        "5:memory:/kubepods/burstable/pod1/abc\n3:cpu,cpuacct:/kubepods/burstable/pod1/abc\n0::/\n",
        memory__memory_DOT_limit_in_bytes=str(GIB),
        cpu__cpu_DOT_cfs_quota_us="50000",
        cpu__cpu_DOT_cfs_period_us="100000",
    )
    assert cgroup.memory() == GIB
    assert cgroup.cores() == 1


def test_the_least_limit_on_the_way_up_counts(cgroup: Cgroup) -> None:
    cgroup.write(
        "0::/a/b/c\n",
        a__memory_DOT_max=str(2 * GIB),
        a__b__memory_DOT_max=str(3 * GIB),
        a__b__c__memory_DOT_max="max",
        a__cpu_DOT_max="400000 100000",
        a__b__c__cpu_DOT_max="max 100000",
    )
    assert cgroup.memory() == 2 * GIB
    assert cgroup.cores() == 4


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory_DOT_max": "max", "cpu_DOT_max": "max 100000"},
        {"memory__memory_DOT_limit_in_bytes": "9223372036854771712", "cpu__cpu_DOT_cfs_quota_us": "-1"},
    ],
)
def test_without_a_limit_there_is_none(cgroup: Cgroup, files: dict[str, str]) -> None:
    cgroup.write("5:memory:/x\n3:cpu:/x\n0::/\n", **files)
    assert cgroup.memory() is None
    assert cgroup.cores() == 16


def test_where_there_are_no_cgroups_the_machine_is_ours(tmp_path: Path) -> None:
    assert allowance.memory_bytes(tmp_path, tmp_path / "none") is None
    assert allowance.cores(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))


def test_this_machine_has_an_answer() -> None:
    assert allowance.cores() >= 1
    limit = allowance.memory_bytes()
    assert limit is None or limit > 0
