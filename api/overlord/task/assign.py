"""PENDING to ASSIGNED: a released task gets a free slot of a runner. Druid: HttpRemoteTaskRunner, fillCapacity"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from overlord.db import hints
from overlord.db.pool import Connection
from overlord.replica import Replica
from overlord.task.line import Place, SlotUse, TypesRun, next_in_line, slot_use
from overlord.task.queue_config import QueueRules, read_rules
from overlord.task.token import digest, mint

BATCH_TASKS = 2000
"""Assignments a pass at most: one transaction of a fraction of a second, however many slots there are."""


@dataclass(slots=True)
class RunnerLoad:
    """A runner that takes work, and how much of it it has."""

    runner_id: str
    capacity: int
    used: int
    task_types: frozenset[str] | None = None
    """What it runs; None: tasks of any type."""

    @property
    def share(self) -> float:
        return self.used / self.capacity

    @property
    def free(self) -> int:
        return max(0, self.capacity - self.used)

    def runs(self, task_type: str) -> bool:
        return self.task_types is None or task_type in self.task_types


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all tasks together may have."""

    slots: int
    """In all: what the runners offer, or the configuration allows."""
    kept: int = 0
    """Slots that are kept for sub-tasks."""
    by_type: dict[str, int] = field(default_factory=dict[str, int])
    """Of the types that have a limit, the slots that each may have."""

    def full_types(self, use: SlotUse) -> list[str]:
        return [name for name, most in self.by_type.items() if use.by_type.get(name, 0) >= most]

    def keeps_the_rest(self, parents: int) -> bool:
        """
        Whether what `parents` do not hold is for their sub-tasks alone.

        So of all slots at least one is never a parent's, and a sub-task always has one to wait for. Where there is one
        slot in all there is none to keep: a task that may split need not.
        """
        return parents > 0 and parents >= self.slots - self.kept


def bounds_of(rules: QueueRules, runners: Sequence[RunnerLoad]) -> Bounds:
    capacity = sum(runner.capacity for runner in runners)
    limits = {name: rules.most_of_type(name, capacity) for name in rules.types_with_limits()}
    return Bounds(
        rules.most_in_all(capacity),
        rules.config.slots_kept_for_sub_tasks,
        {name: most for name, most in limits.items() if most is not None},
    )


def admit(line: Sequence[Place], runners: list[RunnerLoad], bounds: Bounds, use: SlotUse) -> list[str | None]:
    """
    A runner for each in line, of those that run its type the one that is wished for or the least loaded; None for
    whoever must wait.

    Who is first chooses first. Pure but for counting the loads up. Druid: EqualDistributionWorkerSelectStrategy
    """
    free = {runner.runner_id: runner for runner in runners if runner.free}
    total, parents, by_type = use.total, use.parents, dict(use.by_type)
    chosen: list[str | None] = []
    for place in line:
        most = bounds.by_type.get(place.task_type)
        is_full = total >= bounds.slots or (most is not None and by_type.get(place.task_type, 0) >= most)
        held = (is_full and not place.is_only_child) or (not place.is_child and bounds.keeps_the_rest(parents))
        runner = None if held else _runner_for(place, free)
        if runner is not None:
            runner.used += 1
            total += 1
            parents += place.splits
            by_type[place.task_type] = by_type.get(place.task_type, 0) + 1
            if not runner.free:
                del free[runner.runner_id]
        chosen.append(None if runner is None else runner.runner_id)
    return chosen


async def loads(tx: Connection, seen_since_ms: int) -> list[RunnerLoad]:
    """Every runner with slots that was heard of since `seen_since_ms`."""
    rows = await tx.fetch(
        """
        SELECT runner_id, runner.capacity, (
            SELECT count(*) FROM nemeton_attempts AS attempt
            WHERE attempt.runner_id = runner.runner_id AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        )::int AS used, CASE jsonb_typeof(announcement -> 'taskTypes') WHEN 'array' THEN
            ARRAY(SELECT jsonb_array_elements_text(announcement -> 'taskTypes'))
        END AS task_types
        FROM nemeton_slots AS runner JOIN nemeton_runners AS known USING (runner_id)
        WHERE runner.capacity > 0 AND runner.last_seen_ms >= $1 ORDER BY runner_id
        """,
        seen_since_ms,
    )
    return [
        RunnerLoad(
            row["runner_id"],
            row["capacity"],
            row["used"],
            None if row["task_types"] is None else frozenset(row["task_types"]),
        )
        for row in rows
    ]


def types_of(runners: Sequence[RunnerLoad]) -> TypesRun:
    """What the line must know of them."""
    told = {runner.runner_id: runner.task_types for runner in runners if runner.task_types is not None}
    any_runner = None if len(told) < len(runners) or not told else frozenset[str]().union(*told.values())
    return TypesRun(told, any_runner)


async def assign_pending(tx: Connection, replica: Replica) -> int:
    """
    Hand released tasks to free slots, in the order of the line; how many.

    Each becomes an assignment with a token of its own. Calling twice is calling once: a row leaves PENDING only once.
    """
    now_ms = replica.clock_ms()
    runners = await loads(tx, now_ms - replica.settings.runner_timeout_ms)
    wanted = min(BATCH_TASKS, sum(runner.free for runner in runners))
    if not wanted:
        return 0
    rules = await read_rules(tx)
    bounds, use = bounds_of(rules, runners), await slot_use(tx)
    line = await next_in_line(
        tx,
        rules,
        now_ms,
        runner_ids=[runner.runner_id for runner in runners if runner.free],
        types=types_of([runner for runner in runners if runner.free]),
        full_types=bounds.full_types(use),
        most=wanted,
        most_others=0 if bounds.keeps_the_rest(use.parents) else bounds.slots - use.total,
    )
    chosen = admit(line, runners, bounds, use)
    placed = [(place, runner_id) for place, runner_id in zip(line, chosen, strict=True) if runner_id]
    if not placed:
        return 0
    # Looked at again in the statement that assigns: a task that is being shut down at this moment is left to that, and
    # a runner that was disabled since the pass began gets nothing more.
    rows = await tx.fetch(
        """
        WITH new AS (
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[])
                AS n (task_id, attempt, runner_id, token)
        ),
        still AS (
            SELECT task_id, attempt FROM nemeton_attempts JOIN new USING (task_id, attempt)
            WHERE state = 'PENDING' AND new.runner_id IN (SELECT runner_id FROM nemeton_slots WHERE capacity > 0)
            FOR UPDATE OF nemeton_attempts SKIP LOCKED
        )
        UPDATE nemeton_attempts AS attempt
        SET state = 'ASSIGNED', runner_id = new.runner_id, token_sha256 = new.token, assigned_ms = $5
        FROM new JOIN still USING (task_id, attempt)
        WHERE attempt.task_id = new.task_id AND attempt.attempt = new.attempt
        RETURNING attempt.runner_id
        """,
        [place.task_id for place, _ in placed],
        [place.attempt for place, _ in placed],
        [runner_id for _, runner_id in placed],
        [digest(mint(replica.secret, place.task_id, place.attempt)) for place, _ in placed],
        now_ms,
    )
    await hints.send(tx, *(hints.of_runner(row["runner_id"]) for row in rows))
    if rows and (len(rows) < len(line) or len(line) == BATCH_TASKS):
        await hints.send(tx, hints.QUEUE)
    return len(rows)


def _runner_for(place: Place, free: dict[str, RunnerLoad]) -> RunnerLoad | None:
    fit = (
        runner
        for runner in free.values()
        if runner.runs(place.task_type) and place.runner_wish in (None, runner.runner_id)
    )
    return min(fit, key=lambda runner: (runner.share, runner.runner_id), default=None)
