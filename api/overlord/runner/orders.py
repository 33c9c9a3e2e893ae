"""
What a runner is told: start, stop, forget. Found by comparing what it says it has with the rows of attempts.

An order may be repeated, and is, until the runner's word shows that it was followed. So a lost answer, or a runner or
an Overlord that starts anew in between, changes nothing.
"""

from typing import Any

import orjson

from druid_core.runner import Assignment, AttemptRef, RunnerAnnouncement, RunnerOrders
from overlord.db import hints
from overlord.db.pool import Connection
from overlord.replica import Replica
from overlord.task.settle import Ending
from overlord.task.token import mint

REPEAT_MS = 5000
"""An order that was given so recently is no news: it does not end a long poll, but goes with the next answer."""

GRACE_MS = 10_000
"""
How long an attempt may be missing from its runner's list before it counts as gone: a list may have been written
before the attempt began, and read after.
"""


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


async def compare(tx: Connection, runner: RunnerAnnouncement, now_ms: int) -> list[Ending]:
    """
    Bring the rows of a runner's attempts in line with its list; the attempts that it no longer has.

    An attempt on the list that no row knows gets a row, void from the start, so that it is stopped and forgotten
    like any other.
    """
    listed = {(ref.task_id, ref.attempt) for ref in runner.attempts}
    rows = await tx.fetch(
        """
        SELECT task_id, attempt, runner_id, state, stop, assigned_ms, reported_ms FROM nemeton_attempts
        WHERE (runner_id = $1 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING'))
           OR (task_id, attempt) IN (SELECT * FROM unnest($2::text[], $3::int[]))
        """,
        runner.runner_id,
        [ref.task_id for ref in runner.attempts],
        [ref.attempt for ref in runner.attempts],
    )
    known = {(row["task_id"], row["attempt"]): row for row in rows}
    started = [key for key in listed if key in known and known[key]["state"] == "ASSIGNED"]
    if started:
        await tx.execute(
            """
            UPDATE nemeton_attempts SET state = 'STARTING', reported_ms = $3
            WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[])) AND state = 'ASSIGNED'
            """,
            [task_id for task_id, _ in started],
            [attempt for _, attempt in started],
            now_ms,
        )
    if any(row["runner_id"] != runner.runner_id for row in rows):
        # whoever lists an attempt has it: a MiddleManager that came back under another address, say
        await tx.execute(
            """
            UPDATE nemeton_attempts SET runner_id = $3
            WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[])) AND runner_id <> $3
            """,
            [task_id for task_id, _ in listed],
            [attempt for _, attempt in listed],
            runner.runner_id,
        )
    for task_id, attempt in listed - known.keys():
        await tx.execute(
            """
            INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms,
                                          runner_id, stop, reason)
            VALUES ($1, $2, '', '', 0, 'LOST', $3, $4, TRUE, 'unknown to this Overlord') ON CONFLICT DO NOTHING
            """,
            task_id,
            attempt,
            now_ms,
            runner.runner_id,
        )
    return [
        Ending(row["task_id"], row["attempt"], f"the runner {runner.runner_id} no longer knows of it", None)
        for key, row in known.items()
        if key not in listed and _is_missed(row, now_ms)
    ]


async def orders(
    tx: Connection, replica: Replica, runner: RunnerAnnouncement, now_ms: int
) -> tuple[RunnerOrders, bool]:
    """
    The orders for a runner, and whether there is news among them.

    Settled attempts that it still lists are to be forgotten; void ones to be stopped.
    """
    rows = await tx.fetch(
        """
        SELECT attempt.task_id, attempt.attempt, attempt.state, attempt.stop, attempt.told_ms, attempt.data_source,
               attempt.group_id, COALESCE(task.type, '') AS type, COALESCE(task.active, FALSE) AS active,
               CASE WHEN attempt.state = 'ASSIGNED'
                   THEN (convert_from(task.payload, 'UTF8')::json -> 'context')::text END AS context
        FROM nemeton_attempts AS attempt LEFT JOIN druid_tasks AS task ON task.id = attempt.task_id
        WHERE (attempt.runner_id = $1 AND attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING'))
           OR (attempt.task_id, attempt.attempt) IN (SELECT * FROM unnest($2::text[], $3::int[]))
        ORDER BY attempt.priority DESC, attempt.submitted_ms
        """,
        runner.runner_id,
        [ref.task_id for ref in runner.attempts],
        [ref.attempt for ref in runner.attempts],
    )
    listed = {(ref.task_id, ref.attempt) for ref in runner.attempts}
    start: list[Assignment] = []
    stop: list[AttemptRef] = []
    forget: list[AttemptRef] = []
    told: list[AttemptRef] = []
    news = False
    for row in rows:
        ref = AttemptRef(task_id=row["task_id"], attempt=row["attempt"])
        is_listed = (ref.task_id, ref.attempt) in listed
        if row["state"] == "ENDED":
            forget.append(ref)
        elif row["stop"] or row["state"] == "LOST":
            if not is_listed and row["told_ms"] is None:
                continue
            stop.append(ref)
        elif row["state"] == "ASSIGNED" and row["active"] and not is_listed:
            start.append(_assignment(row, mint(replica.secret, ref.task_id, ref.attempt)))
        else:
            continue
        if row["told_ms"] is None or now_ms - row["told_ms"] >= REPEAT_MS:
            news = True
        told.append(ref)
    answer = RunnerOrders(start=start, stop=stop, forget=forget)
    if news:
        await tx.execute(
            """
            UPDATE nemeton_attempts SET told_ms = $3
            WHERE (task_id, attempt) IN (SELECT * FROM unnest($1::text[], $2::int[]))
            """,
            [ref.task_id for ref in told],
            [ref.attempt for ref in told],
            now_ms,
        )
    return answer, news


def _is_missed(row: Any, now_ms: int) -> bool:
    """Whether an open attempt that its runner does not list is gone. One that is only to be started is not."""
    if row["state"] == "ASSIGNED" and not row["stop"]:
        return False
    return now_ms - max(row["reported_ms"] or 0, row["assigned_ms"] or 0) > GRACE_MS


def _assignment(row: Any, token: str) -> Assignment:
    return Assignment(
        task_id=row["task_id"],
        attempt=row["attempt"],
        type=row["type"],
        data_source=row["data_source"],
        group_id=row["group_id"],
        token=token,
        context=orjson.loads(row["context"] or b"{}") or {},
    )
