"""
The lockbox as a state machine on a real Postgres: tasks ask, share, lose, release, publish, end and break off in any
order and at once, and whatever happens no two incompatible locks overlap, and who lost a lock does not publish.

What must be true is said here again in its own words, from rows alone; nothing of the policy is asked.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from druid_core.errors import NemetonError
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from druid_core.status import TaskStatus
from overlord.db.pool import Connection, Pool, connect, transaction
from overlord.lock import lockbox
from overlord.lock.conflict import Partition
from overlord.lock.lockbox import LockRequester
from overlord.segment.publish import publish
from overlord.task import store as tasks
from tests.support.actions import segment
from tests.support.postgres import TestPostgres

Answer = TypeVar("Answer")
Row = dict[str, Any]

FIRST_HOUR_MS = parse_instant("2026-01-01T00:00:00.000Z")
NOW_MS = parse_instant("2026-03-01T12:00:00.000Z")
SPANS = st.tuples(st.integers(0, 6), st.integers(1, 3)).map(lambda span: (span[0], span[0] + span[1]))
TASKS = st.integers(0, 8)
TYPES = st.sampled_from(LockType)


class BrokenOff(Exception):
    """A connection that is lost, a replica that is killed: the transaction never ends well."""


class World:
    """A database and the loop in which it is spoken to."""

    def __init__(self, runner: asyncio.Runner, pool: Pool) -> None:
        self._runner = runner
        self.pool = pool

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)


class LockboxMachine(RuleBasedStateMachine):
    """Nine tasks of three groups, of priorities 25, 50 and 75."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOW_MS
        self.lost: set[int] = set()
        """Rows whose lock was revoked."""
        self.published = 0

    @initialize()
    def begin(self) -> None:
        async def start_all() -> None:
            await self.world.pool.execute(
                "TRUNCATE druid_tasks, druid_tasklocks, druid_segments, druid_pendingsegments, nemeton_attempts, "
                "nemeton_task_segments"
            )
            for number in range(9):
                await self.world.pool.execute(
                    """
                    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type,
                                             group_id)
                    VALUES ($1, $2, 'web', '{}', '{}', TRUE, 'noop', $3)
                    """,
                    _task(number).task_id,
                    format_instant(NOW_MS),
                    _task(number).group_id,
                )

        self.world.run(start_all())

    @rule(number=TASKS, type=TYPES, span=SPANS, later_ms=st.integers(-5, 5))
    def ask(self, number: int, type: LockType, span: tuple[int, int], later_ms: int) -> None:
        self.now_ms += later_ms
        self._check_grant(number, type, span, self.world.run(self._acquire(number, type, span)))

    @rule(number=TASKS, type=TYPES, span=SPANS, partition=st.integers(0, 2))
    def ask_for_a_segment(self, number: int, type: LockType, span: tuple[int, int], partition: int) -> None:
        lock = self.world.run(self._acquire(number, type, span, Partition("2026-02-01T00:00:00.000Z", partition)))
        self._check_grant(number, type, span, lock)

    @rule(wishes=st.lists(st.tuples(TASKS, TYPES, SPANS), min_size=2, max_size=4))
    def ask_at_once(self, wishes: list[tuple[int, LockType, tuple[int, int]]]) -> None:
        async def all_at_once() -> list[TaskLock | None]:
            return await asyncio.gather(*(self._acquire(*wish) for wish in wishes))

        self.world.run(all_at_once())

    @rule(number=TASKS, type=TYPES, span=SPANS)
    def break_off(self, number: int, type: LockType, span: tuple[int, int]) -> None:
        async def acquire_in_vain() -> None:
            async with transaction(self.world.pool) as tx:
                await _acquire(tx, _task(number), type, span, self.now_ms)
                raise BrokenOff

        before = self._rows()
        with pytest.raises((BrokenOff, lockbox.InactiveTask)):
            self.world.run(acquire_in_vain())
        assert self._rows() == before

    @rule(number=TASKS, span=SPANS)
    def release(self, number: int, span: tuple[int, int]) -> None:
        self._do(lambda tx: lockbox.release(tx, _task(number).task_id, _interval(span)))
        assert not [
            row
            for row in self._rows()
            if row["task"] == _task(number).task_id
            and row["interval"] == str(_interval(span))
            and row["granularity"] == "timeChunk"
        ]

    @rule(number=TASKS)
    def finish(self, number: int) -> None:
        self._do(lambda tx: tasks.finish(tx, TaskStatus.success(_task(number).task_id)))
        assert not [row for row in self._rows() if row["task"] == _task(number).task_id]

    @rule(number=TASKS, span=SPANS, partition=st.integers(0, 2))
    def publish(self, number: int, span: tuple[int, int], partition: int) -> None:
        allowed = self._may_publish(number, span, partition)
        assert self.world.run(self._publish(number, span, partition)) is allowed
        self._count_segments(allowed)

    @rule(number=TASKS, robber=TASKS, span=SPANS)
    def publish_while_somebody_wants_the_lock(self, number: int, robber: int, span: tuple[int, int]) -> None:
        allowed = self._may_publish(number, span, 0)

        async def both() -> bool:
            async with transaction(self.world.pool) as tx:
                published = await self._publish_in(tx, number, span, 0)
                robbery = asyncio.create_task(self._acquire(robber, LockType.EXCLUSIVE, span))
                done, _ = await asyncio.wait({robbery}, timeout=0.02)
                assert not published or done == set(), "nobody takes a lock while its holder publishes"
            await robbery
            return published

        assert self.world.run(both()) is allowed
        self._count_segments(allowed)

    @invariant()
    def no_two_incompatible_locks_overlap(self) -> None:
        active = [row for row in self._rows() if not row["revoked"]]
        for position, one in enumerate(active):
            for other in active[position + 1 :]:
                assert _are_compatible(one, other), (one, other)

    @invariant()
    def who_holds_a_lock_is_active_and_of_its_group(self) -> None:
        for row in self._rows():
            assert row["active"]
            assert (row["group_id"], row["priority"]) == (row["groupId"], _priority(row["groupId"]))

    @invariant()
    def what_was_lost_stays_lost(self) -> None:
        rows = {row["row"]: row["revoked"] for row in self._rows()}
        assert all(rows[row] for row in self.lost & rows.keys())
        self.lost |= {row for row, revoked in rows.items() if revoked}

    def _check_grant(self, number: int, type: LockType, span: tuple[int, int], lock: TaskLock | None) -> None:
        if lock is None:
            return
        assert (lock.type, lock.group_id) == (type, _task(number).group_id)
        assert lock.interval.covers(_interval(span))

    def _may_publish(self, number: int, span: tuple[int, int], partition: int) -> bool:
        return any(
            row["task"] == _task(number).task_id
            and not row["revoked"]
            and Interval.parse(row["interval"]).covers(_interval(span))
            and row.get("partitionId", partition) == partition
            for row in self._rows()
        )

    def _count_segments(self, published: bool) -> None:
        self.published += published
        assert self.world.run(self._one("SELECT count(*) FROM druid_segments")) == self.published

    async def _publish(self, number: int, span: tuple[int, int], partition: int) -> bool:
        async with transaction(self.world.pool) as tx:
            return await self._publish_in(tx, number, span, partition)

    async def _publish_in(self, tx: Connection, number: int, span: tuple[int, int], partition: int) -> bool:
        """A segment of its own, older than every lock but for its partition. Refused is refused, in whichever words."""
        self.now_ms += 1
        version = f"1960-01-01T00:00:00.000Z{self.published}"
        wanted = segment(str(_interval(span)), version, partition)
        try:
            return (await publish(tx, _task(number), [wanted], self.now_ms)).success
        except NemetonError:
            return False

    async def _acquire(
        self, number: int, type: LockType, span: tuple[int, int], partition: Partition | None = None
    ) -> TaskLock | None:
        try:
            async with transaction(self.world.pool) as tx:
                return await _acquire(tx, _task(number), type, span, self.now_ms, partition)
        except lockbox.InactiveTask:
            return None

    def _do(self, work: Callable[[Connection], Awaitable[object]]) -> None:
        async def in_a_transaction() -> None:
            async with transaction(self.world.pool) as tx:
                await work(tx)

        self.world.run(in_a_transaction())

    async def _one(self, query: str) -> Any:
        return await self.world.pool.fetchval(query)

    def _rows(self) -> list[Row]:
        """Every lock row, whoever's."""

        async def fetch() -> list[Any]:
            return await self.world.pool.fetch(
                """
                SELECT lock.id AS row, task.id AS task, active, group_id, lock_payload
                FROM druid_tasklocks AS lock LEFT JOIN druid_tasks AS task ON task.id = task_id ORDER BY lock.id
                """
            )

        return [
            {**{name: row[name] for name in ("row", "task", "active", "group_id")}, **json.loads(row["lock_payload"])}
            for row in self.world.run(fetch())
        ]


def _task(number: int) -> LockRequester:
    group = f"g{number % 3}"
    return LockRequester(f"t{number}", group, "web", _priority(group))


def _priority(group: str) -> int:
    return {"g0": 25, "g1": 50, "g2": 75}[group]


def _interval(span: tuple[int, int]) -> Interval:
    return Interval(FIRST_HOUR_MS + span[0] * 3_600_000, FIRST_HOUR_MS + span[1] * 3_600_000)


async def _acquire(
    tx: Connection,
    requester: LockRequester,
    type: LockType,
    span: tuple[int, int],
    now_ms: int,
    partition: Partition | None = None,
) -> TaskLock | None:
    return await lockbox.acquire(tx, requester, type, _interval(span), now_ms, partition)


def _are_compatible(one: Row, other: Row) -> bool:
    """Whether two active locks, of whichever tasks, may stand at the same time."""
    first, second = Interval.parse(one["interval"]), Interval.parse(other["interval"])
    if not first.overlaps(second):
        return True
    if first == second and one["groupId"] == other["groupId"]:
        return True  # shared, or the place in which a group changes its type or granularity
    if first == second and len({one.get("partitionId"), other.get("partitionId"), None}) == 3:
        return True  # two partitions of one interval
    match sorted((one["type"], other["type"])):
        case ["SHARED", "SHARED"] | ["APPEND", "APPEND"]:
            return True
        case ["APPEND", "REPLACE"]:
            wide, narrow = (first, second) if one["type"] == "REPLACE" else (second, first)
            return wide.covers(narrow)
        case _:
            return False


def test_whatever_happens_incompatible_locks_never_overlap_and_revoked_tasks_never_publish(
    postgres: TestPostgres,
) -> None:
    with asyncio.Runner() as runner:
        url = runner.run(postgres.clone())
        pool = runner.run(connect(url, min_size=1, max_size=6))
        LockboxMachine.world = World(runner, pool)
        try:
            run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
                LockboxMachine,
                settings=settings(
                    max_examples=25,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(pool.close())
            runner.run(postgres.drop(url))
