"""
The tasks that wait for locks, of which a look reads those that may matter, however many there are.

A task that asks for what another one asks for too, and comes after it, has to wait where that one has to. So of each
wish the oldest is looked at: a thousand tasks that wait for one lock are one wish.
"""

from dataclasses import dataclass
from typing import Any

import asyncpg

from druid_core.interval import Interval
from druid_core.lock import LockType
from overlord.db.pool import Connection
from overlord.lock.conflict import LockRequest

FIRST_TASKS = 1000
"""Of the line as it is, first come first: most that can be released is there."""

WISHES = 1000
"""Different wishes a look. Where there are more, the next look goes on behind them."""

_MORE_OF_A_WISH = 20
"""Of locks that are shared more than one task of a wish may have one at once."""

_SHARED = (LockType.SHARED.value, LockType.APPEND.value)

_COLUMNS = """
    task_id, attempt, data_source, group_id, priority, lock_type, lock_intervals, submitted_ms, lock_deadline_ms
"""

_FIRST = f"""
SELECT {_COLUMNS} FROM nemeton_attempts
WHERE state = 'WAITING' ORDER BY priority DESC, submitted_ms, task_id LIMIT {FIRST_TASKS}
"""

_OVERDUE = f"""
SELECT {_COLUMNS} FROM nemeton_attempts
WHERE state = 'WAITING' AND lock_deadline_ms <= $1 ORDER BY lock_deadline_ms LIMIT {FIRST_TASKS}
"""

_KEY = """
    data_source, lock_type, hashtextextended(lock_intervals, 0), COALESCE(NULLIF(group_id, task_id), ''), priority
"""
"""What makes a wish: tasks of a group of several may share that group's locks, so each such group has its own."""

_NEXT = f"""
    SELECT data_source, lock_type, hashtextextended(lock_intervals, 0) AS digest,
           COALESCE(NULLIF(group_id, task_id), '') AS of_group, priority
    FROM nemeton_attempts WHERE state = 'WAITING' AND ({_KEY}) > (%s) ORDER BY {_KEY} LIMIT 1
"""

_WISHES = f"""
WITH RECURSIVE wish AS (
    SELECT 1 AS number, first.* FROM ({_NEXT % "$1::text, $2::text, $3::bigint, $4::text, $5::int"}) AS first
    UNION ALL
    SELECT wish.number + 1, next.* FROM wish CROSS JOIN LATERAL (
        {_NEXT % "wish.data_source, wish.lock_type, wish.digest, wish.of_group, wish.priority"}
    ) AS next
)
SELECT number, digest, of_group, head.* FROM (SELECT * FROM wish LIMIT {WISHES}) AS wish CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM nemeton_attempts
    WHERE state = 'WAITING'
        AND ({_KEY}) = (wish.data_source, wish.lock_type, wish.digest, wish.of_group, wish.priority)
    ORDER BY submitted_ms, task_id LIMIT CASE WHEN wish.lock_type = ANY($6::text[]) THEN {_MORE_OF_A_WISH} ELSE 1 END
) AS head
"""

_Key = tuple[str, str, int, str, int]

_BEFORE_ALL: _Key = ("", "", -(2**63), "", -(2**31))


@dataclass(slots=True)
class Round:
    """Where the next look goes on. Losing it costs nothing but to begin anew."""

    after: _Key = _BEFORE_ALL


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of `nemeton_attempts` in state WAITING."""

    task_id: str
    attempt: int
    data_source: str
    group_id: str
    priority: int
    lock_type: LockType
    intervals: list[Interval]
    submitted_ms: int
    deadline_ms: int | None

    @property
    def requests(self) -> list[LockRequest]:
        """What it asks of the lockbox."""
        return [
            LockRequest(self.task_id, self.group_id, self.lock_type, interval, self.priority)
            for interval in self.intervals
        ]


async def candidates(tx: Connection, now_ms: int, looks: Round) -> list[Waiting]:
    """
    Those that may be released now or have waited too long, highest priority and oldest first.

    Whoever is left out asks for what one of them asks for, or is found by a later look of the same round.
    """
    first: list[asyncpg.Record] = await tx.fetch(_FIRST)
    found = {row["task_id"]: row for row in first}
    if len(first) == FIRST_TASKS:
        found |= {row["task_id"]: row for row in await tx.fetch(_OVERDUE, now_ms)}
        heads: list[Any] = await tx.fetch(_WISHES, *looks.after, _SHARED)
        found |= {row["task_id"]: row for row in heads}
        last = max(heads, key=lambda row: row["number"], default=None)
        looks.after = _BEFORE_ALL
        if last is not None and last["number"] == WISHES:
            looks.after = tuple(last[name] for name in ("data_source", "lock_type", "digest", "of_group", "priority"))
    ordered = sorted(found.values(), key=lambda row: (-row["priority"], row["submitted_ms"], row["task_id"]))
    return [_waiting(row) for row in ordered]


def _waiting(row: asyncpg.Record) -> Waiting:
    return Waiting(
        row["task_id"],
        row["attempt"],
        row["data_source"],
        row["group_id"],
        row["priority"],
        LockType(row["lock_type"]),
        [Interval.parse(text) for text in row["lock_intervals"].split(",")],
        row["submitted_ms"],
        row["lock_deadline_ms"],
    )
