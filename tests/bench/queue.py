"""
A long line: what submissions, lists, statuses and explanations take with 100,000 tasks in it, and the memory.

The tasks are copies of one that was posted, put into the tables of both; the worker is switched off, so that all
of them stay in line. Druid finds them there when it compares its queue with the store, and has them in memory then.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.client import TASKS, Client
from tests.bench.lists import PAGE, milliseconds, p99
from tests.bench.results import Book, Line, Side, Target
from tests.bench.rivals import Nemeton, Rival
from tests.bench.serving import NOOP, at_once, idle, named, noop_seconds
from tests.bench.watch import resident_bytes

MIB = 1024 * 1024
SOURCES = 100
"""Datasources that share the line."""

QUEUED_WITHIN_S = 600.0
"""How long a rival has to take the line in: Druid looks once a minute."""

TARGETS = {
    "submit, 1 client, p99": Target(50),
    "submit, 8 clients, p99": Target(50),
    "GET /tasks, first page, p99": Target(100),
    "GET /tasks, page in the middle, p99": Target(100),
    "GET /pendingTasks, page in the middle, p99": Target(100),
    "explain": Target(100),
    "Overlord, RSS": Target(200),
}


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """How long the line is, and how often each is asked."""

    tasks: int
    repeats: int


class LineTooLong(RuntimeError):
    """The rival did not take the line in; it is left out of the table."""


def measure_queue(plan: QueuePlan, rival: Rival, side: Side, lines: list[Line], say: Callable[[str], None]) -> None:
    """All measures, on a rival that is fresh. Raises LineTooLong."""
    suffix = f", {plan.tasks:,} in line"
    book = Book(lines, side, say, {name + suffix: target for name, target in TARGETS.items()})

    def note(name: str, unit: str, values: list[float]) -> None:
        book.note(name + suffix, unit, values)

    with rival:
        noop_seconds(rival)  # the first call of a Java process pays for loading its classes
        with idle(rival):
            client = Client(rival.url)
            first = client.submit(NOOP)
            rival.copy_pending_task(first, plan.tasks - 1, SOURCES)
            note("time until all are in line", "s", [_until_queued(client, f"{first}_{plan.tasks - 1:07}")])
            _ask(plan, rival, client, f"{first}_{plan.tasks // 2:07}", note)
            client.close()


def _ask(
    plan: QueuePlan, rival: Rival, client: Client, middle: str, note: Callable[[str, str, list[float]], None]
) -> None:
    ours = isinstance(rival, Nemeton)
    for clients, each in ((8, 8 * plan.repeats), (1, 20 * plan.repeats)):
        posts = at_once(rival.url, clients, each, lambda one, *_: one.submit(NOOP))
        note(f"submit, {named(clients)}, p50", "ms", [posts.percentile(50)])
        note(f"submit, {named(clients)}, p99", "ms", [posts.percentile(99)])
        note(f"submit, {named(clients)}, accepted", "tasks/s", [posts.per_s])
    if ours:
        for name, path in (
            ("GET /tasks, first page", f"{TASKS}/tasks?limit={PAGE}"),
            ("GET /tasks, page in the middle", f"{TASKS}/tasks?limit={PAGE}&after={middle}"),
            ("GET /pendingTasks, page in the middle", f"{TASKS}/pendingTasks?limit={PAGE}&after={middle}"),
        ):
            pages = [milliseconds(lambda path=path: client.ask("GET", path)) for _ in range(20 * plan.repeats)]
            note(f"{name}, p99", "ms", [p99(pages)])
        explained = [milliseconds(lambda: client.ask("GET", f"{TASKS}/task/{middle}/explain")) for _ in range(9)]
        note("explain", "ms", explained)
    asked = [milliseconds(lambda: client.status(middle)) for _ in range(20 * plan.repeats)]
    note("status, p50", "ms", [statistics.median(asked)])
    note("status, p99", "ms", [p99(asked)])
    note("Overlord, RSS", "MiB", [resident_bytes(rival.overlord_pid) / MIB])
    note("GET /pendingTasks, all", "ms", [milliseconds(lambda: client.ask("GET", f"{TASKS}/pendingTasks"))])
    note("Overlord, RSS after a whole list", "MiB", [resident_bytes(rival.overlord_pid) / MIB])


def _until_queued(client: Client, last: str) -> float:
    """Seconds until the Overlord says of the last one that it waits for a slot. Raises LineTooLong."""
    began = time.monotonic()
    while time.monotonic() - began < QUEUED_WITHIN_S:
        if client.status(last).get("runnerStatusCode") == "PENDING":
            return time.monotonic() - began
        time.sleep(1)
    raise LineTooLong(f"not all tasks were in line within {QUEUED_WITHIN_S:.0f} s")
