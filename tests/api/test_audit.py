"""Who changed what, when and why: entries of `druid_audit` that Druid's own services can read."""

import asyncio
from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool, transaction
from overlord.segment import store
from tests.support.actions import segment
from tests.support.overlord_calls import V1, submit
from tests.support.task_specs import index_parallel, kill, noop

WHO = {"X-Druid-Author": "oak", "X-Druid-Comment": "spring cleaning"}


async def entries(pool: Pool) -> list[dict[str, Any]]:
    """What is told, oldest first, each as its row and its payload agree on."""
    rows = await pool.fetch("SELECT * FROM druid_audit ORDER BY id")
    told: list[dict[str, Any]] = []
    for row in rows:
        entry = orjson.loads(row["payload"])
        assert (entry["key"], entry["type"]) == (row["audit_key"], row["type"])
        assert entry["auditTime"] == row["created_date"]
        assert entry["auditInfo"]["author"][:255] == row["author"]
        assert entry["auditInfo"]["comment"][:2048] == row["comment"]
        told.append(entry)
    return told


@pytest.mark.parametrize(
    "task", [index_parallel("writes"), kill("writes", "2026-01-01/2026-01-02")], ids=lambda task: task["type"]
)
async def test_a_task_that_changes_data_is_told_of_with_its_author(
    overlord: AsyncClient, pool: Pool, task: dict[str, Any]
) -> None:
    await submit(overlord, task, **WHO)
    (entry,) = await entries(pool)
    assert entry == {
        "key": "web",
        "type": "task",
        "auditInfo": {"author": "oak", "identity": "allowAll", "comment": "spring cleaning", "ip": "127.0.0.1"},
        "request": {"service": "overlord", "method": "POST", "uri": f"{V1}/task", "queryParams": None},
        "payload": entry["payload"],
        "auditTime": entry["auditTime"],
    }
    assert orjson.loads(entry["payload"]) == {"id": "writes", "groupId": "writes", "type": task["type"]}


async def test_a_task_that_changes_nothing_and_one_that_is_refused_are_not_told_of(
    overlord: AsyncClient, pool: Pool
) -> None:
    await submit(overlord, noop("idle"), **WHO)
    await submit(overlord, index_parallel("once"))
    assert (await overlord.post(f"{V1}/task", json=index_parallel("once"), headers=WHO)).status_code == 400
    assert [entry["auditInfo"]["author"] for entry in await entries(pool)] == [""]


async def test_tasks_that_come_together_are_each_told_of(overlord: AsyncClient, pool: Pool) -> None:
    names = [f"task-{number}" for number in range(20)]
    await asyncio.gather(*(submit(overlord, index_parallel(name), **{"X-Druid-Author": name}) for name in names))
    told = {orjson.loads(entry["payload"])["id"]: entry["auditInfo"]["author"] for entry in await entries(pool)}
    assert told == {name: name for name in names}


async def test_an_author_longer_than_the_column_does_not_stop_the_task(overlord: AsyncClient, pool: Pool) -> None:
    await submit(overlord, index_parallel("long"), **{"X-Druid-Author": "o" * 300, "X-Druid-Comment": "c" * 3000})
    (entry,) = await entries(pool)
    assert (len(entry["auditInfo"]["author"]), len(entry["auditInfo"]["comment"])) == (300, 3000)


async def test_marking_unused_is_told_of_and_marking_used_is_not(overlord: AsyncClient, pool: Pool) -> None:
    january = segment("2026-01-01/2026-02-01", "2026-03-01T00:00:00.000Z")
    async with transaction(pool) as tx:
        await store.insert(tx, "t0", [january], {january.id}, 0)
    body = {"interval": "2026-01-01/2027-01-01"}
    await overlord.post(f"{V1}/datasources/web/markUnused", json=body, headers=WHO)
    await overlord.post(f"{V1}/datasources/web", json={})
    await overlord.delete(f"{V1}/datasources/web", headers=WHO)
    first, second = await entries(pool)
    assert (first["key"], first["type"], orjson.loads(first["payload"])) == ("web", "segment.markUnused", body)
    assert second["request"]["method"] == "DELETE"
    assert orjson.loads(second["payload"]) == {"numChangedSegments": 1, "segmentStateChanged": True}
    assert second["auditInfo"]["author"] == "oak"


async def test_supervisors_are_told_of_in_druids_words(overlord: AsyncClient, pool: Pool) -> None:
    spec = {"type": "NoopSupervisorSpec", "id": "oak", "dataSources": ["web"]}
    for _ in range(2):  # the second changes nothing
        await overlord.post(f"{V1}/supervisor", json=spec, headers=WHO)
    await overlord.post(f"{V1}/supervisor/oak/suspend", headers=WHO)
    await overlord.post(f"{V1}/supervisor/oak/terminate", headers=WHO)
    told = await entries(pool)
    assert [(entry["key"], entry["type"]) for entry in told] == [("oak", "supervisor")] * 3
    assert [orjson.loads(entry["payload"]) for entry in told] == [
        f"{done} supervisor[oak] for datasource[[web]]" for done in ("Update", "Suspend", "Terminate")
    ]
    assert {entry["auditInfo"]["author"] for entry in told} == {"oak"}


async def test_a_compaction_config_is_told_of_under_druids_key(overlord: AsyncClient, pool: Pool) -> None:
    path = f"{V1}/compaction/config/datasources/web"
    for _ in range(2):
        await overlord.post(path, json={"dataSource": "web"}, headers=WHO)
    (entry,) = await entries(pool)
    assert (entry["key"], entry["type"]) == ("coordinator.compaction.config", "coordinator.compaction.config")
    assert orjson.loads(entry["payload"])["compactionConfigs"][0]["dataSource"] == "web"
