"""Kill anything at any moment: what was accepted comes to its end, once."""

import random
import signal
import time
from pathlib import Path

import pytest

from druid_core.errors import Unavailable
from nemeton.client.overlord import Refused
from tests.support.house import House, until

PARTS = ["postgres", "overlord", "middle-manager"]
NOOP = {"type": "noop", "runTime": 3000}


@pytest.mark.parametrize("part", PARTS)
def test_killed_part_comes_back_and_running_tasks_do_not_notice(own_house: House, part: str) -> None:
    running = own_house.submit(NOOP)
    own_house.running(running)
    before = own_house.part(part)
    before.send(signal.SIGKILL)
    own_house.wait_back(part, before)
    assert own_house.finished(running)["statusCode"] == "SUCCESS"
    assert own_house.starts_of(running) == 1
    afterwards = own_house.submit({"type": "noop", "runTime": 1})
    assert own_house.finished(afterwards)["statusCode"] == "SUCCESS"


def test_killed_house_takes_its_parts_along_and_the_next_one_takes_its_peons_over(own_house: House) -> None:
    running = own_house.submit(NOOP | {"runTime": 8000})
    waiting = [own_house.submit(NOOP | {"runTime": 1}) for _ in range(3)]
    own_house.running(running)
    parts = [own_house.part(part) for part in PARTS]
    own_house.kill()
    assert all(part.gone_within(20) for part in parts)
    own_house.start()
    for task_id in [running, *waiting]:
        assert own_house.finished(task_id)["statusCode"] == "SUCCESS"
        assert own_house.starts_of(task_id) == 1


def test_task_whose_peon_was_killed_with_everything_fails_with_the_reason(own_house: House) -> None:
    running = own_house.submit(NOOP | {"runTime": 60_000})
    own_house.running(running)
    own_house.kill()
    for process in own_house.processes():
        process.send(signal.SIGKILL)
    until(lambda: not own_house.processes(), "all are gone")
    own_house.start()
    status = own_house.finished(running)
    assert status["statusCode"] == "FAILED"
    assert status["errorMsg"]
    afterwards = own_house.submit({"type": "noop", "runTime": 1})
    assert own_house.finished(afterwards)["statusCode"] == "SUCCESS"


def test_killed_peon_is_told_with_its_signal(own_house: House) -> None:
    running = own_house.submit(NOOP | {"runTime": 60_000})
    own_house.running(running)
    for peon in own_house.peons():
        peon.send(signal.SIGKILL)
    status = own_house.finished(running)
    assert status["statusCode"] == "FAILED"
    assert "signal 9" in status["errorMsg"]


def test_strangers_pid_in_the_lock_file_and_wide_permissions_stop_nobody(own_house: House) -> None:
    own_house.kill()
    until(lambda: not own_house.processes(), "all are gone")
    lock = own_house.data / "postgres" / "postmaster.pid"
    lock.write_text(f"1\n{own_house.data / 'postgres'}\n")  # a living process that is none of ours
    lock.parent.chmod(0o755)  # as after a copy
    own_house.start()
    assert own_house.answers()


@pytest.mark.chaos
@pytest.mark.timeout(3600)  # as long as it is told to go on
def test_accepted_tasks_end_once_whatever_is_killed_when(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = request.config.getoption("--kills", default=None) or 3
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    chance = random.Random(seed)
    accepted: list[str] = []
    with House(tmp_path / "data", capacity=3) as house:
        for round_number in range(kills):
            for _ in range(3):
                try:
                    accepted.append(house.submit({"type": "noop", "runTime": chance.randint(1, 1500)}))
                except (Unavailable, Refused):  # never accepted, or nobody knows: not ours to follow
                    continue
            time.sleep(chance.random() * 2)
            victim = chance.choice([*PARTS, "house"])
            print(f"round {round_number}: {victim}")
            if victim == "house":
                house.kill()
                house.start()
            else:
                before = house.part(victim)
                before.send(signal.SIGKILL)
                if chance.random() < 0.7:  # else the next kill may hit while it is still down
                    house.wait_back(victim, before)
        until(house.answers, "the Overlord is back")
        for task_id in accepted:
            assert house.finished(task_id)["statusCode"] == "SUCCESS", task_id
            assert house.starts_of(task_id) == 1, task_id
        assert len(accepted) >= kills
    assert not house.processes()
