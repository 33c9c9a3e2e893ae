"""A runner that says which types of tasks it runs is given no others; one that does not say is given all."""

import pytest
from httpx import AsyncClient

from druid_core.runner import OPERATOR
from druid_core.status import TaskStatus
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import explanation, submit
from tests.support.task_specs import kill, noop

INTERVAL = "2026-01-01/2026-01-02"


async def test_a_task_waits_for_a_runner_of_its_type_and_says_so(overlord: AsyncClient) -> None:
    picky = FakeRunner(overlord, "picky:1", task_types=["kill"])
    await picky.announce()
    await submit(overlord, noop("nobodys"))
    told = await explanation(overlord, "nobodys")
    assert (told.reason, told.place) == ("NO_RUNNER", None)
    assert told.message == "No runner runs tasks of type noop"
    await submit(overlord, kill("its", INTERVAL))
    assert (await picky.take()).task_id == "its"

    await FakeRunner(overlord, "late:1", task_types=["kill", "noop"]).poll()
    told = await explanation(overlord, "nobodys")
    assert (told.reason, "late:1" in told.message) == ("ASSIGNED", True)


async def test_a_wish_for_a_runner_does_not_make_it_run_the_type(overlord: AsyncClient) -> None:
    await FakeRunner(overlord, "release", kind=OPERATOR, task_types=["kill"]).announce()
    await submit(overlord, noop("wished"), **{"X-Nemeton-Runner": "release"})
    told = await explanation(overlord, "wished")
    assert told.reason == "NO_RUNNER"
    assert told.message == "The runner release, which alone may take it, runs no tasks of type noop"


async def test_a_line_of_tasks_that_nobody_runs_stops_no_other(overlord: AsyncClient) -> None:
    picky = FakeRunner(overlord, "picky:1", capacity=1, task_types=["kill"])
    await picky.announce()
    for number in range(20):
        await submit(overlord, noop(f"stuck-{number}", context={"priority": 90}))
    for number in range(20):
        await submit(overlord, noop(f"wished-{number}", context={"priority": 90}), **{"X-Nemeton-Runner": "picky:1"})
    await submit(overlord, kill("first", INTERVAL))
    first = await picky.take()
    await submit(overlord, kill("second", "2026-02-01/2026-02-02"))
    assert (await explanation(overlord, "second")).place == 1
    assert await update_status(overlord, first, TaskStatus.success(first.task_id, 1)) == 200


@pytest.mark.parametrize("said", [{}, {"taskTypes": None}], ids=["an older runner", "one that runs all"])
async def test_who_does_not_say_is_given_every_type(overlord: AsyncClient, said: dict[str, None]) -> None:
    runner = FakeRunner(overlord, "older:1")
    announcement = {name: each for name, each in runner.announcement().items() if name != "taskTypes"} | said
    response = await overlord.post("/nemeton/v1/runner/announce", json=announcement)
    assert response.status_code == 200
    await submit(overlord, noop("any"))
    response = await overlord.post("/nemeton/v1/runner/assignments?wait=5", json=announcement, timeout=40)
    assert [each["taskId"] for each in response.json()["start"]] == ["any"]


async def test_types_that_are_no_list_are_refused_by_name(overlord: AsyncClient) -> None:
    announcement = FakeRunner(overlord).announcement() | {"taskTypes": "noop"}
    response = await overlord.post("/nemeton/v1/runner/announce", json=announcement)
    assert response.status_code == 400
    assert "taskTypes" in response.text
