"""What is measured, in which order, against which target. One rival at a time: two would share the machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.ingestion import Ingestion, floor, ingest
from tests.bench.results import Line, Target
from tests.bench.rivals import Nemeton, Rival
from tests.bench.rows import edits_file
from tests.bench.serving import finish_tasks, list_tasks_ms, noop_seconds, post_noops
from tests.bench.watch import resident_bytes
from tests.support.druid.processes import descendants

IDLE, NOOP, POSTS, INGEST, LIST, START = "idle", "noop", "posts", "ingest", "list", "start"
SETTLE_S = 10.0
MIB = 1024 * 1024

Side = Literal["ours", "druids"]

TARGETS = {
    "ingestion, wall": Target(1 / 8, of_druid=True),
    "ingestion, peon CPU": Target(1 / 5, of_druid=True),
    "ingestion, peon peak RSS": Target(800),
    "ingestion, segment": Target(1, of_druid=True),
    "ingestion with rollup, wall": Target(1 / 6, of_druid=True),
    "noop, POST to SUCCESS": Target(0.5),
    "POST, 1 client, p50": Target(1, of_druid=True),
    "POST, 8 clients, accepted": Target(1.5, of_druid=True, at_least=True),
    "GET /tasks": Target(1 / 20, of_druid=True),
    "Overlord at rest, RSS": Target(150),
    "second start to ready": Target(5),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. `posts` is the number that each client makes."""

    rows: int
    repeats: int
    finished: int
    posts: int
    kinds: frozenset[str]


class _Book:
    """Puts numbers into the lines, making those that are not there yet."""

    def __init__(self, lines: list[Line], side: Side, say: Callable[[str], None]) -> None:
        self._lines = lines
        self._side: Side = side
        self._say = say

    def note(self, name: str, unit: str, values: Sequence[float]) -> None:
        self._say(f"  {name}: {', '.join(f'{value:.4g}' for value in values)} {unit}")
        line = next((line for line in self._lines if line.name == name), None)
        if line is None:
            line = Line(name, unit, target=TARGETS.get(name))
            self._lines.append(line)
        if self._side == "ours":
            line.ours = values
        else:
            line.druids = values


def measure(
    plan: Plan, rival: Rival, deep_storage: Path, side: Side, lines: list[Line], say: Callable[[str], None]
) -> None:
    """Starts the rival, takes every measure of the plan, stops it; the lines get one side filled in."""
    book = _Book(lines, side, say)
    with rival:
        if IDLE in plan.kinds:
            _at_rest(book, rival)
        if NOOP in plan.kinds:
            book.note("noop, POST to SUCCESS", "s", [noop_seconds(rival) for _ in range(plan.repeats)])
        if POSTS in plan.kinds:
            _posts(book, plan, rival)
        if INGEST in plan.kinds:
            _ingestion(book, plan, rival, deep_storage)
        if LIST in plan.kinds:
            finish_tasks(rival, plan.finished)
            times = [list_tasks_ms(rival, plan.finished // 8 * 8) for _ in range(plan.repeats + 1)]
            book.note("GET /tasks", "ms", times[1:])
    if START in plan.kinds and isinstance(rival, Nemeton):
        starts: list[float] = []
        for _ in range(plan.repeats):
            with rival:
                starts.append(rival.start_s)
        book.note("second start to ready", "s", starts)


def _at_rest(book: _Book, rival: Rival) -> None:
    time.sleep(SETTLE_S)
    book.note("Overlord at rest, RSS", "MiB", [resident_bytes(rival.overlord_pid) / MIB])
    if isinstance(rival, Nemeton):
        # Druid's metadata store is inside its Overlord here, ours is not. Pages that Postgres shares count repeatedly.
        database = [rival.database_pid, *descendants(rival.database_pid)]
        whole = sum(resident_bytes(pid) for pid in [rival.overlord_pid, *database])
        book.note("Overlord and its database at rest, RSS", "MiB", [whole / MIB])


def _posts(book: _Book, plan: Plan, rival: Rival) -> None:
    for clients in (1, 8):
        runs = [post_noops(rival, clients, plan.posts // (4 if clients > 1 else 1)) for _ in range(plan.repeats)]
        noun = "client" if clients == 1 else "clients"
        book.note(f"POST, {clients} {noun}, p50", "ms", [run.percentile(50) for run in runs])
        book.note(f"POST, {clients} {noun}, p99", "ms", [run.percentile(99) for run in runs])
        book.note(f"POST, {clients} {noun}, accepted", "tasks/s", [run.tasks_per_s for run in runs])


def _ingestion(book: _Book, plan: Plan, rival: Rival, deep_storage: Path) -> None:
    file = edits_file(plan.rows)
    for rollup in (False, True):
        name = "ingestion with rollup" if rollup else "ingestion"
        runs = [ingest(rival, file, plan.rows, deep_storage, rollup=rollup) for _ in range(plan.repeats)]
        _note_runs(book, name, runs, plan.rows)
        book.note(f"{name}, segment", "MiB", [run.segment_bytes / MIB for run in runs])
    if isinstance(rival, Nemeton):
        _note_runs(
            book, "floor: polars reads and sorts the file", [floor(file) for _ in range(plan.repeats)], plan.rows
        )


def _note_runs(book: _Book, name: str, runs: list[Ingestion], rows: int) -> None:
    book.note(f"{name}, wall", "s", [run.seconds for run in runs])
    book.note(f"{name}, rows", "rows/s", [rows / run.seconds for run in runs])
    book.note(f"{name}, peon CPU", "s", [run.cpu_s for run in runs])
    book.note(f"{name}, peon peak RSS", "MiB", [run.peak_rss_bytes / MIB for run in runs])
