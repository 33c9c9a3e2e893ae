"""What is measured, in which order, against which target. One rival at a time: two would share the machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.ingestion import Ingestion, floor, ingest
from tests.bench.results import Line, Target
from tests.bench.rivals import Nemeton, Rival
from tests.bench.rows import edits_file
from tests.bench.serving import Posts, finish_tasks, list_tasks_ms, noop_seconds, post_noops
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
    plan: Plan, make_rival: Callable[[str], Rival], side: Side, lines: list[Line], say: Callable[[str], None]
) -> None:
    """
    Takes every measure of the plan with one rival; the lines get that side filled in.

    `make_rival` makes one with an empty folder of the name given. Posts leave tasks behind, so each run of them has a
    rival of its own.
    """
    book = _Book(lines, side, say)
    rival = make_rival("main")
    if plan.kinds & {IDLE, NOOP, INGEST, LIST}:
        with rival:
            _one_house(book, plan, rival)
    if POSTS in plan.kinds:
        _posts(book, plan, make_rival)
    if START in plan.kinds and isinstance(rival, Nemeton):
        starts: list[float] = []
        for number in range(plan.repeats + 1):
            with rival:
                if number > 0 or plan.kinds & {IDLE, NOOP, INGEST, LIST}:
                    starts.append(rival.start_s)
        book.note("second start to ready", "s", starts)


def _one_house(book: _Book, plan: Plan, rival: Rival) -> None:
    if IDLE in plan.kinds:
        _at_rest(book, rival)
    if NOOP in plan.kinds:
        book.note("noop, POST to SUCCESS", "s", [noop_seconds(rival) for _ in range(plan.repeats)])
    if INGEST in plan.kinds:
        _ingestion(book, plan, rival)
    if LIST in plan.kinds:
        finish_tasks(rival, plan.finished)
        times = [list_tasks_ms(rival, plan.finished // 8 * 8) for _ in range(plan.repeats + 1)]
        book.note("GET /tasks", "ms", times[1:])


def _at_rest(book: _Book, rival: Rival) -> None:
    time.sleep(SETTLE_S)
    book.note("Overlord at rest, RSS", "MiB", [resident_bytes(rival.overlord_pid) / MIB])
    if isinstance(rival, Nemeton):
        # Druid's metadata store is inside its Overlord here, ours is not. Pages that Postgres shares count repeatedly.
        database = [rival.database_pid, *descendants(rival.database_pid)]
        whole = sum(resident_bytes(pid) for pid in [rival.overlord_pid, *database])
        book.note("Overlord and its database at rest, RSS", "MiB", [whole / MIB])


def _posts(book: _Book, plan: Plan, make_rival: Callable[[str], Rival]) -> None:
    runs: dict[str, list[Posts]] = {"1 client": [], "8 clients": []}
    for number in range(plan.repeats):
        with make_rival(f"posts-{number}") as rival:
            noop_seconds(rival)  # the first post of a Java process pays for loading its classes
            runs["1 client"].append(post_noops(rival, 1, plan.posts))
            runs["8 clients"].append(post_noops(rival, 8, plan.posts // 4))
    for clients, posts in runs.items():
        book.note(f"POST, {clients}, p50", "ms", [run.percentile(50) for run in posts])
        book.note(f"POST, {clients}, p99", "ms", [run.percentile(99) for run in posts])
        book.note(f"POST, {clients}, accepted", "tasks/s", [run.tasks_per_s for run in posts])


def _ingestion(book: _Book, plan: Plan, rival: Rival) -> None:
    file = edits_file(plan.rows)
    for rollup in (False, True):
        name = "ingestion with rollup" if rollup else "ingestion"
        runs = [ingest(rival, file, plan.rows, rollup=rollup) for _ in range(plan.repeats)]
        _note_runs(book, name, runs, plan.rows)
        book.note(f"{name}, segment", "MiB", [run.segment_bytes / MIB for run in runs])
    if isinstance(rival, Nemeton):
        floors = [floor(file) for _ in range(plan.repeats)]
        _note_runs(book, "floor: polars reads and sorts the file", floors, plan.rows)


def _note_runs(book: _Book, name: str, runs: list[Ingestion], rows: int) -> None:
    book.note(f"{name}, wall", "s", [run.seconds for run in runs])
    book.note(f"{name}, rows", "rows/s", [rows / run.seconds for run in runs])
    book.note(f"{name}, peon CPU", "s", [run.cpu_s for run in runs])
    book.note(f"{name}, peon peak RSS", "MiB", [run.peak_rss_bytes / MIB for run in runs])
