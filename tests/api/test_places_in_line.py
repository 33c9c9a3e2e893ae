"""Where a task stands, found by counting, is where it stands when all are put in order: whatever the line is."""

import random

import pytest

from overlord.db.pool import Pool, connection
from overlord.task.line import Standing, TypesRun, standings
from overlord.task.queue_config import DataSourceConfig, QueueConfig, QueueRules

NOW_MS = 1_767_225_600_000

_INSERT = """
INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms, assigned_ms,
                              not_before_ms, runner_wish, task_type)
VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


@pytest.mark.parametrize(
    "types",
    [
        TypesRun(),
        TypesRun({"one": frozenset({"noop"})}),
        TypesRun({"one": frozenset({"noop"}), "other": frozenset({"noop"})}, frozenset({"noop"})),
    ],
    ids=["runners of all types", "one runner of some", "runners of some alone"],
)
@pytest.mark.parametrize("seed", range(12))
async def test_counting_places_a_task_where_ordering_all_does(pool: Pool, seed: int, types: TypesRun) -> None:
    chance = random.Random(seed)
    async with connection(pool) as tx:
        await tx.executemany(_INSERT, _line(chance))
        waiting = [
            row["task_id"] for row in await tx.fetch("SELECT task_id FROM nemeton_attempts WHERE state = 'PENDING'")
        ]
        rules = _rules(chance)
        ordered = await standings(tx, rules, NOW_MS, types, waiting)
        counted: dict[str, Standing] = {}
        for task_id in waiting:
            counted |= await standings(tx, rules, NOW_MS, types, [task_id])
    assert len(ordered) > 25
    assert counted == ordered


async def test_who_waits_for_a_type_that_nobody_runs_is_before_nobody(pool: Pool) -> None:
    chance = random.Random(1)
    async with connection(pool) as tx:
        await tx.executemany(_INSERT, _line(chance))
        rows = await tx.fetch(
            "SELECT task_id FROM nemeton_attempts WHERE state = 'PENDING' AND COALESCE(not_before_ms, 0) <= $1", NOW_MS
        )
        only_noop = TypesRun({"one": frozenset({"noop"})}, frozenset({"noop"}))
        found = await standings(tx, QueueRules(), NOW_MS, only_noop, [row["task_id"] for row in rows])
        await tx.execute(
            """
            DELETE FROM nemeton_attempts
            WHERE state = 'PENDING' AND task_type = 'compact' AND runner_wish IS DISTINCT FROM 'other'
            """
        )
        alone = await standings(tx, QueueRules(), NOW_MS, TypesRun(), [row["task_id"] for row in rows])
    assert len(found) < len(rows)
    assert {task_id: each.place for task_id, each in found.items()} == {
        task_id: each.place for task_id, each in alone.items()
    }


def _line(chance: random.Random) -> list[tuple[object, ...]]:
    """Parents with a slot and without, their children, and others; some wish for a runner, some are not due."""
    rows: list[tuple[object, ...]] = []
    for number in range(100):
        source = f"source-{chance.randrange(6)}"
        task_id = f"task-{number:03}"
        group = f"task-{chance.randrange(20):03}" if chance.random() < 0.3 else task_id
        state = "RUNNING" if chance.random() < 0.2 else "PENDING"
        rows.append(
            (
                *(task_id, source, group, chance.choice((25, 50, 50, 50, 75)), state),
                NOW_MS - chance.randrange(60),  # some are of the same age
                NOW_MS - chance.randrange(120_000) if state == "RUNNING" else None,
                chance.choice((None, None, None, NOW_MS - 5, NOW_MS + 5)),
                chance.choice((None, None, None, "one", "other")),
                chance.choice(("noop", "noop", "noop", "compact")),
            )
        )
    return rows


def _rules(chance: random.Random) -> QueueRules:
    told = {
        f"source-{number}": DataSourceConfig(
            max_slots=chance.choice((None, 1, 8)),
            paused=chance.random() < 0.2,
            starts_per_minute=chance.choice((None, 3, 9)),
        )
        for number in range(3)
    }
    return QueueRules(QueueConfig(max_slots_per_data_source=chance.choice((None, None, 5)), data_sources=told))
