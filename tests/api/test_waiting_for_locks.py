"""A hundred thousand tasks may wait for one lock: whoever asks for something else must not wait behind them."""

import pytest
from fastapi import FastAPI

from overlord.db.pool import Connection, Pool, connection
from overlord.task.release import release_ready
from overlord.task.waiting import FIRST_TASKS, WISHES, Round, candidates

NOW_MS = 1_767_225_600_000
DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"

_TASKS = """
WITH tasks AS (SELECT $1 || '-' || lpad(i::text, 5, '0') AS id, i FROM generate_series(1, $2::int) AS i),
stored AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
    SELECT id, '2026-01-01T00:00:00.000Z', $3, '{}', '{}', TRUE, 'noop', id FROM tasks
)
INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, lock_type, lock_intervals,
                              submitted_ms, lock_deadline_ms)
SELECT id, 1, $3, COALESCE($8, id), $4, 'WAITING', $5,
       CASE WHEN $6 THEN to_char(timestamp '2020-01-01' + i * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS') || '/PT1H'
            ELSE '2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z' END,
       1767225600000 + i, $7 FROM tasks
"""

_HOLDER = """
WITH task AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
    VALUES ('holder', '2026-01-01T00:00:00.000Z', 'web', '{}', '{}', TRUE, 'noop', 'holder')
),
attempt AS (
    INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms)
    VALUES ('holder', 1, 'web', 'holder', 90, 'PENDING', 0)
)
INSERT INTO druid_tasklocks (task_id, lock_payload) VALUES ('holder', convert_to(json_build_object(
    'granularity', 'timeChunk', 'type', 'EXCLUSIVE', 'groupId', 'holder', 'dataSource', 'web', 'interval', $1::text,
    'version', '2026-01-01T00:00:00.000Z', 'priority', 90, 'revoked', FALSE)::text, 'UTF8'))
"""


async def waits(
    tx: Connection,
    name: str,
    count: int = 1,
    *,
    data_source: str = "web",
    priority: int = 50,
    lock_type: str = "EXCLUSIVE",
    each_its_hour: bool = False,
    deadline_ms: int | None = None,
    group: str | None = None,
) -> None:
    await tx.execute(_TASKS, name, count, data_source, priority, lock_type, each_its_hour, deadline_ms, group)


async def found(pool: Pool, looks: Round | None = None) -> set[str]:
    async with connection(pool) as tx:
        return {each.task_id for each in await candidates(tx, NOW_MS, looks or Round())}


async def test_behind_thousands_that_wait_for_one_lock_a_free_one_is_found(app: FastAPI, pool: Pool) -> None:
    async with connection(pool) as tx:
        await tx.execute(_HOLDER, DAY)
        await waits(tx, "many", 3000)
        await waits(tx, "free", data_source="other", priority=10)
    assert len(await found(pool)) == FIRST_TASKS + 1
    assert await release_ready(app.state.replica) <= 1  # the replica's own queue may have been there first
    assert await pool.fetchval("SELECT state FROM nemeton_attempts WHERE task_id = 'free-00001'") == "PENDING"
    assert await pool.fetchval("SELECT count(*) FROM nemeton_attempts WHERE state = 'WAITING'") == 3000


@pytest.mark.parametrize(
    "other", [{"lock_type": "APPEND"}, {"priority": 49}, {"each_its_hour": True}, {"group": "holder"}]
)
async def test_whoever_asks_for_something_else_is_a_wish_of_its_own(pool: Pool, other: dict[str, object]) -> None:
    async with connection(pool) as tx:
        await waits(tx, "many", FIRST_TASKS + 500, priority=60)
        await waits(tx, "same", 5)
        await waits(tx, "else", **other)  # pyright: ignore[reportArgumentType]
    assert {name for name in await found(pool) if not name.startswith("many")} == {"same-00001", "else-00001"}


async def test_of_a_shared_lock_several_are_looked_at_together(pool: Pool) -> None:
    async with connection(pool) as tx:
        await waits(tx, "many", FIRST_TASKS + 5)
        await waits(tx, "append", 5, priority=10, lock_type="APPEND")
    assert {name for name in await found(pool) if name.startswith("append")} == {f"append-{n:05}" for n in range(1, 6)}


async def test_more_wishes_than_a_look_holds_are_all_found_in_a_round(pool: Pool) -> None:
    async with connection(pool) as tx:
        await waits(tx, "many", FIRST_TASKS, priority=60)
        await waits(tx, "own", 2 * WISHES + 100, each_its_hour=True)
    looks = Round()
    own = [{name for name in await found(pool, looks) if name.startswith("own")} for _ in range(3)]
    assert all(len(each) <= WISHES for each in own)
    assert len(set[str]().union(*own)) == 2 * WISHES + 100
    assert looks == Round()


async def test_who_has_waited_too_long_is_found_wherever_it_stands(pool: Pool) -> None:
    async with connection(pool) as tx:
        await waits(tx, "many", FIRST_TASKS + 5, priority=60)
        await waits(tx, "already", priority=50)
        await waits(tx, "late", 3, deadline_ms=NOW_MS - 1)
        await waits(tx, "patient", 3, deadline_ms=NOW_MS + 1)
    late = {f"late-{number:05}" for number in range(1, 4)}
    assert {name for name in await found(pool) if not name.startswith("many")} == {"already-00001", *late}
