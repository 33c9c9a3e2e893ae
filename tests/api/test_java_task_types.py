"""Tasks of types that are left to Druid's own peons: accepted, locked, assigned."""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.errors import InvalidInput
from druid_core.runner import RUNNER_HEADER
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.actions import Peon
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, explanation, in_state, submit
from tests.support.task_specs import index_parallel

DAY = "2026-01-01/2026-01-02"


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    types = ("compact", "index_parallel")
    return settings.model_copy(update={"druid_peon_task_types": types, "local_input_paths": ("/data/in",)})


def compact(task_id: str) -> dict[str, Any]:
    inputs = {"type": "interval", "interval": DAY}
    return {
        "type": "compact",
        "id": task_id,
        "dataSource": "web",
        "ioConfig": {"type": "compact", "inputSpec": inputs},
    }


def sub_task(task_id: str, parent: str) -> dict[str, Any]:
    spec = index_parallel()["spec"]
    return {
        "type": "single_phase_sub_task",
        "id": task_id,
        "groupId": parent,
        "supervisorTaskId": parent,
        "spec": spec,
        "dataSource": "web",
        "numAttempts": 0,
    }


async def test_a_compaction_waits_for_its_lock_and_runs_after_what_holds_it(overlord: AsyncClient, pool: Pool) -> None:
    await submit(overlord, index_parallel("holder", intervals=[DAY]))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, compact("later"))
    assert (await explanation(overlord, "later")).reason == "LOCK_HELD"
    await overlord.post(f"{V1}/task/holder/shutdown")
    assignment = await FakeRunner(overlord).take()
    assert (assignment.task_id, assignment.type) == ("later", "compact")
    locks = await Peon(overlord, compact("later")).perform("lockList")
    assert [(lock["interval"], lock["priority"]) for lock in locks] == [
        ("2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z", 25)
    ]
    stored = orjson.loads(await pool.fetchval("SELECT payload FROM druid_tasks WHERE id = 'later'"))
    assert stored["ioConfig"] == compact("later")["ioConfig"]


async def test_sub_tasks_go_to_the_runner_that_their_parent_was_meant_for(overlord: AsyncClient) -> None:
    other, wished = FakeRunner(overlord, "a:8091"), FakeRunner(overlord, "z:8091")
    for runner in (other, wished):
        await runner.announce()
    answer = await overlord.post(f"{V1}/task", json=compact("parent"), headers={RUNNER_HEADER: "z:8091"})
    assert answer.status_code == 200
    parent = await wished.take()
    await wished.run(parent)
    await submit(overlord, sub_task("child", "parent"))
    assert (await wished.take()).task_id == "child"
    assert (await other.announce()).start == []


async def test_a_task_of_another_type_is_refused_as_ever(overlord: AsyncClient) -> None:
    answer = await overlord.post(f"{V1}/task", json={"type": "move", "dataSource": "web", "interval": DAY})
    assert answer.status_code == 400
    assert "not supported yet" in answer.json()["error"]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "combining", "delegates": [{"type": "local", "baseDir": "/etc", "filter": "*"}]},
        {"type": "combining", "delegates": [{"type": "http", "uris": ["http://169.254.169.254/latest"]}]},
    ],
    ids=["file", "address"],
)
async def test_java_peons_are_sent_nowhere_that_ours_may_not_go(
    overlord: AsyncClient, pool: Pool, source: dict[str, Any]
) -> None:
    task = index_parallel("sly")
    task["spec"]["ioConfig"]["inputSource"] = source
    answer = await overlord.post(f"{V1}/task", json=task)
    assert answer.status_code == 400
    assert await pool.fetchval("SELECT count(*) FROM druid_tasks") == 0


def test_a_type_that_no_java_peon_is_for_ends_the_start() -> None:
    with pytest.raises(InvalidInput, match=r"druid_peon_task_types.*\[index_kafka\] is none of \[archive, compact"):
        OverlordSettings.from_environment(
            {"NEMETON_DATABASE_URL": "postgresql://x/y", "NEMETON_DRUID_PEON_TASK_TYPES": "compact, index_kafka"}
        )
