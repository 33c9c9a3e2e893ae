"""
A full queue: what a submission, a page of the list and an explanation take with 100,000 tasks in line, and the memory.

It has no rival: Druid keeps its queue in memory, and is not brought to this. The tasks are put into the tables, ours as
the Overlord writes them; the worker is switched off, so that all of them stay in line.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from tests.bench.client import TASKS, Client
from tests.bench.results import Line, Target
from tests.bench.rivals import Nemeton
from tests.bench.serving import NOOP, post_noops
from tests.bench.watch import resident_bytes

MIB = 1024 * 1024
SOURCES = 100
"""Datasources that share the line."""

PAGE = 100

_FILL = """
WITH line AS (
    SELECT 'line-' || lpad(i::text, 7, '0') AS id, 'source-' || i % $2::int AS data_source,
           $3::bigint + i AS created_ms, to_timestamp(($3::bigint + i) / 1000.0) AT TIME ZONE 'UTC' AS created
    FROM generate_series(1, $1::int) AS i
),
stored AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
    SELECT id, to_char(created, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), data_source,
           convert_to(json_build_object('type', 'noop', 'id', id, 'dataSource', data_source)::text, 'UTF8'),
           convert_to(json_build_object('id', id, 'status', 'RUNNING', 'duration', -1)::text, 'UTF8'), TRUE, 'noop', id
    FROM line
)
INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms, released_ms,
                              task_type, context)
SELECT id, 1, data_source, id, 50, 'PENDING', created_ms, created_ms, 'noop', '{}' FROM line
"""


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """How long the line is, and how often each is asked."""

    tasks: int
    repeats: int


def measure_queue(
    plan: QueuePlan, make: Callable[[str], Nemeton], lines: list[Line], say: Callable[[str], None]
) -> None:
    """All measures, on a house of its own."""

    def note(name: str, unit: str, values: Sequence[float], target: Target | None = None) -> None:
        say(f"  {name}: {statistics.median(values):.4g} {unit}")
        lines.append(Line(f"{name}, {plan.tasks:,} in line", unit, ours=values, target=target))

    with make("queue") as house:
        Client(house.worker_url).ask("POST", "/druid/worker/v1/disable")
        time.sleep(2)
        asyncio.run(_fill(house.database_url, plan.tasks))
        time.sleep(5)
        client = Client(house.url)
        middle = f"line-{plan.tasks // 2:07}"
        posts = post_noops(house, 8, 25 * plan.repeats)
        note("submit, 8 clients, p99", "ms", [posts.percentile(99)], Target(50))
        note("submit, 8 clients, accepted", "tasks/s", [posts.tasks_per_s])
        one = [_ms(lambda: client.submit(NOOP)) for _ in range(20 * plan.repeats)]
        note("submit, 1 client, p99", "ms", [_p99(one)], Target(50))
        for name, path in (
            ("GET /tasks, first page", f"{TASKS}/tasks?limit={PAGE}"),
            ("GET /tasks, page in the middle", f"{TASKS}/tasks?limit={PAGE}&after={middle}"),
            ("GET /pendingTasks, page in the middle", f"{TASKS}/pendingTasks?limit={PAGE}&after={middle}"),
        ):
            pages = [_ms(lambda path=path: client.ask("GET", path)) for _ in range(20 * plan.repeats)]
            note(f"{name}, p99", "ms", [_p99(pages)], Target(100))
        note("explain", "ms", [_ms(lambda: client.ask("GET", f"{TASKS}/task/{middle}/explain")) for _ in range(5)])
        note("status", "ms", [_ms(lambda: client.status(middle)) for _ in range(20)])
        note("Overlord, RSS", "MiB", [resident_bytes(house.overlord_pid) / MIB], Target(200))
        client.close()


async def _fill(database_url: str, tasks: int) -> None:
    """As an hour of submissions leaves it."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_FILL, tasks, SOURCES, int(time.time() * 1000) - 3_600_000, timeout=600)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _p99(values: list[float]) -> float:
    return sorted(values)[min(int(len(values) * 0.99), len(values) - 1)]
