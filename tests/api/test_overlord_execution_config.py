"""How pods are made, set while the Overlord runs."""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.runner import OPERATOR
from overlord.db.pool import Pool
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, submit, until
from tests.support.task_specs import noop

PATH = f"{V1}/k8s/taskrunner/executionconfig"
BY_TYPE = {"type": "taskType"}
BY_SELECTORS = {
    "type": "selectorBased",
    "selectors": [
        {"selectionKey": "big", "context.tags": {"size": ["xl", "l"]}, "dataSource": ["web"]},
        {"selectionKey": "stream", "type": ["index_kafka"]},
    ],
}


async def test_it_is_empty_until_it_is_set(overlord: AsyncClient) -> None:
    answer = await overlord.get(PATH)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.route("GET /druid/indexer/v1/k8s/taskrunner/executionconfig", "same")
@pytest.mark.route("POST /druid/indexer/v1/k8s/taskrunner/executionconfig", "same")
async def test_what_is_left_out_stays_as_it_was(overlord: AsyncClient) -> None:
    for config in ({"capacity": 20}, {"type": "default", "podTemplateSelectStrategy": BY_TYPE, "capacity": None}):
        answer = await overlord.post(PATH, json=config)
        assert (answer.status_code, answer.content) == (200, b"")
    assert (await overlord.get(PATH)).json() == {
        "type": "default",
        "podTemplateSelectStrategy": BY_TYPE,
        "capacity": 20,
    }
    await overlord.post(PATH, json={"podTemplateSelectStrategy": BY_SELECTORS})
    shown = (await overlord.get(PATH)).json()
    assert shown["capacity"] == 20
    assert shown["podTemplateSelectStrategy"]["selectors"][0] == {
        "selectionKey": "big",
        "context.tags": {"size": ["xl", "l"]},
        "type": None,
        "dataSource": ["web"],
    }


@pytest.mark.route(
    "POST /druid/indexer/v1/k8s/taskrunner/executionconfig",
    "differs",
    "What cannot be read is refused with a message that names the field",
)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "the body"),
        (None, "the body"),
        ({"capacity": "many"}, "capacity"),
        ({"capacity": -1}, "capacity"),
        ({"capacity": 1.5}, "capacity"),
        ({"type": "special"}, "type"),
        ({"podTemplateSelectStrategy": {"type": "nosuch"}}, "nosuch"),
        ({"podTemplateSelectStrategy": {}}, "podTemplateSelectStrategy"),
        ({"podTemplateSelectStrategy": {"type": "selectorBased"}}, "selectors"),
        ({"podTemplateSelectStrategy": {"type": "selectorBased", "selectors": [{}]}}, "selectionKey"),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    overlord: AsyncClient, body: Any, named: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await overlord.post(PATH, content=orjson.dumps(body), headers=headers)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert (await overlord.get(PATH)).content == b""


@pytest.mark.route("GET /druid/indexer/v1/k8s/taskrunner/executionconfig/history", "same")
async def test_every_change_is_in_the_history(overlord: AsyncClient) -> None:
    headers = {"X-Druid-Author": "oak", "X-Druid-Comment": "more room"}
    for capacity in (1, 2):
        await overlord.post(PATH, json={"capacity": capacity}, headers=headers)
    oldest, newest = (await overlord.get(f"{PATH}/history")).json()
    assert [orjson.loads(entry["payload"])["capacity"] for entry in (newest, oldest)] == [2, 1]
    assert newest["key"] == "k8s.taskrunner.config"
    assert (newest["auditInfo"]["author"], newest["auditInfo"]["comment"]) == ("oak", "more room")
    assert len((await overlord.get(f"{PATH}/history?count=1")).json()) == 1
    assert (await overlord.get(f"{PATH}/history?count=0")).status_code == 400
    assert (await overlord.get(f"{V1}/worker/history")).json() == []


async def test_operators_are_told_and_runners_of_processes_are_not(overlord: AsyncClient) -> None:
    pods, processes = FakeRunner(overlord, "release", kind=OPERATOR), FakeRunner(overlord, "worker:1")
    assert (await pods.announce()).execution is None
    await overlord.post(PATH, json={"capacity": 3})
    assert (await pods.announce()).execution == {
        "type": "default",
        "podTemplateSelectStrategy": None,
        "capacity": 3,
    }
    assert (await processes.announce()).execution is None


@pytest.mark.route(
    "POST /druid/indexer/v1/k8s/taskrunner/executionconfig",
    "differs",
    "Its `capacity` holds for every operator that announces itself, and counts at once",
)
@pytest.mark.parametrize(("configured", "announced", "slots"), [(3, 1, 3), (1, 3, 1), (0, 3, 0), (5, 0, 0)])
async def test_its_capacity_counts_instead_of_the_announced_one(
    overlord: AsyncClient, pool: Pool, configured: int, announced: int, slots: int
) -> None:
    await overlord.post(PATH, json={"capacity": configured})
    pods = FakeRunner(overlord, "release", capacity=announced, kind=OPERATOR)
    await pods.announce()
    for number in range(5):
        await submit(overlord, noop(f"task-{number}"))

    async def all_assigned() -> bool:
        return await pool.fetchval("SELECT count(*) FROM nemeton_attempts WHERE state = 'ASSIGNED'") == slots

    await until(all_assigned)
    assert len((await pods.poll(0.5)).start) == slots
    shown = (await overlord.get(f"{V1}/totalWorkerCapacity")).json()
    assert (shown["currentClusterCapacity"], shown["usedClusterCapacity"]) == (slots, slots)


async def test_a_row_that_a_person_broke_stops_nothing(overlord: AsyncClient, pool: Pool) -> None:
    await pool.execute("INSERT INTO druid_config VALUES ('k8s.taskrunner.config', $1)", b'{"capacity": many \xff')
    pods = FakeRunner(overlord, "release", kind=OPERATOR)
    await submit(overlord, noop("goes-on"))
    assert (await pods.take()).task_id == "goes-on"
    await overlord.post(PATH, json={"capacity": 4})
    assert (await overlord.get(PATH)).json()["capacity"] == 4
