"""What is measured, in which order, against which target. One rival at a time: two would share the machine."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tests.bench.allocation import allocate
from tests.bench.gate import Guard, by_password, by_web_token
from tests.bench.ingestion import Ingestion, floor, ingest
from tests.bench.lists import measure_lists
from tests.bench.results import Book, Line, Side, Target
from tests.bench.rivals import Nemeton, Rival
from tests.bench.rows import edits_file
from tests.bench.serving import Calls, named, noop_seconds, post_noops
from tests.bench.watch import resident_bytes
from tests.support.druid.processes import descendants

IDLE, NOOP, POSTS, INGEST, LIST, ALLOCATE, START = "idle", "noop", "posts", "ingest", "list", "allocate", "start"
SETTLE_S = 10.0
MIB = 1024 * 1024

TARGETS = {
    "ingestion, wall": Target(1 / 8, of_druid=True),
    "ingestion, peon CPU": Target(1 / 5, of_druid=True),
    "ingestion, peon peak RSS": Target(800),
    "ingestion, segment": Target(1, of_druid=True),
    "ingestion with rollup, wall": Target(1 / 6, of_druid=True),
    "noop, POST to SUCCESS": Target(0.5),
    "POST, 1 client, p50": Target(1, of_druid=True),
    "POST, 8 clients, accepted": Target(2, of_druid=True, at_least=True),
    "POST, 8 clients, p99": Target(1, of_druid=True),
    "GET /tasks, 10,000 finished": Target(1 / 20, of_druid=True),
    "GET /tasks, first page, 100,000 finished, p99": Target(100),
    "GET /tasks, page in the middle, 100,000 finished, p99": Target(100),
    "segmentAllocate, 8 clients, accepted": Target(3, of_druid=True, at_least=True),
    "Overlord at rest, RSS": Target(150),
    "second start to ready": Target(5),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. `finished` are lengths of the list, `posts` is what one client makes."""

    rows: int
    repeats: int
    finished: tuple[int, ...]
    posts: int
    kinds: frozenset[str]


def measure(
    plan: Plan, make_rival: Callable[[str], Rival], side: Side, lines: list[Line], say: Callable[[str], None]
) -> None:
    """
    Takes every measure of the plan with one rival; the lines get that side filled in.

    `make_rival` makes one with an empty folder of the name given. Calls leave tasks behind, so each run of them has a
    rival of its own.
    """
    book = Book(lines, side, say, TARGETS)
    rival = make_rival("main")
    if plan.kinds & {IDLE, NOOP, INGEST}:
        with rival:
            _one_house(book, plan, rival)
    if LIST in plan.kinds:
        with make_rival("list") as listed:
            measure_lists(book, listed, plan.finished, plan.repeats)
    if ALLOCATE in plan.kinds:
        with make_rival("allocate") as allocates:
            _allocations(book, plan, allocates)
    if POSTS in plan.kinds:
        _posts(book, plan, make_rival)
    if START in plan.kinds and isinstance(rival, Nemeton):
        starts: list[float] = []
        for number in range(plan.repeats + 1):
            with rival:
                if number > 0 or plan.kinds & {IDLE, NOOP, INGEST}:
                    starts.append(rival.start_s)
        book.note("second start to ready", "s", starts)


def _one_house(book: Book, plan: Plan, rival: Rival) -> None:
    if IDLE in plan.kinds:
        _at_rest(book, rival)
    if NOOP in plan.kinds:
        book.note("noop, POST to SUCCESS", "s", [noop_seconds(rival) for _ in range(plan.repeats)])
    if INGEST in plan.kinds:
        _ingestion(book, plan, rival)


def _at_rest(book: Book, rival: Rival) -> None:
    time.sleep(SETTLE_S)
    book.note("Overlord at rest, RSS", "MiB", [resident_bytes(rival.overlord_pid) / MIB])
    if isinstance(rival, Nemeton):
        # Druid's metadata store is inside its Overlord here, ours is not. Pages that Postgres shares count repeatedly.
        database = [rival.database_pid, *descendants(rival.database_pid)]
        whole = sum(resident_bytes(pid) for pid in [rival.overlord_pid, *database])
        book.note("Overlord and its database at rest, RSS", "MiB", [whole / MIB])


def _posts(book: Book, plan: Plan, make_rival: Callable[[str], Rival]) -> None:
    runs: dict[int, list[Calls]] = {1: [], 8: []}
    for number in range(plan.repeats):
        with make_rival(f"posts-{number}") as rival:
            noop_seconds(rival)  # the first post of a Java process pays for loading its classes
            runs[1].append(post_noops(rival, 1, plan.posts))
            runs[8].append(post_noops(rival, 8, plan.posts // 4))
    for clients, calls in runs.items():
        _note_calls(book, f"POST, {named(clients)}", "tasks/s", calls)
    _posts_through_the_gate(book, plan, make_rival("posts-basic"), "basic", nullcontext(by_password()))
    _posts_through_the_gate(book, plan, make_rival("posts-jwt"), "jwt", by_web_token())


def _posts_through_the_gate(
    book: Book, plan: Plan, rival: Rival, name: str, guarded: AbstractContextManager[Guard]
) -> None:
    """What it costs us to ask who calls. All runs in one house: the tasks that pile up cost little."""
    if not isinstance(rival, Nemeton):
        return
    with guarded as guard:
        rival.environment, rival.headers = guard.environment, guard.headers
        with rival:
            for clients, each in ((1, plan.posts), (8, plan.posts // 4)):
                calls = [post_noops(rival, clients, each, guard.headers) for _ in range(plan.repeats)]
                _note_calls(book, f"POST, {named(clients)}, {name}", "tasks/s", calls)


def _allocations(book: Book, plan: Plan, rival: Rival) -> None:
    """A datasource of its own for each run."""
    allocate(rival, "warm", 8, 10)
    for clients, each in ((1, plan.posts), (8, plan.posts // 2)):
        calls = [allocate(rival, f"web-{clients}-{number}", clients, each) for number in range(plan.repeats)]
        _note_calls(book, f"segmentAllocate, {named(clients)}", "segments/s", calls)


def _note_calls(book: Book, name: str, unit: str, calls: list[Calls]) -> None:
    book.note(f"{name}, p50", "ms", [run.percentile(50) for run in calls])
    book.note(f"{name}, p99", "ms", [run.percentile(99) for run in calls])
    book.note(f"{name}, accepted", unit, [run.per_s for run in calls])


def _ingestion(book: Book, plan: Plan, rival: Rival) -> None:
    file = edits_file(plan.rows)
    for rollup in (False, True):
        name = "ingestion with rollup" if rollup else "ingestion"
        runs = [ingest(rival, file, plan.rows, rollup=rollup) for _ in range(plan.repeats)]
        _note_runs(book, name, runs, plan.rows)
        book.note(f"{name}, segment", "MiB", [run.segment_bytes / MIB for run in runs])
    if isinstance(rival, Nemeton):
        floors = [floor(file) for _ in range(plan.repeats)]
        _note_runs(book, "floor: polars reads and sorts the file", floors, plan.rows)


def _note_runs(book: Book, name: str, runs: list[Ingestion], rows: int) -> None:
    book.note(f"{name}, wall", "s", [run.seconds for run in runs])
    book.note(f"{name}, rows", "rows/s", [rows / run.seconds for run in runs])
    book.note(f"{name}, peon CPU", "s", [run.cpu_s for run in runs])
    book.note(f"{name}, peon peak RSS", "MiB", [run.peak_rss_bytes / MIB for run in runs])
