"""Supervisors: stored, shown, suspended, resumed and terminated; recorded answers of Druid as the measure."""

import asyncio
from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.overlord_calls import V1, replica

PATH = f"{V1}/supervisor"
NOOP: dict[str, Any] = {"type": "NoopSupervisorSpec", "id": "oak", "dataSources": ["web"]}
COMPACT: dict[str, Any] = {"type": "autocompact", "spec": {"dataSource": "web"}}
KAFKA: dict[str, Any] = {
    "type": "kafka",
    "spec": {
        "dataSchema": {"dataSource": "web"},
        "ioConfig": {"topic": "clicks", "consumerProperties": {"sasl.jaas.config": "canary"}},
    },
}


async def submit(client: AsyncClient, spec: dict[str, Any]) -> str:
    answer = await client.post(PATH, json=spec)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def rows(pool: Pool) -> list[tuple[str, Any]]:
    found = await pool.fetch("SELECT spec_id, payload FROM druid_supervisors ORDER BY id")
    return [(row["spec_id"], orjson.loads(row["payload"])) for row in found]


async def test_the_same_spec_again_adds_no_row_and_a_changed_one_does(overlord: AsyncClient, pool: Pool) -> None:
    for spec in (NOOP, NOOP, {**NOOP, "dataSources": ["web", "app"]}):
        await submit(overlord, spec)
    assert [row["dataSources"] for _, row in await rows(pool)] == [["web"], ["web", "app"]]
    history = (await overlord.get(f"{PATH}/oak/history")).json()
    assert [version["spec"]["dataSources"] for version in history] == [["web", "app"], ["web"]]


async def test_of_many_who_submit_the_same_spec_at_once_one_writes_it(overlord: AsyncClient, pool: Pool) -> None:
    assert set(await asyncio.gather(*(submit(overlord, NOOP) for _ in range(10)))) == {"oak"}
    assert len(await rows(pool)) == 1


async def test_every_replica_knows_what_one_was_told(settings: OverlordSettings) -> None:
    async with replica(settings) as (_, one), replica(settings) as (_, other):
        await submit(one, NOOP)
        assert (await other.get(PATH)).json() == ["oak"]
        assert (await other.post(f"{PATH}/oak/suspend")).json()["suspended"] is True
        assert (await one.get(f"{PATH}/oak")).json()["suspended"] is True
        await one.post(f"{PATH}/oak/terminate")
        assert (await other.get(f"{PATH}/oak/status")).status_code == 404
    async with replica(settings) as (_, later):
        assert (await later.get(PATH)).json() == []
        assert len((await later.get(f"{PATH}/oak/history")).json()) == 3


async def test_a_terminated_supervisor_leaves_druids_tombstone_and_may_come_again(
    overlord: AsyncClient, pool: Pool
) -> None:
    await submit(overlord, COMPACT)
    assert (await overlord.post(f"{PATH}/autocompact__web/terminate")).json() == {"id": "autocompact__web"}
    spec_id, stone = (await rows(pool))[-1]
    assert (spec_id, stone["type"], stone["id"]) == ("autocompact__web", "NoopSupervisorSpec", None)
    assert stone["dataSources"] == ["web"], "who may see it stays known"
    assert (await overlord.get(PATH)).json() == []
    await submit(overlord, COMPACT)
    assert (await overlord.get(PATH)).json() == ["autocompact__web"]


async def test_all_are_suspended_resumed_and_terminated_those_only_that_are_not_so_already(
    overlord: AsyncClient, pool: Pool
) -> None:
    await submit(overlord, {**NOOP, "suspended": True})
    await submit(overlord, COMPACT)
    for what, states in (("suspendAll", {True}), ("resumeAll", {False})):
        answer = await overlord.post(f"{PATH}/{what}")
        assert answer.json() == {"status": "success"}
        assert {each["suspended"] for each in (await overlord.get(f"{PATH}?state=true")).json()} == states
    assert [spec_id for spec_id, _ in await rows(pool)].count("oak") == 2
    assert (await overlord.post(f"{PATH}/terminateAll")).json() == {"status": "success"}
    assert (await overlord.get(PATH)).json() == []


async def test_streams_that_druid_left_behind_are_shown_and_terminated_but_not_run(
    overlord: AsyncClient, pool: Pool
) -> None:
    await pool.execute(
        "INSERT INTO druid_supervisors (spec_id, created_date, payload) VALUES ('web', '2026-01-01T00:00:00.000Z', $1)",
        orjson.dumps(KAFKA),
    )
    (shown,) = (await overlord.get(f"{PATH}?full")).json()
    assert (shown["id"], shown["state"], shown["healthy"]) == ("web", "UNHEALTHY_SUPERVISOR", False)
    assert shown["spec"]["spec"]["ioConfig"]["consumerProperties"]["sasl.jaas.config"] == "********"
    health = await overlord.get(f"{PATH}/web/health")
    assert (health.status_code, health.json()) == (503, {"healthy": False})
    assert (await overlord.post(f"{PATH}/web/suspend")).status_code == 200
    assert (await rows(pool))[-1][1] == {**KAFKA, "suspended": True}, "stored whole"
    for path in ("", "/web", "/web/history", "/history", "?system"):
        assert "canary" not in (await overlord.get(f"{PATH}{path}")).text
    assert (await overlord.post(f"{PATH}/web/terminate")).json() == {"id": "web"}
    audit = await pool.fetch("SELECT payload FROM druid_audit")
    assert not any(b"canary" in row["payload"] for row in audit)


async def test_a_row_that_a_person_broke_hides_no_other(overlord: AsyncClient, pool: Pool) -> None:
    await pool.execute("INSERT INTO druid_supervisors (spec_id, created_date, payload) VALUES ('broken', '', '{')")
    await submit(overlord, NOOP)
    assert (await overlord.get(PATH)).json() == ["broken", "oak"]
    assert (await overlord.get(f"{PATH}?system")).status_code == 200
    assert (await overlord.post(f"{PATH}/broken/terminate")).status_code == 200
    assert (await overlord.get(PATH)).json() == ["oak"]


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "kafka", "spec": {}},
        {"type": "kinesis"},
        {"type": "rabbit"},
        {"type": "scheduled_batch"},
        {"type": "nosuch"},
        {},
        {"type": "autocompact", "spec": {"dataSource": "web", "taskPriority": "many"}},
    ],
)
async def test_a_refused_spec_leaves_nothing_behind(overlord: AsyncClient, pool: Pool, spec: dict[str, Any]) -> None:
    answer = await overlord.post(PATH, json=spec)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert await rows(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM druid_audit") == 0


async def test_what_only_a_stream_has_is_refused_as_unsupported(overlord: AsyncClient) -> None:
    await submit(overlord, COMPACT)
    for what, body in (("taskGroups/handoff", {"taskGroupIds": [0]}), ("resetOffsets", {"type": "kafka"})):
        answer = await overlord.post(f"{PATH}/autocompact__web/{what}", json=body)
        assert answer.status_code == 501
        assert answer.json()["category"] == "UNSUPPORTED"
