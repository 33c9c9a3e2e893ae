"""PENDING to ASSIGNED: a released task gets a free slot of a runner. Druid: HttpRemoteTaskRunner, fillCapacity"""

from collections.abc import Sequence
from dataclasses import dataclass

from overlord.db import hints
from overlord.db.pool import Connection
from overlord.replica import Replica
from overlord.task.token import digest, mint

BATCH_TASKS = 2000
"""Assignments a pass at most: one transaction of a fraction of a second, however many slots there are."""


@dataclass(slots=True)
class RunnerLoad:
    """A runner that takes work, and how much of it it has."""

    runner_id: str
    capacity: int
    used: int

    @property
    def share(self) -> float:
        return self.used / self.capacity

    @property
    def free(self) -> int:
        return max(0, self.capacity - self.used)


def choose_runners(runners: list[RunnerLoad], wishes: Sequence[str | None]) -> list[str | None]:
    """
    A runner for each wish, the one that is wished for or the least loaded; None where no slot is left for it.

    Earlier ones choose first. Pure but for counting the load up. Druid: EqualDistributionWorkerSelectStrategy
    """
    chosen: list[str | None] = []
    free = {runner.runner_id: runner for runner in runners if runner.free}
    for wish in wishes:
        if wish is None and free:
            runner = min(free.values(), key=lambda candidate: (candidate.share, candidate.runner_id))
        else:
            runner = free.get(wish or "")
        if runner is not None:
            runner.used += 1
            if not runner.free:
                del free[runner.runner_id]
        chosen.append(None if runner is None else runner.runner_id)
    return chosen


async def loads(tx: Connection, seen_since_ms: int) -> list[RunnerLoad]:
    """Every runner with slots that was heard of since `seen_since_ms`."""
    rows = await tx.fetch(
        """
        SELECT runner_id, capacity, (
            SELECT count(*) FROM nemeton_attempts AS attempt
            WHERE attempt.runner_id = runner.runner_id AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        )::int AS used
        FROM nemeton_slots AS runner WHERE capacity > 0 AND last_seen_ms >= $1 ORDER BY runner_id
        """,
        seen_since_ms,
    )
    return [RunnerLoad(*row.values()) for row in rows]


async def assign_pending(tx: Connection, replica: Replica) -> int:
    """
    Hand released tasks to free slots, highest priority and oldest first; how many.

    Each becomes an assignment with a token of its own. Calling twice is calling once: a row leaves PENDING only once.
    """
    now_ms = replica.clock_ms()
    runners = await loads(tx, now_ms - replica.settings.runner_timeout_ms)
    wanted = min(BATCH_TASKS, sum(runner.free for runner in runners))
    if not wanted:
        return 0
    # The first row can always be placed. Others may wish for a runner that is full by then: the next pass leaves
    # them out, and finds what stands behind them.
    rows = await tx.fetch(
        """
        SELECT task_id, attempt, runner_wish FROM nemeton_attempts
        WHERE state = 'PENDING' AND (not_before_ms IS NULL OR not_before_ms <= $2)
            AND (runner_wish IS NULL OR runner_wish = ANY($3))
        ORDER BY priority DESC, submitted_ms, task_id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        wanted,
        now_ms,
        [runner.runner_id for runner in runners if runner.free],
    )
    chosen = choose_runners(runners, [row["runner_wish"] for row in rows])
    placed = [(row["task_id"], row["attempt"], runner) for row, runner in zip(rows, chosen, strict=True) if runner]
    if not placed:
        return 0
    await tx.execute(
        """
        UPDATE nemeton_attempts AS attempt
        SET state = 'ASSIGNED', runner_id = new.runner_id, token_sha256 = new.token, assigned_ms = $5
        FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[]) AS new (task_id, attempt, runner_id, token)
        WHERE attempt.task_id = new.task_id AND attempt.attempt = new.attempt
        """,
        [task_id for task_id, _, _ in placed],
        [attempt for _, attempt, _ in placed],
        [runner_id for _, _, runner_id in placed],
        [digest(mint(replica.secret, task_id, attempt)) for task_id, attempt, _ in placed],
        now_ms,
    )
    await hints.send(tx, *(hints.of_runner(runner_id) for _, _, runner_id in placed))
    if len(placed) < len(rows) or len(rows) == BATCH_TASKS:
        await hints.send(tx, hints.QUEUE)
    return len(placed)
