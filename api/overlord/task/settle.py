"""
The end of an attempt: what becomes of its task.

The peon's own word decides. Where it said nothing, what it published stays published, and for a task whose last act
is publishing that is SUCCESS; else the task failed, with the reason in words.
"""

from dataclasses import dataclass

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
    status: TaskStatus | None
    """The peon's status.json."""


def decide(ending: Ending, published: bool, duration_ms: int) -> TaskStatus:
    """The final status of a task whose peon has ended and whose row is still active. Pure."""
    status = ending.status
    if status is not None and status.is_complete and status.id == ending.task_id:
        return status
    if published:
        return TaskStatus.success(ending.task_id, duration_ms)
    reason = ending.reason or "its runner gave no reason"
    return TaskStatus.failure(ending.task_id, f"The peon ended without reporting a status: {reason}", duration_ms)


async def settle(tx: Connection, ending: Ending, now_ms: int, *, gone: bool = True) -> bool:
    """
    Record the end of an attempt and, if its task is still active, finish it; whether it was.

    With `gone` the peon is known to be dead; without, its runner is silent and it may still live: the attempt is void,
    and the runner is told to end it should it come back. Calling twice is calling once.
    """
    # the task's row before the attempt's, as everywhere: two who settle one task must not wait for each other
    task = await tx.fetchrow("SELECT active, type FROM druid_tasks WHERE id = $1 FOR UPDATE", ending.task_id)
    attempt = await tx.fetchrow(
        "SELECT state, runner_id, started_ms FROM nemeton_attempts WHERE task_id = $1 AND attempt = $2 FOR UPDATE",
        ending.task_id,
        ending.attempt,
    )
    if attempt is None or attempt["state"] == "ENDED" or (attempt["state"] == "LOST" and not gone):
        return False
    finished = False
    if task is not None and task["active"] and attempt["state"] in store.OPEN_STATES:
        published = task["type"] in PUBLISHING_TYPES and bool(
            await tx.fetchval("SELECT true FROM nemeton_task_segments WHERE task_id = $1 LIMIT 1", ending.task_id)
        )
        duration_ms = -1 if attempt["started_ms"] is None else max(0, now_ms - attempt["started_ms"])
        finished = await store.finish(tx, decide(ending, published, duration_ms))
    await tx.execute(
        """
        UPDATE nemeton_attempts
        SET state = $3, stop = $4, ended_ms = $5, told_ms = NULL, reason = COALESCE($6, reason)
        WHERE task_id = $1 AND attempt = $2
        """,
        ending.task_id,
        ending.attempt,
        "ENDED" if gone else "LOST",
        not gone,
        now_ms,
        ending.reason,
    )
    runner_id = attempt["runner_id"]
    if runner_id is not None:
        await tx.execute("UPDATE nemeton_runners SET last_completed_ms = $2 WHERE runner_id = $1", runner_id, now_ms)
        await hints.send(tx, hints.of_runner(runner_id), hints.QUEUE)
    return finished


async def settle_silent(replica: Replica, now_ms: int) -> int:
    """Settle the attempts of runners that were silent for `runner_timeout_ms`, one transaction each; how many."""
    timeout_ms = replica.settings.runner_timeout_ms
    async with connection(replica.pool) as held:
        rows = await held.fetch(
            """
            SELECT attempt.task_id, attempt.attempt, runner.runner_id
            FROM nemeton_attempts AS attempt JOIN nemeton_runners AS runner USING (runner_id)
            WHERE attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING') AND runner.last_seen_ms < $1
            """,
            now_ms - timeout_ms,
        )
    for row in rows:
        reason = f"the runner {row['runner_id']} was not heard of for {timeout_ms // 1000} s"
        async with transaction(replica.pool) as tx:
            await settle(tx, Ending(row["task_id"], row["attempt"], reason, None), now_ms, gone=False)
    return len(rows)
