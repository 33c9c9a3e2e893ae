"""A run that was killed leaves processes and a folder; the next run takes both away."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.cluster.leftovers import PREFIX, new_folder, remove, sweep
from tests.support.house import until

ROOT = Path(__file__).parents[2]

OWNER = """
import subprocess, sys, time
from tests.support.cluster.leftovers import new_folder
folder = new_folder()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(folder)], start_new_session=True)
print(folder, child.pid, flush=True)
time.sleep(600)
"""


def start_owner() -> tuple["subprocess.Popen[str]", Path, int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folder, pid = owner.stdout.readline().split()
    owner.stdout.close()
    return owner, Path(folder), int(pid)


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_what_a_killed_run_left_is_ended_and_removed() -> None:
    owner, folder, pid = start_owner()
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    assert lives(pid)

    assert folder in sweep()

    until(lambda: not lives(pid), "the left process ends", 10)
    assert not folder.exists()


def test_a_cluster_that_somebody_uses_is_left_alone() -> None:
    owner, folder, pid = start_owner()

    assert folder not in sweep()

    assert lives(pid)
    assert folder.name.startswith(PREFIX)
    remove(folder)
    owner.kill()
    owner.wait(10)
    assert not lives(pid)


def test_the_files_of_a_cluster_are_kept_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_folder()
    (folder / "log").write_text("why it failed")
    monkeypatch.setenv("NEMETON_KEEP_CLUSTER", "1")

    remove(folder)

    assert (folder / "log").read_text() == "why it failed"
    assert folder not in sweep()
    monkeypatch.delenv("NEMETON_KEEP_CLUSTER")
    remove(folder)
    assert not folder.exists()
