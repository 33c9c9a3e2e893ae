"""The lockbox on a real Postgres: rows, versions, revocation, and transactions that meet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import ETERNITY, Interval
from druid_core.lock import LockType, TaskLock
from overlord.db.pool import Pool, transaction
from overlord.lock import lockbox
from overlord.lock.lockbox import InactiveTask, LockRequester
from overlord.segment import store as segments
from tests.support.actions import segment

NOW = parse_instant("2026-03-01T12:00:00.000Z")
DAY, NEXT_DAY = Interval.parse("2026-01-01/P1D"), Interval.parse("2026-01-02/P1D")
EXCLUSIVE, REPLACE, APPEND = LockType.EXCLUSIVE, LockType.REPLACE, LockType.APPEND

Start = Callable[..., Awaitable[LockRequester]]


@pytest.fixture
def start(pool: Pool) -> Start:
    """Put an active task into the table, as the queue does."""

    async def started(
        id: str, *, group: str | None = None, data_source: str = "web", priority: int = 50, active: bool = True
    ) -> LockRequester:
        async with transaction(pool) as tx:
            await tx.execute(
                """
                INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
                VALUES ($1, $2, $3, '{}', '{}', $4, 'noop', $5)
                """,
                id,
                format_instant(NOW),
                data_source,
                active,
                group or id,
            )
        return LockRequester(id, group or id, data_source, priority)

    return started


async def acquire(
    pool: Pool, task: LockRequester, type: LockType = EXCLUSIVE, interval: Interval = DAY, now_ms: int = NOW
) -> TaskLock | None:
    async with transaction(pool) as tx:
        return await lockbox.acquire(tx, task, type, interval, now_ms)


async def held(pool: Pool, task: LockRequester) -> list[TaskLock]:
    async with transaction(pool) as tx:
        return await lockbox.held(tx, task.task_id)


async def rows(pool: Pool) -> list[tuple[str, dict[str, Any]]]:
    found = await pool.fetch("SELECT task_id, lock_payload FROM druid_tasklocks ORDER BY id")
    return [(task_id, orjson.loads(payload)) for task_id, payload in found]


async def test_a_granted_lock_is_a_row_with_druids_payload(pool: Pool, start: Start) -> None:
    await acquire(pool, await start("t1", group="g"))
    payload = await pool.fetchval("SELECT lock_payload FROM druid_tasklocks WHERE task_id = 't1'")
    assert payload == (
        b'{"granularity":"timeChunk","type":"EXCLUSIVE","groupId":"g","dataSource":"web",'
        b'"interval":"2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z","version":"2026-03-01T12:00:00.000Z",'
        b'"priority":50,"revoked":false}'
    )


async def test_asking_again_answers_the_same_lock_and_adds_no_row(pool: Pool, start: Start) -> None:
    task = await start("t1")
    first = await acquire(pool, task)
    again = await acquire(pool, task, now_ms=NOW + 5000)
    assert first == again
    assert len(await rows(pool)) == 1


async def test_second_peon_of_the_group_shares_the_lock(pool: Pool, start: Start) -> None:
    first = await acquire(pool, await start("t1", group="g"))
    second = await acquire(pool, await start("t2", group="g"), now_ms=NOW + 5000)
    assert first == second
    assert [task_id for task_id, _ in await rows(pool)] == ["t1", "t2"]


async def test_another_group_of_equal_priority_goes_without(pool: Pool, start: Start) -> None:
    await acquire(pool, await start("t1"))
    assert await acquire(pool, await start("t2")) is None
    assert len(await rows(pool)) == 1


async def test_datasources_do_not_meet(pool: Pool, start: Start) -> None:
    await acquire(pool, await start("t1"))
    assert await acquire(pool, await start("t2", data_source="other")) is not None


async def test_a_higher_priority_revokes_every_share_of_the_lock(pool: Pool, start: Start) -> None:
    low1, low2 = await start("low1", group="low", priority=25), await start("low2", group="low", priority=25)
    lost = await acquire(pool, low1)
    await acquire(pool, low2)
    high = await acquire(pool, await start("high", priority=75), now_ms=NOW + 1)
    assert lost is not None
    assert high is not None
    assert not high.revoked
    for task in (low1, low2):
        assert await held(pool, task) == [lost.model_copy(update={"revoked": True})]
        asked_again = await acquire(pool, task)
        assert asked_again is not None
        assert asked_again.revoked


async def test_revoking_keeps_what_druid_put_into_the_payload(pool: Pool, start: Start) -> None:
    await start("low", priority=0)
    stored = {
        "granularity": "timeChunk",
        "type": "EXCLUSIVE",
        "groupId": "low",
        "dataSource": "web",
        "interval": str(DAY),
        "version": "2026-01-01T00:00:00.000Z",
        "priority": None,
        "revoked": False,
        "fromTheFuture": 1,
    }
    await pool.execute("INSERT INTO druid_tasklocks (task_id, lock_payload) VALUES ('low', $1)", orjson.dumps(stored))
    await acquire(pool, await start("high", priority=75))
    assert (await rows(pool))[0] == ("low", stored | {"revoked": True})


async def test_a_clock_that_goes_back_never_gives_an_older_version_than_a_published_segment(
    pool: Pool, start: Start
) -> None:
    task = await start("t1")
    newest = format_instant(NOW + 3_600_000)
    async with transaction(pool) as tx:
        published = [segment("2026-01-01/P1D", newest), segment("2026-01-01/P1D", "not-an-instant-but-24-ch")]
        await segments.insert(tx, "earlier", published, {published[0].id}, NOW)
    lock = await acquire(pool, task, now_ms=NOW)
    assert lock is not None
    assert lock.version == format_instant(NOW + 3_600_001)


async def test_segments_elsewhere_do_not_move_the_version(pool: Pool, start: Start) -> None:
    task = await start("t1")
    async with transaction(pool) as tx:
        await segments.insert(tx, "earlier", [segment("2026-01-02/P1D", "2027-01-01T00:00:00.000Z")], set(), NOW)
    lock = await acquire(pool, task)
    assert lock is not None
    assert lock.version == format_instant(NOW)


async def test_segments_of_all_time_count_for_every_interval(pool: Pool, start: Start) -> None:
    task = await start("t1")
    async with transaction(pool) as tx:
        await segments.insert(tx, "earlier", [segment(str(ETERNITY), "2027-01-01T00:00:00.000Z")], set(), NOW)
    lock = await acquire(pool, task)
    assert lock is not None
    assert lock.version == "2027-01-01T00:00:00.001Z"
    assert await acquire(pool, await start("t2"), interval=ETERNITY) is None


async def test_two_locks_after_each_other_in_one_millisecond_differ_in_version(pool: Pool, start: Start) -> None:
    low = await acquire(pool, await start("low", priority=0))
    high = await acquire(pool, await start("high", priority=1))
    assert low is not None
    assert high is not None
    assert low.version < high.version


async def test_append_and_replace_stand_beside_each_other(pool: Pool, start: Start) -> None:
    append = await acquire(pool, await start("append"), APPEND)
    replace = await acquire(pool, await start("replace"), REPLACE)
    assert append is not None
    assert append.version == "1970-01-01T00:00:00.000Z"
    assert replace is not None
    assert await acquire(pool, await start("exclusive")) is None


async def test_a_wider_append_lock_takes_the_place_of_the_narrower_one(pool: Pool, start: Start) -> None:
    task = await start("t1")
    await acquire(pool, task, APPEND, DAY)
    wide = await acquire(pool, task, APPEND, Interval.parse("2026-01-01/P3D"))
    assert await held(pool, task) == [wide]


async def test_a_narrower_lock_stays_while_its_task_asks_elsewhere(pool: Pool, start: Start) -> None:
    first, second = await start("t1", group="g"), await start("t2", group="g")
    narrow = await acquire(pool, first, APPEND, DAY)
    wide = await acquire(pool, second, APPEND, Interval.parse("2026-01-01/P3D"))
    assert await acquire(pool, first, APPEND, NEXT_DAY) == wide
    assert narrow in await held(pool, first)


async def test_an_unknown_and_a_finished_task_get_no_lock_and_have_none(pool: Pool, start: Start) -> None:
    finished = await start("done", active=False)
    unknown = LockRequester("nobody", "nobody", "web", 50)
    for task in (finished, unknown):
        with pytest.raises(InactiveTask, match=rf"Unable to grant lock to inactive Task \[{task.task_id}\]"):
            await acquire(pool, task)
        assert await held(pool, task) == []


async def test_what_a_finished_task_left_behind_blocks_nobody(pool: Pool, start: Start) -> None:
    await acquire(pool, await start("t1"))
    await pool.execute("UPDATE druid_tasks SET active = FALSE WHERE id = 't1'")
    assert await acquire(pool, await start("t2")) is not None


async def test_an_empty_interval_is_refused(pool: Pool, start: Start) -> None:
    with pytest.raises(InvalidInput, match="interval empty"):
        await acquire(pool, await start("t1"), interval=Interval(5, 5))


async def test_release_wants_the_locks_own_interval_and_twice_is_once(pool: Pool, start: Start) -> None:
    task = await start("t1")
    await acquire(pool, task, interval=Interval.parse("2026-01-01/P3D"))
    await acquire(pool, task, interval=Interval.parse("2026-02-01/P1D"))
    async with transaction(pool) as tx:
        assert not await lockbox.release(tx, "t1", DAY)
        assert await lockbox.release(tx, "t1", Interval.parse("2026-01-01/P3D"))
        assert not await lockbox.release(tx, "t1", Interval.parse("2026-01-01/P3D"))
    assert [lock.interval for lock in await held(pool, task)] == [Interval.parse("2026-02-01/P1D")]


async def test_release_all_gives_back_everything_of_the_task_and_nothing_of_its_group(pool: Pool, start: Start) -> None:
    first, second = await start("t1", group="g"), await start("t2", group="g")
    for task in (first, second):
        await acquire(pool, task)
    await acquire(pool, first, interval=NEXT_DAY)
    for _ in range(2):
        async with transaction(pool) as tx:
            await lockbox.release_all(tx, "t1")
    assert await held(pool, first) == []
    assert len(await held(pool, second)) == 1


async def test_of_many_who_ask_at_once_exactly_one_gets_the_lock(pool: Pool, start: Start) -> None:
    tasks = [await start(f"t{number}") for number in range(8)]
    granted = await asyncio.gather(*(acquire(pool, task) for task in tasks))
    assert sum(lock is not None for lock in granted) == 1
    assert len(await rows(pool)) == 1


async def test_nobody_revokes_a_lock_while_its_holder_publishes(pool: Pool, start: Start) -> None:
    low, high = await start("low", priority=0), await start("high", priority=100)
    await acquire(pool, low)
    async with transaction(pool) as tx:
        frozen = await lockbox.freeze(tx, "web", "low")
        robber = asyncio.create_task(acquire(pool, high))
        done, _ = await asyncio.wait({robber}, timeout=0.2)
        assert done == set()
        assert [lock.revoked for lock in frozen] == [False]
    assert await robber is not None
    assert [lock.revoked for lock in await held(pool, low)] == [True]


async def test_a_task_is_not_finished_while_it_publishes(pool: Pool, start: Start) -> None:
    task = await start("t1")
    await acquire(pool, task)
    async with transaction(pool) as tx:
        await lockbox.freeze(tx, "web", "t1")
        ending = asyncio.create_task(pool.execute("UPDATE druid_tasks SET active = FALSE WHERE id = 't1'"))
        done, _ = await asyncio.wait({ending}, timeout=0.2)
        assert done == set()
    await ending
    with pytest.raises(InactiveTask):
        async with transaction(pool) as tx:
            await lockbox.freeze(tx, "web", "t1")
