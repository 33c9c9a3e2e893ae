"""A canary in every place of an applied task where a secret may be: nothing that the operator writes has it."""

import copy
import logging
from typing import Any

import orjson
import pytest

from druid_core.errors import Unavailable
from overlord_operator.names import DRUID_TASKS
from tests.support.operator_world import World
from tests.support.task_specs import index_parallel

CANARY = "c4n4ry-tweets-here"


def secretive_task() -> dict[str, Any]:
    task = index_parallel("mine", context={"password": CANARY, "tags": {"apiKey": CANARY}})
    task["spec"]["ioConfig"]["inputSource"] = {
        "type": "http",
        "uris": [f"https://me:{CANARY}@example.org/a.json?sig={CANARY}"],
        "httpAuthenticationUsername": "me",
        "httpAuthenticationPassword": {"type": "default", "password": CANARY},
        "properties": {"accessKeyId": "AKIA", "secretKey": CANARY},
    }
    return task


def left_by_the_operator(world: World) -> list[str]:
    """Everything in the cluster but the user's own spec."""
    objects = copy.deepcopy(list(world.cluster.objects.items()))
    for (kind, _, _), raw in objects:
        if kind == DRUID_TASKS:
            raw["spec"].pop("task", None)
    return [orjson.dumps(raw).decode() for _, raw in objects] + [
        orjson.dumps(raw).decode() for raw in world.cluster.events
    ]


@pytest.mark.parametrize(("exit_code", "state"), [(0, "SUCCESS"), (1, "FAILED")])
async def test_a_canary_in_a_task_is_in_nothing_that_a_life_leaves(
    exit_code: int, state: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    world = World()
    world.apply(task=secretive_task())
    await world.settle()
    world.run_pod()
    await world.settle()
    words = {"taskId": "mine", "attempt": 1, "exitCode": exit_code, "status": state, "errorMsg": "It broke."}
    world.end_pod(exit_code=exit_code, why="Error" if exit_code else "Completed", last_words=words)
    await world.settle()
    assert world.status()["state"] == state
    left = left_by_the_operator(world)
    assert len(left) > 4
    assert [text for text in left if CANARY in text] == []
    assert CANARY not in caplog.text
    assert CANARY not in str([report.to_wire() for report in world.overlord.reports])


@pytest.mark.parametrize("is_away", [False, True])
async def test_what_an_overlord_repeats_of_a_task_is_covered(
    is_away: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.DEBUG)
    world = World()
    words = f"cannot read https://me:{CANARY}@example.org/a.json?sig={CANARY} with password {CANARY}"
    if is_away:

        async def refuse(*_: object) -> str:
            raise Unavailable(words)

        monkeypatch.setattr(world.overlord, "submit", refuse)
    else:
        world.overlord.refuses = words
    world.apply(task=secretive_task())
    await world.settle()
    assert "cannot read https://me:" in world.status()["message"]
    assert [text for text in left_by_the_operator(world) if CANARY in text] == []
    assert CANARY not in caplog.text


async def test_an_object_that_cannot_be_read_is_not_quoted():
    world = World()
    task = secretive_task()
    del task["type"]
    world.apply(task=task, peon={"resources": CANARY}, retry={"limit": f"password={CANARY}"})
    await world.settle()
    assert world.status()["state"] == "FAILED"
    left = orjson.dumps([world.status(), world.cluster.events]).decode()
    assert CANARY not in left
