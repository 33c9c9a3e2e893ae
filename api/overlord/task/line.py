"""
The line of tasks for slots: who is in it, in which order, and what each stands behind.

Sub-tasks of a task that holds a slot come first, by priority, then of the parent that has the fewest in slots. Then the
others: by priority, and of equal ones first the task whose datasource would then hold the fewest slots, then the
oldest. Postgres puts them in order: the line may have a hundred thousand tasks, of whom a pass needs a handful.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from overlord.db.pool import Connection
from overlord.task.queue_config import MINUTE_MS, QueueRules


@dataclass(frozen=True, slots=True)
class Place:
    """A task in line, with what decides whether it may have a slot."""

    task_id: str
    attempt: int
    task_type: str
    runner_wish: str | None = None
    splits: bool = False
    """It may have sub-tasks."""
    is_child: bool = False
    """Its group is that of a task of the same datasource that holds a slot."""
    is_only_child: bool = False
    """And none of that group has a slot: no limit holds it up, because its parent waits for it."""


@dataclass(frozen=True, slots=True)
class SlotUse:
    """The slots that are taken, all runners together."""

    total: int = 0
    parents: int = 0
    """Held by tasks that may have sub-tasks."""
    by_type: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands in line, and how much of what it has its datasource may have."""

    place: int
    """1 is next. Of a task whose datasource is held up: among that datasource's alone."""
    is_child: bool = False
    is_only_child: bool = False
    source_slots: int = 0
    """Slots that its datasource holds."""
    starts_left: int | None = None
    """Starts that its datasource has left in this minute; None: as many as it likes."""


@dataclass(frozen=True, slots=True)
class TypesRun:
    """The types of tasks that runners run, of those who say so."""

    by_runner: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    any_runner: frozenset[str] | None = None
    """All that are run at all; None: every type, because some runner does not say."""

    def to_json(self) -> str:
        """By runner; what they run together under the empty name, which no runner has."""
        together = {} if self.any_runner is None else {"": self.any_runner}
        return orjson.dumps({name: sorted(types) for name, types in {**self.by_runner, **together}.items()}).decode()


_HOLDS = "state IN ('ASSIGNED', 'STARTING', 'RUNNING')"

_TOLD = f"""
told AS MATERIALIZED (
    SELECT name, most, stopped, starts - (
        SELECT count(*) FROM nemeton_attempts
        WHERE t.starts IS NOT NULL AND data_source = t.name AND assigned_ms > $6::bigint - {MINUTE_MS}
    )::int AS starts
    FROM unnest($1::text[], $2::int[], $3::boolean[], $4::int[]) AS t (name, most, stopped, starts)
)
"""
"""What is configured for a datasource; `starts`: how many it has left in this minute."""

_USED = f"used AS (SELECT data_source AS name, count(*)::int AS slots FROM nemeton_attempts WHERE {_HOLDS} GROUP BY 1)"

_SIBLINGS = f"""
siblings AS (
    SELECT group_id, count(*)::int AS slots FROM nemeton_attempts WHERE group_id <> task_id AND {_HOLDS} GROUP BY 1
)
"""

_ROOM = "LEAST(COALESCE(told.most, $5::int) - COALESCE(used.slots, 0), told.starts)"
"""How many more of a datasource may start now; NULL: as many as there are slots."""

_RUNS = "({}::jsonb -> COALESCE(runner_wish, '') ? task_type) IS NOT FALSE"
"""Its runner, without a wish any of them, runs its type: `TypesRun` as JSON; who is not in there runs all."""

_DUE = "state = 'PENDING' AND (not_before_ms IS NULL OR not_before_ms <= $6::bigint)"

_FITS = f"""
    (runner_wish IS NULL OR runner_wish = ANY($7::text[])) AND {_RUNS.format("$10")}
"""

_IS_CHILD = f"""
    group_id <> task_id AND EXISTS (
        SELECT 1 FROM nemeton_attempts AS parent
        WHERE parent.task_id = waits.group_id AND parent.data_source = waits.data_source AND {_HOLDS} AND NOT finished
    )
"""
"""Of the parent's own datasource: a group's name alone gets nobody past the limits of another one."""

_ORDER = "priority DESC, submitted_ms, task_id"

_CHILDREN = f"""
WITH {_TOLD}, {_USED}, {_SIBLINGS},
children AS (
    SELECT waits.*, COALESCE(told.most, $5::int) AS most,
           row_number() OVER (PARTITION BY group_id ORDER BY {_ORDER}) + COALESCE(siblings.slots, 0) AS nth,
           count(*) FILTER (WHERE task_type <> ALL($8::text[])) OVER (PARTITION BY data_source ORDER BY {_ORDER})
               + COALESCE(used.slots, 0) AS nth_of_source
    FROM nemeton_attempts AS waits
    LEFT JOIN siblings USING (group_id)
    LEFT JOIN told ON told.name = data_source LEFT JOIN used ON used.name = data_source
    WHERE {_DUE} AND {_FITS} AND {_IS_CHILD}
)
SELECT task_id, attempt, task_type, runner_wish, splits, TRUE AS is_child, nth = 1 AS is_only_child
FROM children
WHERE nth = 1 OR (task_type <> ALL($8::text[]) AND (most IS NULL OR nth_of_source <= most))
ORDER BY priority DESC, nth, submitted_ms, task_id LIMIT $9::int
"""

_OTHERS = f"""
WITH RECURSIVE {_TOLD}, {_USED},
source AS (
    (SELECT data_source AS name FROM nemeton_attempts WHERE state = 'PENDING' ORDER BY data_source LIMIT 1)
    UNION ALL
    SELECT (
        SELECT data_source FROM nemeton_attempts WHERE state = 'PENDING' AND data_source > source.name
        ORDER BY data_source LIMIT 1
    )
    FROM source WHERE name IS NOT NULL
),
open AS (
    SELECT name, COALESCE(used.slots, 0) AS slots, GREATEST(LEAST({_ROOM}, $9::int), 0) AS room
    FROM source LEFT JOIN told USING (name) LEFT JOIN used USING (name)
    WHERE name IS NOT NULL AND told.stopped IS NOT TRUE
)
SELECT task_id, attempt, task_type, runner_wish, splits, FALSE AS is_child, FALSE AS is_only_child
FROM open CROSS JOIN LATERAL (
    SELECT *, row_number() OVER (ORDER BY {_ORDER}) + open.slots AS nth
    FROM (
        SELECT * FROM nemeton_attempts AS waits
        WHERE data_source = open.name AND {_DUE} AND {_FITS} AND task_type <> ALL($8::text[]) AND NOT ({_IS_CHILD})
        ORDER BY {_ORDER} LIMIT open.room
    ) AS first
) AS line
ORDER BY priority DESC, nth, submitted_ms, task_id LIMIT $9::int
"""
"""
From one datasource to the next is one step in an index, and of each no more rows are read than it may have slots. So a
pass costs what there are datasources, not what there are tasks.
"""

_IN_LINE = f"{_DUE} AND {_RUNS.format('$8')}"
"""A task of a type that nobody runs is in nobody's way, and has no place."""

_OF_LINE = "task_id, group_id, data_source, runner_wish, priority, submitted_ms"

_LINE = f"""
WITH {_TOLD}, {_USED}, {_SIBLINGS},
line AS (
    SELECT task_id, group_id, runner_wish, priority, submitted_ms, is_child, nth, told.starts,
           nth + COALESCE(used.slots, 0) AS share, COALESCE(used.slots, 0) AS source_slots,
           NOT is_child AND (told.stopped IS TRUE OR nth > {_ROOM}) IS TRUE AS is_held
    FROM (
        SELECT {_OF_LINE}, FALSE AS is_child, row_number() OVER (PARTITION BY data_source ORDER BY {_ORDER}) AS nth
        FROM nemeton_attempts AS waits WHERE {_IN_LINE} AND NOT ({_IS_CHILD})
        UNION ALL
        SELECT {_OF_LINE}, TRUE AS is_child, 0::bigint AS nth
        FROM nemeton_attempts AS waits WHERE {_IN_LINE} AND {_IS_CHILD}
    ) AS waits
    LEFT JOIN told ON told.name = data_source LEFT JOIN used ON used.name = data_source
)
"""

_STANDING = "is_child, is_child AND siblings.slots IS NULL AS is_only_child, source_slots, starts"

_RANKED = f"""
{_LINE},
placed AS (
    SELECT *, row_number() OVER everybody AS place,
           row_number() OVER (
               PARTITION BY is_held, runner_wish ORDER BY is_child DESC, priority DESC, share, submitted_ms, task_id
           ) AS among_equals,
           count(*) FILTER (WHERE runner_wish IS NULL) OVER everybody AS before_without_wish
    FROM line
    WINDOW everybody AS (PARTITION BY is_held ORDER BY is_child DESC, priority DESC, share, submitted_ms, task_id)
)
SELECT task_id, (
           CASE WHEN is_held THEN nth WHEN runner_wish IS NULL THEN place ELSE among_equals + before_without_wish END
       )::int AS place, {_STANDING}
FROM placed LEFT JOIN siblings USING (group_id) WHERE task_id = ANY($7::text[])
"""
"""
Before a task that wishes for a runner are those that may take that runner's slots: who wishes for the same one, and
who has no wish. What a datasource is held up with is before nobody else's.
"""

_COUNTED = f"""
WITH {_TOLD}, {_USED}, {_SIBLINGS},
mine AS MATERIALIZED (
    SELECT {_OF_LINE}, {_IS_CHILD} AS is_child FROM nemeton_attempts AS waits
    WHERE {_IN_LINE} AND task_id = ANY($7::text[])
),
children AS (
    SELECT {_OF_LINE}, COALESCE(used.slots, 0) AS source_slots
    FROM nemeton_attempts AS waits LEFT JOIN used ON used.name = data_source WHERE {_IN_LINE} AND {_IS_CHILD}
),
counted AS (
    SELECT mine.task_id, runner_wish AS wish, mine.data_source = name AS is_own, each.*, told.stopped, told.starts,
           COALESCE(used.slots, 0) AS slots, {_ROOM} AS room
    FROM mine CROSS JOIN LATERAL (
        SELECT data_source AS name,
               count(*) FILTER (WHERE priority > mine.priority) AS higher,
               count(*) FILTER (WHERE priority >= mine.priority) AS as_high,
               count(*) FILTER (
                   WHERE (-priority, submitted_ms, task_id) < (-mine.priority, mine.submitted_ms, mine.task_id)
               ) AS earlier,
               count(*) FILTER (WHERE runner_wish <> mine.runner_wish) AS elsewhere
        FROM nemeton_attempts AS waits WHERE {_IN_LINE} AND NOT ({_IS_CHILD}) GROUP BY data_source
    ) AS each
    LEFT JOIN told USING (name) LEFT JOIN used USING (name)
    WHERE NOT mine.is_child
),
own AS (
    SELECT task_id, earlier + 1 AS nth, earlier + 1 + slots AS share, slots, starts,
           (stopped IS TRUE OR earlier + 1 > room) IS TRUE AS is_held
    FROM counted WHERE is_own
),
before AS (
    SELECT task_id, sum(CASE WHEN elsewhere = 0 THEN ahead ELSE (
               SELECT count(*) FROM (
                   SELECT runner_wish FROM nemeton_attempts AS waits
                   WHERE data_source = name AND {_IN_LINE} AND NOT ({_IS_CHILD}) ORDER BY {_ORDER} LIMIT ahead
               ) AS first
               WHERE runner_wish IS NULL OR runner_wish = wish
           ) END) AS others
    FROM (
        SELECT counted.*, CASE WHEN stopped IS TRUE THEN 0 ELSE GREATEST(LEAST(room, GREATEST(
                   higher, LEAST(as_high, share - counted.slots - (earlier < share - counted.slots)::int)
               )), 0) END AS ahead
        FROM counted JOIN own USING (task_id) WHERE NOT is_held
    ) AS sources
    GROUP BY task_id
)
SELECT task_id, (CASE WHEN is_held THEN nth ELSE 1 + COALESCE(others, 0) + (
           SELECT count(*) FROM children AS other
           WHERE (mine.runner_wish IS NULL OR other.runner_wish IS NULL OR other.runner_wish = mine.runner_wish)
               AND (NOT is_child OR (-other.priority, other.source_slots, other.submitted_ms, other.task_id)
                   < (-mine.priority, COALESCE(used.slots, 0), mine.submitted_ms, mine.task_id))
       ) END)::int AS place, is_child, is_child AND siblings.slots IS NULL AS is_only_child,
       COALESCE(used.slots, 0) AS source_slots, told.starts
FROM mine LEFT JOIN own USING (task_id) LEFT JOIN before USING (task_id) LEFT JOIN siblings USING (group_id)
LEFT JOIN told ON told.name = data_source LEFT JOIN used ON used.name = data_source
"""
"""
The same for few tasks, without putting anybody in order: who is before a task is of each datasource its first few, and
how many these are follows from three numbers. All of a higher priority; of the same one those with a smaller share,
and the one with the same share if it is older, which it is if at least so many of its datasource are.
"""

_FEW = 10

_USE = f"""
SELECT task_type, count(*)::int AS slots, (count(*) FILTER (WHERE splits AND NOT finished))::int AS parents
FROM nemeton_attempts WHERE {_HOLDS} GROUP BY task_type
"""


async def slot_use(tx: Connection) -> SlotUse:
    """What is taken now."""
    rows = await tx.fetch(_USE)
    return SlotUse(
        sum(row["slots"] for row in rows),
        sum(row["parents"] for row in rows),
        {row["task_type"]: row["slots"] for row in rows},
    )


async def next_in_line(
    tx: Connection,
    rules: QueueRules,
    now_ms: int,
    *,
    runner_ids: Sequence[str],
    types: TypesRun,
    full_types: Sequence[str],
    most: int,
    most_others: int,
) -> list[Place]:
    """
    The first `most` who may start now, `most_others` at most that are nobody's sub-tasks: by what their datasource may
    have, on one of the runners that runs such tasks, not of a full type.

    Whoever is first can be given a slot, so a pass never stands still before a line that could move.
    """
    given = (*_told(rules, now_ms), now_ms, list(runner_ids), list(full_types))
    told_types = types.to_json()
    rows: list[Any] = await tx.fetch(_CHILDREN, *given, most, told_types)
    others = min(most - len(rows), most_others)
    if others > 0:
        rows += await tx.fetch(_OTHERS, *given, others, told_types)
    return [Place(*row.values()) for row in rows]


async def standings(
    tx: Connection, rules: QueueRules, now_ms: int, types: TypesRun, task_ids: Sequence[str]
) -> dict[str, Standing]:
    """Where each of the tasks stands that are in line and due, and of a type that somebody runs."""
    statement = _COUNTED if len(task_ids) <= _FEW else _RANKED
    rows: list[Any] = await tx.fetch(statement, *_told(rules, now_ms), now_ms, list(task_ids), types.to_json())
    return {row["task_id"]: Standing(*list(row.values())[1:]) for row in rows}


_Told = tuple[list[str], list[int | None], list[bool], list[int | None], int | None]


def _told(rules: QueueRules, now_ms: int) -> _Told:
    """What is configured, as columns: datasources, their slots, whether they stand still, starts; slots of others."""
    told = rules.config.data_sources
    return (
        list(told),
        [each.max_slots for each in told.values()],
        [each.stops(now_ms) for each in told.values()],
        [each.starts_per_minute for each in told.values()],
        rules.config.max_slots_per_data_source,
    )
