"""
The end of an attempt: what becomes of its task.

The peon's own word decides. Where it said nothing, what it published stays published, and for a task whose last act
is publishing that is SUCCESS. Else, where the runner's policy allows, another attempt takes this one's place; else
the task failed, with the reason in words.
"""

from dataclasses import dataclass
from typing import Any

from druid_core.runner import OPERATOR
from druid_core.status import TaskStatus
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.replica import Replica
from overlord.task import store

PUBLISHING_TYPES = ("index", "index_parallel")
"""Tasks whose last act is to publish."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an attempt that is over."""

    task_id: str
    attempt: int
    reason: str | None
    """How it ended, as the runner saw it."""
    status: TaskStatus | None = None
    """The peon's status.json."""
    cause: str | None = None
    """The reason as a code of the runner's."""
    retry_after_ms: int | None = None
    """The runner's policy allows another attempt after so many milliseconds; None: it does not."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The task goes on with another attempt."""

    not_before_ms: int


def decide(
    ending: Ending, *, type_publishes: bool, published: bool, stopped: bool, max_attempts: int, now_ms: int, ran_ms: int
) -> TaskStatus | NextAttempt:
    """
    What becomes of a task whose peon has ended and whose row is still active. Pure.

    `published`: it has published segments; `stopped`: it was asked to end; `ran_ms`: how long, -1 where unknown.
    """
    status = ending.status
    if status is not None and status.is_complete and status.id == ending.task_id:
        return status
    if published and type_publishes:
        return TaskStatus.success(ending.task_id, ran_ms)
    may_repeat = ending.retry_after_ms is not None and not published and not stopped
    if may_repeat and ending.attempt < max_attempts:
        return NextAttempt(now_ms + (ending.retry_after_ms or 0))
    reason = ending.reason or "its runner gave no reason"
    if may_repeat:
        reason += f"; this was attempt {ending.attempt}, and max_attempts [{max_attempts}] allows no other"
    began = "The peon was never seen to run" if ran_ms < 0 else "The peon ended without reporting a status"
    return TaskStatus.failure(ending.task_id, f"{began}: {reason}", ran_ms)


async def settle(tx: Connection, ending: Ending, max_attempts: int, now_ms: int, *, gone: bool = True) -> bool:
    """
    Record the end of an attempt and, if its task is still active, finish it or queue the next attempt; whether it
    was this call that did so.

    With `gone` the peon is known to be dead; without, its runner is silent and it may still live: the attempt is void,
    and the runner is told to end it should it come back. Calling twice is calling once.
    """
    # the task's row before the attempt's, as everywhere: two who settle one task must not wait for each other
    task = await tx.fetchrow("SELECT active, type FROM druid_tasks WHERE id = $1 FOR UPDATE", ending.task_id)
    attempt = await tx.fetchrow(
        "SELECT state, runner_id, started_ms, stop FROM nemeton_attempts "
        "WHERE task_id = $1 AND attempt = $2 FOR UPDATE",
        ending.task_id,
        ending.attempt,
    )
    if attempt is None or attempt["state"] == "ENDED" or (attempt["state"] == "LOST" and not gone):
        return False
    outcome = None
    if task is not None and task["active"] and attempt["state"] in store.OPEN_STATES:
        outcome = decide(
            ending,
            type_publishes=task["type"] in PUBLISHING_TYPES,
            published=bool(
                await tx.fetchval("SELECT true FROM nemeton_task_segments WHERE task_id = $1 LIMIT 1", ending.task_id)
            ),
            stopped=attempt["stop"],
            max_attempts=max_attempts,
            now_ms=now_ms,
            ran_ms=-1 if attempt["started_ms"] is None else max(0, now_ms - attempt["started_ms"]),
        )
    if isinstance(outcome, TaskStatus):
        await store.finish(tx, outcome)
    await tx.execute(
        """
        UPDATE nemeton_attempts
        SET state = $3, stop = $4, ended_ms = $5, told_ms = NULL, reason = COALESCE($6, reason),
            cause = COALESCE($7, cause)
        WHERE task_id = $1 AND attempt = $2
        """,
        ending.task_id,
        ending.attempt,
        "ENDED" if gone else "LOST",
        not gone,
        now_ms,
        ending.reason,
        ending.cause,
    )
    if isinstance(outcome, NextAttempt):
        await _queue_next(tx, ending, outcome, now_ms)
    runner_id = attempt["runner_id"]
    if runner_id is not None:
        await tx.execute("UPDATE nemeton_runners SET last_completed_ms = $2 WHERE runner_id = $1", runner_id, now_ms)
        await hints.send(tx, hints.of_runner(runner_id), hints.QUEUE)
    return outcome is not None


async def settle_silent(replica: Replica, now_ms: int, watched_ms: int) -> int:
    """
    Settle the attempts of runners that were silent for too long, one transaction each; how many.

    Too long is `runner_timeout_ms`, for runners whose peons are pods `operator_timeout_ms`. A runner counts only where
    somebody could have heard it for as long: `watched_ms`.
    """
    settings = replica.settings
    async with connection(replica.pool) as held:
        rows: list[Any] = await held.fetch(
            """
            SELECT attempt.task_id, attempt.attempt, runner.runner_id, now.timeout_ms
            FROM nemeton_slots AS runner JOIN nemeton_attempts AS attempt USING (runner_id),
                LATERAL (SELECT CASE WHEN runner.kind = $3 THEN $4::bigint ELSE $5::bigint END AS timeout_ms) AS now
            WHERE attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING')
                AND runner.last_seen_ms < $1 - now.timeout_ms AND $2 >= now.timeout_ms
            """,
            now_ms,
            watched_ms,
            OPERATOR,
            settings.operator_timeout_ms,
            settings.runner_timeout_ms,
        )
    for row in rows:
        reason = f"the runner {row['runner_id']} was not heard of for {row['timeout_ms'] // 1000} s"
        async with transaction(replica.pool) as tx:
            ending = Ending(row["task_id"], row["attempt"], reason)
            await settle(tx, ending, settings.max_attempts, now_ms, gone=False)
    return len(rows)


async def _queue_next(tx: Connection, ending: Ending, following: NextAttempt, now_ms: int) -> None:
    """The attempt after one that is over: same task, same locks, a token of its own once it is assigned."""
    await tx.execute(
        """
        INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, lock_type,
                                      lock_intervals, submitted_ms, released_ms, submitter, runner_wish, context,
                                      not_before_ms, task_type, splits)
        SELECT task_id, attempt + 1, data_source, group_id, priority, 'PENDING', lock_type, lock_intervals,
               submitted_ms, $3, submitter, runner_wish, context, $4, task_type, splits
        FROM nemeton_attempts WHERE task_id = $1 AND attempt = $2
        """,
        ending.task_id,
        ending.attempt,
        now_ms,
        following.not_before_ms,
    )
