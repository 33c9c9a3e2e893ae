"""A keeper as it is in a container: process 1 of a pid namespace, whose end is everybody's."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import orjson
import pytest

from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord_operator.log.ship import make_safe
from tests.support.house import until

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    """Starts a keeper over a child that runs some code, both alone in a pid namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        reason = "a pid namespace needs root and unshare (util-linux)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "work").mkdir()
    own = {
        "NEMETON_TASK_ID": "kept",
        "NEMETON_TASK_LOGS": str(tmp_path / "logs"),
        "NEMETON_TERMINATION_LOG": str(tmp_path / "message"),
    }

    def start(code: str) -> subprocess.Popen[bytes]:
        keeper = [sys.executable, "-m", "tests.support.kept_child", str(tmp_path / "work"), code]
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *keeper],
            stdout=subprocess.PIPE,
            env=dict(os.environ) | own,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_processes_that_nobody_else_buries_are_buried(start: Start, tmp_path: Path) -> None:
    orphans = """
import os, subprocess, sys, time
for _ in range(5):  # children whose parent ends first
    subprocess.run([sys.executable, '-c', 'import os; os.fork() or os.fork()'])
time.sleep(1)
stats = [open(f'/proc/{pid}/stat').read() for pid in os.listdir('/proc') if pid.isdigit()]
states = [stat.rpartition(')')[2].split()[0] for stat in stats]
print(os.getppid(), len(states), states.count('Z'))
"""
    output, _ = start(orphans).communicate(timeout=60)
    assert output == b"1 2 0\n"  # its parent is process 1; the two of them are alone, and nobody is a zombie
    assert orjson.loads((tmp_path / "message").read_bytes())["exitCode"] == 0


async def test_a_pod_that_is_killed_whole_leaves_a_log_that_misses_a_second_at_most(
    start: Start, tmp_path: Path
) -> None:
    talk = "import time\nfor n in range(10**6): print(f'{time.time():.3f} line {n}', flush=True); time.sleep(0.005)"
    process = start(talk)
    logs = TaskLogs.from_url(str(tmp_path / "logs"))
    until(lambda: logs.parts_log("kept", 1).size > 2000, "parts come")
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGKILL)  # and with it, by --kill-child, process 1 of the namespace, and so all
    killed = time.time()
    process.wait(30)
    assert not (tmp_path / "message").exists()
    assert not logs.has_log_of("kept", 1)

    async def node_is_gone(_: object) -> bool:
        return False

    assert await make_safe(logs, "kept", 1, node_is_gone)
    log = logs.read("kept", TaskLogName.LOG)
    assert (tmp_path / "work" / "log").read_bytes().startswith(log)
    last_whole_line = log.rsplit(b"\n", 1)[0].rsplit(b"\n", 1)[-1]
    assert killed - float(last_whole_line.split()[0]) < 2  # a second, and one for a busy machine
