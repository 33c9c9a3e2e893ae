"""
What a runner is told: start, stop, forget, and what became of tasks. Found by comparing what it says it has with the
rows of attempts.

An order may be repeated, and is, until the runner's word shows that it was followed. So a lost answer, or a runner or
an Overlord that starts anew in between, changes nothing. Postgres compares: a runner may list ten thousand attempts,
of which a handful are worth a row in an answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from druid_core.runner import OPERATOR, Assignment, AttemptRef, RunnerAnnouncement, RunnerOrders, TaskOutcome
from druid_core.status import TaskStatus
from overlord.db import hints
from overlord.db.pool import Connection
from overlord.replica import Replica
from overlord.runner import execution
from overlord.task.settle import Ending
from overlord.task.token import mint

REPEAT_MS = 5000
"""An order that was given so recently is no news: it does not end a long poll, but goes with the next answer."""

GRACE_MS = 10_000
"""
How long an attempt may be missing from its runner's list before it counts as gone: a list may have been written
before the attempt began, and read after.
"""

START_BATCH = 1000
"""Assignments an answer at most, so that a runner begins with the first before it has read the last."""

_COMPARE = """
WITH listed AS (SELECT * FROM unnest($2::text[], $3::int[]) AS l (task_id, attempt)),
mine AS (
    SELECT * FROM nemeton_attempts WHERE runner_id = $1 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
)
SELECT task_id, attempt, listed.task_id IS NOT NULL AS is_listed, mine.task_id IS NOT NULL AS is_mine, mine.state,
       mine.stop, mine.finished, mine.told_ms, mine.assigned_ms, mine.reported_ms, mine.priority, mine.submitted_ms
FROM mine FULL JOIN listed USING (task_id, attempt)
WHERE listed.task_id IS NULL OR mine.task_id IS NULL OR mine.state = 'ASSIGNED' OR mine.stop OR mine.finished
"""
"""Of all that a runner lists or should have, what is not simply under way."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What must be known of one attempt to give orders about it."""

    task_id: str
    attempt: int
    is_listed: bool
    state: str | None
    """None: no row knows it."""
    runner_id: str | None = None
    stop: bool = False
    finished: bool = False
    told_ms: int | None = None
    touched_ms: int = 0
    """When it was assigned, or last reported."""
    order: tuple[int, int, str] = (0, 0, "")

    @property
    def ref(self) -> AttemptRef:
        return AttemptRef(task_id=self.task_id, attempt=self.attempt)

    @property
    def is_over(self) -> bool:
        return self.state in (None, "ENDED", "LOST") or self.finished

    def is_news(self, now_ms: int) -> bool:
        return self.told_ms is None or now_ms - self.told_ms >= REPEAT_MS


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders for a runner, and when they are worth an answer."""

    answer: RunnerOrders
    is_news: bool
    repeat_in_ms: int | None
    """After this one of them becomes news again; None: there is none."""


async def hear(tx: Connection, runner: RunnerAnnouncement, now_ms: int) -> None:
    """Note that a runner lives, and what it offers."""
    changed = await tx.fetchval(
        """
        INSERT INTO nemeton_runners AS known (runner_id, host, capacity, enabled, announcement, last_seen_ms)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (runner_id) DO UPDATE SET host = $2, capacity = $3, enabled = $4, announcement = $5,
            last_seen_ms = GREATEST(known.last_seen_ms, $6)
        RETURNING xmax = 0
        """,
        runner.runner_id,
        runner.host,
        runner.capacity,
        runner.enabled,
        orjson.dumps(runner.model_copy(update={"attempts": []}).to_wire()).decode(),
        now_ms,
    )
    if changed:
        await hints.send(tx, hints.QUEUE)


async def compare(tx: Connection, runner: RunnerAnnouncement) -> list[Attempt]:
    """The attempts of a runner's list, and of the rows that should be on it, about which there is anything to say."""
    rows = await tx.fetch(
        _COMPARE,
        runner.runner_id,
        [ref.task_id for ref in runner.attempts],
        [ref.attempt for ref in runner.attempts],
    )
    elsewhere = [(row["task_id"], row["attempt"]) for row in rows if not row["is_mine"]]
    others = await _rows_of(tx, elsewhere) if elsewhere else {}
    found = [_attempt(row, is_listed=row["is_listed"], runner_id=runner.runner_id) for row in rows if row["is_mine"]]
    for task_id, attempt in elsewhere:
        row = others.get((task_id, attempt))
        found.append(
            Attempt(task_id, attempt, is_listed=True, state=None)
            if row is None
            else _attempt(row, is_listed=True, runner_id=row["runner_id"])
        )
    return found


async def take_word(
    tx: Connection, runner: RunnerAnnouncement, attempts: list[Attempt], now_ms: int
) -> tuple[list[Ending], bool]:
    """
    Bring the rows in line with a runner's list; the attempts that it no longer has, and whether a row was changed.

    An attempt on the list that no row knows gets a row, void from the start, so that it is stopped and forgotten
    like any other. Whoever lists an attempt has it: a MiddleManager that came back under another address, say.
    """
    started = [each for each in attempts if each.is_listed and each.state == "ASSIGNED"]
    moved = [each for each in attempts if each.is_listed and each.state and each.runner_id != runner.runner_id]
    if started or moved:
        await tx.execute(
            """
            WITH meant AS (
                SELECT task_id, attempt FROM nemeton_attempts
                WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[]))
                ORDER BY task_id, attempt FOR UPDATE
            )
            UPDATE nemeton_attempts AS attempt SET
                runner_id = $3,
                reported_ms = CASE WHEN state = 'ASSIGNED' THEN $4 ELSE reported_ms END,
                state = CASE WHEN state = 'ASSIGNED' THEN 'STARTING' ELSE state END
            FROM meant WHERE attempt.task_id = meant.task_id AND attempt.attempt = meant.attempt
            """,
            *_columns(started + moved),
            runner.runner_id,
            now_ms,
        )
    strangers = [each for each in attempts if each.state is None]
    if strangers:
        await tx.execute(
            """
            INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms,
                                          runner_id, stop, reason)
            SELECT task_id, attempt, '', '', 0, 'LOST', $3, $4, TRUE, 'unknown to this Overlord'
            FROM unnest($1::text[], $2::int[]) AS l (task_id, attempt) ORDER BY 1, 2 ON CONFLICT DO NOTHING
            """,
            *_columns(strangers),
            now_ms,
            runner.runner_id,
        )
    gone = [
        Ending(each.task_id, each.attempt, f"the runner {runner.runner_id} no longer knows of it")
        for each in attempts
        if not each.is_listed and _is_missed(each, now_ms)
    ]
    return gone, bool(started or moved or strangers)


async def give(
    tx: Connection, replica: Replica, runner: RunnerAnnouncement, attempts: list[Attempt], now_ms: int
) -> Orders:
    """
    The orders that follow from what `compare` found.

    Settled attempts that the runner still lists are to be forgotten; void ones to be stopped.
    """
    start, stop, forget = list[Attempt](), list[Attempt](), list[Attempt]()
    for each in sorted(attempts, key=lambda each: each.order):
        if each.state == "ENDED":
            forget.append(each)
        elif each.stop or each.state == "LOST":
            if each.is_listed or each.told_ms is not None:
                stop.append(each)
        elif each.state == "ASSIGNED" and not each.finished and not each.is_listed:
            start.append(each)
    start.sort(key=lambda each: not each.is_news(now_ms))
    start = start[:START_BATCH]
    pods = runner.kind == OPERATOR
    over = [each for each in attempts if each.is_listed and each.is_over] if pods else []
    told = {(each.task_id, each.attempt): each for each in (*start, *stop, *forget, *over)}.values()
    is_news = any(each.is_news(now_ms) for each in told)
    answer = RunnerOrders(
        start=await _assignments(tx, replica, start) if start else [],
        stop=[each.ref for each in stop],
        forget=[each.ref for each in forget],
        outcomes=await _outcomes(tx, over) if over else [],
        execution=await execution.stored(tx) if pods else None,
    )
    if is_news:
        await tx.execute(
            """
            WITH meant AS (
                SELECT task_id, attempt FROM nemeton_attempts
                WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[]))
                ORDER BY task_id, attempt FOR UPDATE
            )
            UPDATE nemeton_attempts AS attempt SET told_ms = $3
            FROM meant WHERE attempt.task_id = meant.task_id AND attempt.attempt = meant.attempt
            """,
            *_columns(told),
            now_ms,
        )
    repeat_in_ms = min((each.told_ms + REPEAT_MS - now_ms for each in told if each.told_ms is not None), default=None)
    return Orders(answer, is_news, repeat_in_ms)


def _is_missed(each: Attempt, now_ms: int) -> bool:
    """Whether an open attempt that its runner does not list is gone. One that is only to be started is not."""
    if each.state == "ASSIGNED" and not each.stop:
        return False
    return now_ms - each.touched_ms > GRACE_MS


async def _rows_of(tx: Connection, refs: list[tuple[str, int]]) -> dict[tuple[str, int], Any]:
    """Attempts on a runner's list that are over, or another runner's."""
    rows: list[Any] = await tx.fetch(
        """
        SELECT task_id, attempt, runner_id, state, stop, finished, told_ms, assigned_ms, reported_ms, priority,
               submitted_ms
        FROM nemeton_attempts WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[]))
        """,
        [task_id for task_id, _ in refs],
        [attempt for _, attempt in refs],
    )
    return {(row["task_id"], row["attempt"]): row for row in rows}


async def _assignments(tx: Connection, replica: Replica, start: list[Attempt]) -> list[Assignment]:
    rows: list[Any] = await tx.fetch(
        """
        SELECT attempt.task_id, attempt.attempt, attempt.data_source, attempt.group_id, COALESCE(task.type, '') AS type,
               COALESCE(attempt.context, (convert_from(task.payload, 'UTF8')::json -> 'context')::text) AS context
        FROM nemeton_attempts AS attempt JOIN druid_tasks AS task ON task.id = attempt.task_id
        WHERE task.active AND (attempt.task_id, attempt.attempt) IN (SELECT * FROM unnest($1::text[], $2::int[]))
        """,
        *_columns(start),
    )
    known = {(row["task_id"], row["attempt"]): row for row in rows}
    return [
        Assignment(
            task_id=each.task_id,
            attempt=each.attempt,
            type=row["type"],
            data_source=row["data_source"],
            group_id=row["group_id"],
            token=mint(replica.secret, each.task_id, each.attempt),
            context=orjson.loads(row["context"] or b"{}") or {},
        )
        for each in start
        if (row := known.get((each.task_id, each.attempt))) is not None
    ]


async def _outcomes(tx: Connection, over: list[Attempt]) -> list[TaskOutcome]:
    rows: list[Any] = await tx.fetch(
        """
        SELECT id, status_payload,
               (SELECT count(*) FROM nemeton_task_segments WHERE task_id = task.id)::int AS segments,
               (SELECT max(attempt) FROM nemeton_attempts WHERE task_id = task.id) AS last_attempt
        FROM druid_tasks AS task WHERE id = ANY($1)
        """,
        list({each.task_id for each in over}),
    )
    known = {row["id"]: row for row in rows}
    outcomes: list[TaskOutcome] = []
    for each in over:
        row = known.get(each.task_id)
        if row is None:
            status = TaskStatus.failure(each.task_id, "The Overlord knows no task of this id")
            outcomes.append(TaskOutcome(task_id=each.task_id, attempt=each.attempt, status=status))
            continue
        outcomes.append(
            TaskOutcome(
                task_id=each.task_id,
                attempt=each.attempt,
                status=TaskStatus.model_validate(orjson.loads(row["status_payload"])),
                segments_published=row["segments"],
                next_attempt=each.attempt + 1 if row["last_attempt"] > each.attempt else None,
            )
        )
    return outcomes


def _attempt(row: Any, *, is_listed: bool, runner_id: str | None) -> Attempt:
    return Attempt(
        row["task_id"],
        row["attempt"],
        is_listed,
        row["state"],
        runner_id,
        row["stop"],
        row["finished"],
        row["told_ms"],
        max(row["reported_ms"] or 0, row["assigned_ms"] or 0),
        (-row["priority"], row["submitted_ms"], row["task_id"]),
    )


def _columns(attempts: Iterable[Attempt]) -> tuple[list[str], list[int]]:
    """Task ids and attempts, as two arrays for `unnest`."""
    each = list(attempts)
    return [one.task_id for one in each], [one.attempt for one in each]
