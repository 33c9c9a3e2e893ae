"""A MiddleManager's spares: taken where there are some, made anew in quiet times, and never left behind."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from middle_manager import spares
from middle_manager.process import Peon
from middle_manager.settings import read_settings
from middle_manager.spares import Spares, is_wanted
from tests.support.fake_overlord import FakeOverlord
from tests.unit.middle_manager.conftest import MiddleManagerProcess, wait_until

Start = Callable[..., MiddleManagerProcess]
LONG_MS = 60_000


def noop(task_id: str = "n", run_time_ms: int = LONG_MS) -> dict[str, Any]:
    return {"type": "noop", "id": task_id, "groupId": task_id, "dataSource": "none", "runTime": run_time_ms}


def spare_of(middle_manager: MiddleManagerProcess) -> psutil.Process:
    wait_until(middle_manager.spares, 30)
    (spare,) = middle_manager.spares()
    return spare


def log_of_the_one_task(middle_manager: MiddleManagerProcess) -> bytes:
    """Once it is at work."""

    def logs() -> list[bytes]:
        found = [log.read_bytes() for log in middle_manager.data.glob("tasks/*/log")]
        return [log for log in found if b"Running noop" in log]

    wait_until(logs)
    (log,) = logs()
    return log


def test_a_task_runs_on_a_spare_as_on_any_peon(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    spare = spare_of(middle_manager)
    attempt = overlord.assign(noop())
    assert b"Running task [n] of type [noop]" in log_of_the_one_task(middle_manager).splitlines()[0]
    assert [peon.pid for peon in middle_manager.peons()] == [spare.pid]
    assert list(middle_manager.data.glob("tasks/*/attempt/1/begun"))
    assert set(overlord.tokens) == {"Bearer token-of-n-1"}
    for shown in ("cmdline", "environ"):
        assert b"token-of" not in Path(f"/proc/{spare.pid}/{shown}").read_bytes()
    overlord.stop(attempt)
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"]["errorMsg"] == "Canceled: the peon was told to stop (SIGTERM)"


def test_a_burst_beyond_the_spares_runs(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager("--worker-capacity=4")
    spare_of(middle_manager)
    attempts = [overlord.assign(noop(f"n{number}", 1)) for number in range(4)]
    for attempt in attempts:
        report = overlord.wait_for(lambda ref=attempt: overlord.report_of(ref, "ENDED"))
        assert report["status"] == {**report["status"], "id": attempt[0], "status": "SUCCESS"}


def test_a_killed_spare_is_replaced(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    first = spare_of(middle_manager)
    first.kill()
    wait_until(lambda: [spare for spare in middle_manager.spares() if spare != first], 30)
    assert (
        f"The spare peon of pid {first.pid} ended before it had a task: killed by signal 9 (SIGKILL)"
        in middle_manager.output.read_text()
    )
    attempt = overlord.assign(noop("n", 1))
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))["status"]["status"] == "SUCCESS"


def test_a_task_whose_spare_just_died_gets_another_peon(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    spare_of(middle_manager).kill()
    attempt = overlord.assign(noop("n", 1))
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"]["status"] == "SUCCESS"


def test_a_killed_middle_manager_leaves_no_spare(start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    spare = spare_of(middle_manager)
    middle_manager.kill()
    assert psutil.wait_procs([spare], 15)[0] == [spare]
    assert "Traceback" not in middle_manager.output.read_text()


def test_a_peon_that_was_a_spare_is_found_again(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    spare = spare_of(first)
    attempt = overlord.assign(noop("n", 3000))
    log_of_the_one_task(first)
    first.kill()
    second = start_middle_manager()
    wait_until(lambda: "Attempt 1 of task [n] still runs" in second.output.read_text())
    assert [peon.pid for peon in second.peons()] == [spare.pid]
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))["status"]["status"] == "SUCCESS"


def test_while_the_overlord_is_away_no_spare_is_loaded(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    overlord.go_away()
    middle_manager = start_middle_manager()
    wait_until(lambda: "does not answer" in middle_manager.output.read_text())
    overlord.come_back()
    spare_of(middle_manager)
    words = middle_manager.output.read_text()
    assert 0 < words.index("The Overlord answers again") < words.index("A spare peon waits")
    answered, waits = (
        datetime.fromisoformat(line.split()[0])
        for line in words.splitlines()
        if "answers again" in line or "A spare peon waits" in line
    )
    assert waits - answered >= timedelta(seconds=read_settings(["--overlord=o"], {}).spare_quiet_seconds)


@pytest.mark.parametrize("listens", [True, False])
def test_a_stop_leaves_no_spare(listens: bool, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    spare = spare_of(middle_manager)
    if not listens:
        spare.suspend()
    assert middle_manager.terminate() == 0
    assert middle_manager.spares() == []
    assert not spare.is_running()


@pytest.mark.parametrize(
    ("waiting", "wanted", "running", "slots", "cores", "expected"),
    [
        (0, 1, 0, 2, 2, True),
        # none are wanted
        (0, 0, 0, 2, 2, False),
        # enough are there
        (1, 1, 0, 2, 2, False),
        # no slot is free, or there is a spare for each that is
        (0, 1, 2, 2, 16, False),
        (1, 3, 1, 2, 16, False),
        (0, 1, 0, 0, 2, False),
        # a task is at work on the only two cores; on four it has its own
        (0, 1, 1, 2, 2, False),
        (0, 1, 1, 2, 4, True),
        # one core, and nobody on it
        (0, 1, 0, 1, 1, True),
    ],
)
def test_a_spare_is_loaded_for_a_free_slot_on_idle_cores(
    waiting: int, wanted: int, running: int, slots: int, cores: int, expected: bool
) -> None:
    assert is_wanted(waiting, wanted, running, slots, cores) is expected


@pytest.mark.parametrize(("wanted", "quiet_seconds", "expected"), [(2, 0.0, 2), (0, 0.0, 0), (2, 60.0, 0)])
async def test_as_many_as_are_wanted_once_it_is_quiet(
    wanted: int, quiet_seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spares, "_LOOK_SECONDS", 0.001)
    started: list[Peon] = []

    def start(environment: dict[str, str]) -> Peon:
        started.append(Peon.start(["cat"], environment, tmp_path / "output"))
        return started[-1]

    monkeypatch.setattr(Peon, "start_spare", start)
    kept = Spares(wanted, {}, quiet_seconds)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.keep(lambda: 0, lambda: 4), 0.3)
    await kept.dismiss()
    assert len(started) == expected
    assert all(spare.has_ended for spare in started)


async def test_what_cannot_be_started_is_tried_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "_LOOK_SECONDS", 0.001)
    tries = 0

    def start(environment: dict[str, str]) -> Peon:
        nonlocal tries
        tries += 1
        raise OSError("no memory")

    monkeypatch.setattr(Peon, "start_spare", start)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Spares(1, {}, 0.02).keep(lambda: 0, lambda: 4), 0.5)
    assert 1 <= tries <= 5  # after 20, 60, 140, 300 ms; 25 times if the pause stayed the same
