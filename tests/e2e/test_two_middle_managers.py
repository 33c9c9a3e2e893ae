"""Two MiddleManagers on one Overlord."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import orjson
import urllib3

from tests.support.house import House, until


@contextmanager
def another_middle_manager(house: House, folder: Path) -> Generator[str]:
    """A second one, on the same Overlord and storage, started alone. Gives its address."""
    port = 2 * house.worker_port % 20_000 + 20_000
    command = [sys.executable, "-m", "nemeton", "middle-manager", "--overlord", house.overlord.url]
    command += ["--port", str(port), "--worker-capacity", "1", "--data", str(folder), "--peon-start-port", "8200"]
    command += ["--deep-storage", str(house.data / "segments"), "--task-logs", str(house.data / "task-logs")]
    environment = {**os.environ, "NEMETON_RUNNER_TOKEN": (house.data / "runner-token").read_text()}
    with (folder.parent / "second.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def workers(house: House) -> dict[str, int]:
    answer = urllib3.request("GET", f"{house.overlord.url}/druid/indexer/v1/workers")
    return {worker["worker"]["host"]: worker["worker"]["capacity"] for worker in orjson.loads(answer.data)}


def test_both_get_work(tmp_path: Path) -> None:
    with House(tmp_path / "data", capacity=1) as house, another_middle_manager(house, tmp_path / "second") as second:
        until(lambda: second in workers(house), "both are announced")
        assert workers(house) == {f"127.0.0.1:{house.worker_port}": 1, second: 1}
        tasks = [house.submit({"type": "noop", "runTime": 2000}) for _ in range(2)]

        def run_at_once() -> bool:
            return len(house.overlord.tasks(state="running")) == 2

        until(run_at_once, "each runs one of the two")
        assert len(house.peons()) == 1  # the other peon is the other one's
        assert {house.finished(task_id)["statusCode"] for task_id in tasks} == {"SUCCESS"}
        assert all(house.starts_of(task_id) == 1 for task_id in tasks)
