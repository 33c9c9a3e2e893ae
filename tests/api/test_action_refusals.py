"""Bad actions: each is refused in words or answered as by Druid, and every table is as it was before."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool
from overlord.task.token import digest
from tests.support.actions import ACTION, Peon, segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
NEXT = "2026-01-02T00:00:00.000Z/2026-01-03T00:00:00.000Z"
OLD = "2020-01-01T00:00:00.000Z"
JSON = {"Content-Type": "application/json"}


async def dump(pool: Pool) -> dict[str, list[Any]]:
    """All rows of all tables of Druid's and of ours, but for what runs by itself."""
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {
        name: sorted(map(str, await pool.fetch(f'SELECT * FROM "{name}"')))
        for (name,) in tables
        if name not in ("nemeton_runners", "nemeton_attempts")
    }


@asynccontextmanager
async def nothing_changes(pool: Pool) -> AsyncGenerator[None]:
    before = await dump(pool)
    yield
    assert await dump(pool) == before


async def peon_with_lock(overlord: AsyncClient, kind: str = "EXCLUSIVE") -> tuple[Peon, str]:
    peon = await start(overlord, "t1")
    return peon, (await peon.lock(DAY, kind))["version"]


def allocation(**fields: Any) -> dict[str, Any]:
    return {
        "type": "segmentAllocate",
        "dataSource": "web",
        "timestamp": "2026-01-01T05:00:00.000Z",
        "queryGranularity": "NONE",
        "preferredSegmentGranularity": "DAY",
        "sequenceName": "s",
        "skipSegmentLineageCheck": True,
        **fields,
    }


def wire(*args: Any, **fields: Any) -> dict[str, Any]:
    return segment(*args, **fields).to_wire()


def writing(version: str = OLD) -> list[dict[str, Any]]:
    """Every action that writes, on one segment of the day."""
    one = wire(DAY, version)
    return [
        {"type": "lockTryAcquire", "interval": NEXT},
        allocation(),
        {"type": "segmentTransactionalInsert", "segments": [one]},
        {"type": "segmentTransactionalAppend", "segments": [one]},
        {"type": "segmentTransactionalReplace", "segments": [one]},
        {"type": "markSegmentsToUpgrade", "dataSource": "web", "upgradeSegments": [one]},
        {"type": "markSegmentsAsUnused", "dataSource": "web", "interval": DAY},
        {"type": "segmentMetadataUpdate", "segments": [one]},
        {"type": "segmentNuke", "segments": [one]},
    ]


def kind_of(action: dict[str, Any]) -> str:
    return action["type"]


async def send(peon: Peon, action: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    fields = {name: value for name, value in action.items() if name != "type"}
    return await peon.send(action["type"], headers, **fields)


@pytest.mark.parametrize("action", writing(), ids=kind_of)
async def test_a_task_that_is_not_active_writes_nothing(
    overlord: AsyncClient, pool: Pool, action: dict[str, Any]
) -> None:
    done = await start(overlord, "done")
    await done.finish()
    async with nothing_changes(pool):
        for peon in (done, Peon(overlord, {"type": "noop", "id": "nobody"})):
            response = await send(peon, action)
            assert response.status_code == 500
            assert "inactive Task" in response.json()["error"]


@pytest.mark.parametrize("action", writing(), ids=kind_of)
async def test_another_tasks_token_writes_nothing(overlord: AsyncClient, pool: Pool, action: dict[str, Any]) -> None:
    await start(overlord, "thief")
    peon, _ = await peon_with_lock(overlord)
    await pool.execute(
        "UPDATE nemeton_attempts SET state = 'RUNNING', runner_id = 'r', token_sha256 = $1 WHERE task_id = 'thief'",
        digest("stolen"),
    )
    headers = {"Authorization": "Bearer stolen"}
    async with nothing_changes(pool):
        for each in (action, {"type": "surrogateAction", "surrogateId": "t1", "taskAction": action}):
            speaker = peon if each is action else Peon(overlord, {"type": "noop", "id": "thief"})
            response = await send(speaker, each, headers)
            assert response.status_code == 403
            assert "cannot act for task [t1]" in response.json()["errorMessage"]


@pytest.mark.parametrize(
    "action", [each for each in writing() if "segments" in each or "upgradeSegments" in each], ids=kind_of
)
async def test_without_its_lock_nothing_is_written(overlord: AsyncClient, pool: Pool, action: dict[str, Any]) -> None:
    peon = await start(overlord, "t1")
    async with nothing_changes(pool):
        response = await send(peon, action)
        assert response.status_code == 500
        assert "covered by" in response.json()["error"]


@pytest.mark.parametrize(
    "action", [each for each in writing() if each["type"] not in ("lockTryAcquire", "segmentAllocate")], ids=kind_of
)
async def test_segments_of_another_datasource_are_left_alone(
    overlord: AsyncClient, pool: Pool, action: dict[str, Any]
) -> None:
    peon, _ = await peon_with_lock(overlord, "REPLACE")
    foreign = orjson.loads(orjson.dumps(action).replace(b'"dataSource":"web"', b'"dataSource":"other"'))
    async with nothing_changes(pool):
        response = await send(peon, foreign)
        assert response.status_code == 500
        assert "cannot change segments of [other]" in response.json()["error"]


async def test_after_its_lock_was_revoked_nothing_is_published(overlord: AsyncClient, pool: Pool) -> None:
    for kind in ("Insert", "Replace", "Append"):
        lock_type = {"Insert": "EXCLUSIVE", "Replace": "REPLACE", "Append": "APPEND"}[kind]
        low = await start(overlord, f"low-{kind}", priority=1)
        version = (await low.lock(DAY, lock_type))["version"]
        high = await start(overlord, f"high-{kind}", priority=90)
        await high.lock(DAY)
        async with nothing_changes(pool):
            result = await low.perform(f"segmentTransactional{kind}", segments=[wire(DAY, version)])
            assert (result["success"], result["retryable"], result["segments"]) == (False, False, [])
            assert "Invalid task locks" in result["errorMsg"]
        await high.finish()
        await low.finish()


@pytest.mark.parametrize(
    "interval", ["2026-01-02/2026-01-01", "2026-01-01/2026-01-01", "2026-01-01", "", "/", "x/y", None, 7, {"a": 1}]
)
async def test_an_interval_that_is_none_is_refused(overlord: AsyncClient, pool: Pool, interval: Any) -> None:
    peon = await start(overlord, "t1")
    async with nothing_changes(pool):
        for action in (
            {"type": "lockTryAcquire", "interval": interval},
            {"type": "segmentTransactionalInsert", "segments": [wire(DAY, OLD) | {"interval": interval}]},
        ):
            response = await send(peon, action)
            assert response.status_code in (400, 500)
            assert set(response.json()) == {"error"}


async def test_eternity_is_an_interval_like_any_other(overlord: AsyncClient, pool: Pool) -> None:
    eternity = "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z"
    peon = await start(overlord, "t1")
    lock = await peon.lock(eternity)
    assert lock["interval"] == eternity
    identity = await peon.perform(**allocation(preferredSegmentGranularity="ALL"))
    assert identity["interval"] == eternity
    assert (await peon.publish(segment(eternity, lock["version"])))["success"] is True
    assert await pool.fetchval('SELECT "end" FROM druid_segments') == "146140482-04-24T15:36:27.903Z"


async def test_a_version_that_goes_backwards_is_published_and_overshadowed(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await peon_with_lock(overlord)
    await peon.publish(segment(DAY, version))
    assert (await peon.publish(segment(DAY, OLD)))["success"] is True
    seen = await peon.perform("segmentListUsed", dataSource="web", intervals=[DAY])
    assert [each["version"] for each in seen] == [version]


async def test_an_allocation_under_another_granularity_joins_the_chunk_that_is_there(
    overlord: AsyncClient, pool: Pool
) -> None:
    peon, version = await peon_with_lock(overlord)
    await peon.publish(segment(DAY, version))
    for granularity in ("HOUR", "MONTH", "ALL", "DAY"):
        identity = await peon.perform(**allocation(preferredSegmentGranularity=granularity, sequenceName=granularity))
        assert (identity["interval"], identity["version"]) == (DAY, version)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"timestamp": "yesterday"}, "yesterday"),
        ({"queryGranularity": "FORTNIGHT"}, "FORTNIGHT"),
        ({"preferredSegmentGranularity": None}, "Granularity"),
        ({"sequenceName": None}, "sequenceName"),
        ({"sequenceName": "s" * 256}, "at most 255"),
        ({"previousSegmentId": "\0"}, "cannot be stored"),
        ({"shardSpecFactory": {"type": "linear"}}, "shardSpecFactory"),
        ({"taskLockType": "MINE"}, "taskLockType"),
        ({"lockGranularity": "PLANET"}, "PLANET"),
    ],
)
async def test_an_allocation_that_makes_no_sense_is_refused_by_name(
    overlord: AsyncClient, pool: Pool, fields: dict[str, Any], words: str
) -> None:
    peon = await start(overlord, "t1")
    async with nothing_changes(pool):
        response = await send(peon, allocation(**fields))
        assert response.status_code in (400, 500)
        assert words in response.text


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "numbered", "partitionNum": -1, "partitions": 1},
        {"type": "numbered", "partitionNum": 2**40, "partitions": 1},
        {"type": "numbered", "partitionNum": "x", "partitions": 1},
        {"type": "no such"},
        {"partitionNum": 0},
        7,
    ],
)
async def test_a_shard_spec_that_is_none_publishes_nothing(overlord: AsyncClient, pool: Pool, spec: Any) -> None:
    peon, version = await peon_with_lock(overlord)
    async with nothing_changes(pool):
        response = await peon.send("segmentTransactionalInsert", segments=[wire(DAY, version) | {"shardSpec": spec}])
        assert response.status_code == 400
        assert "segments.0.shardSpec" in response.json()["error"]


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE druid_tasks; --", "../../etc/passwd", "a\r\nX-Evil: 1", "%2e%2e", "💥"]
)
async def test_ids_that_try_something_are_only_ids(overlord: AsyncClient, pool: Pool, name: str) -> None:
    peon = await start(overlord, "t1")
    async with nothing_changes(pool):
        for body in (
            {"task": {"type": "noop", "id": name}, "action": {"type": "lockTryAcquire", "interval": DAY}},
            {
                "task": peon.task,
                "action": {"type": "surrogateAction", "surrogateId": name, "taskAction": {"type": "lockList"}},
            },
        ):
            response = await overlord.post(ACTION, json=body)
            assert response.status_code == 500
            assert name in response.json()["error"]
            assert "x-evil" not in response.headers
    identity = await peon.perform(**allocation(sequenceName=name, previousSegmentId=name))
    assert identity["interval"] == DAY


async def test_json_that_is_too_deep_is_refused(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    task = orjson.dumps(peon.task)
    surrogates = (
        b'{"type":"surrogateAction","surrogateId":"t1","taskAction":' * 300 + b'{"type":"lockList"}' + b"}" * 300
    )
    async with nothing_changes(pool):
        for action in (b'{"type":' + b"[" * 10_000 + b"]" * 10_000 + b"}", surrogates):
            response = await overlord.post(ACTION, content=b'{"task":%b,"action":%b}' % (task, action), headers=JSON)
            assert response.status_code in (400, 500)
            assert "error" in response.json()


async def test_a_client_that_hangs_up_takes_nobody_with_it(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    waiting = [asyncio.create_task(peon.perform(**allocation(sequenceName=f"s{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    for each in waiting[::2]:
        each.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, dict) for answer in answers[1::2])
    assert await peon.perform(**allocation(sequenceName="after")) is not None
    numbers = [
        orjson.loads(row["payload"])["shardSpec"]["partitionNum"]
        for row in await pool.fetch("SELECT payload FROM druid_pendingsegments")
    ]
    assert sorted(numbers) == list(range(len(numbers)))
