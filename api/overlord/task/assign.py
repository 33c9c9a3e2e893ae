"""PENDING to ASSIGNED: a released task gets a free slot of a runner. Druid: HttpRemoteTaskRunner, fillCapacity"""

from dataclasses import dataclass

from overlord.db import hints
from overlord.db.pool import Connection
from overlord.replica import Replica
from overlord.task.token import digest, mint


@dataclass(slots=True)
class RunnerLoad:
    """A runner that takes work, and how much of it it has."""

    runner_id: str
    capacity: int
    used: int

    @property
    def share(self) -> float:
        return self.used / self.capacity


def choose_runners(runners: list[RunnerLoad], tasks: int) -> list[str]:
    """
    A runner for each of `tasks`, the least loaded first; fewer where slots end. Pure but for counting the load up.

    Druid: EqualDistributionWorkerSelectStrategy
    """
    chosen: list[str] = []
    free = [runner for runner in runners if runner.used < runner.capacity]
    while free and len(chosen) < tasks:
        runner = min(free, key=lambda candidate: (candidate.share, candidate.runner_id))
        runner.used += 1
        chosen.append(runner.runner_id)
        if runner.used >= runner.capacity:
            free.remove(runner)
    return chosen


async def loads(tx: Connection, seen_since_ms: int) -> list[RunnerLoad]:
    """Every enabled runner that was heard of since `seen_since_ms`, with its slots."""
    rows = await tx.fetch(
        """
        SELECT runner.runner_id, capacity, count(attempt.task_id)::int AS used
        FROM nemeton_runners AS runner LEFT JOIN nemeton_attempts AS attempt
            ON attempt.runner_id = runner.runner_id AND attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        WHERE enabled AND NOT disabled_here AND capacity > 0 AND last_seen_ms >= $1
        GROUP BY runner.runner_id
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
    free = sum(max(0, runner.capacity - runner.used) for runner in runners)
    if not free:
        return 0
    rows = await tx.fetch(
        """
        SELECT task_id, attempt FROM nemeton_attempts WHERE state = 'PENDING'
        ORDER BY priority DESC, submitted_ms, task_id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        free,
    )
    if not rows:
        return 0
    chosen = choose_runners(runners, len(rows))
    await tx.execute(
        """
        UPDATE nemeton_attempts AS attempt
        SET state = 'ASSIGNED', runner_id = new.runner_id, token_sha256 = new.token, assigned_ms = $5
        FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[]) AS new (task_id, attempt, runner_id, token)
        WHERE attempt.task_id = new.task_id AND attempt.attempt = new.attempt
        """,
        [row["task_id"] for row in rows],
        [row["attempt"] for row in rows],
        chosen,
        [digest(mint(replica.secret, row["task_id"], row["attempt"])) for row in rows],
        now_ms,
    )
    await hints.send(tx, *(hints.of_runner(runner_id) for runner_id in chosen))
    return len(rows)
