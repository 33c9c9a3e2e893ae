"""
Measures Nemeton against Apache Druid 37, both started here and now, on this machine.

    python -m tests.bench            everything, medians of five (about an hour)
    python -m tests.bench --quick    100,000 rows, 500 tasks in the list, medians of three (about ten minutes)

And the operator, on a real API server with pods that are played; it has no rival, and is measured only when asked for:

    python -m tests.bench --only operator               10,000 tasks (about a quarter of an hour)
    python -m tests.bench --only operator --tasks 500   a short form

And the pods of an installed release on a real node of Kubernetes, which likewise needs to be asked for, and root:

    python -m tests.bench --only node                   medians of five (some minutes, most of it images)

And both with a long line of tasks, where that is asked for:

    python -m tests.bench --only queue                  100,000 tasks (a quarter of an hour, most of it Druid's)
    python -m tests.bench --only queue --quick          5,000 tasks
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.measures import ALLOCATE, IDLE, INGEST, LIST, NOOP, POSTS, START, Plan, measure
from tests.bench.node import measure_node
from tests.bench.pod_players import TooSlow
from tests.bench.pods import PodPlan, measure_pods
from tests.bench.queue import LineTooLong, QueuePlan, measure_queue
from tests.bench.results import Line, table
from tests.bench.rivals import Nemeton, load_average
from tests.support.cluster.binaries import ProgramMissing
from tests.support.cluster.images import ImageNotBuilt
from tests.support.druid.cluster import DruidCluster
from tests.support.druid.install import DruidMissingError, install

KINDS = (IDLE, NOOP, POSTS, INGEST, LIST, ALLOCATE, START)
OPERATOR, NODE, QUEUE = "operator", "node", "queue"


@dataclass(frozen=True, slots=True)
class Options:
    plan: Plan
    pods: PodPlan | None
    with_node: bool
    queue: QueuePlan | None
    with_druid: bool
    with_ours: bool
    json_file: Path | None
    folder: Path | None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that what was started is stopped
    folder = options.folder or Path(tempfile.mkdtemp(prefix="nemeton-bench-"))
    load_before = load_average()
    lines: list[Line] = []
    status = 0
    try:
        if options.pods is not None:
            try:
                measure_pods(options.pods, folder / "operator", lines, say)
            except (TooSlow, ProgramMissing) as why:
                say(f"The operator's measures end here: {why}")
                status = 1
        if options.with_node:
            try:
                measure_node(options.plan.repeats, lines, say)
            except (AssertionError, ImageNotBuilt, ProgramMissing) as why:
                say(f"The node's measures end here: {why}")
                status = 1
        if options.with_druid:
            say("Druid 37")
            try:
                druid = install()
            except DruidMissingError as missing:
                say(str(missing))
                return 1
            measure(options.plan, lambda name: DruidCluster(druid, folder / "druid" / name), "druids", lines, say)
            if options.queue is not None:
                try:
                    measure_queue(options.queue, DruidCluster(druid, folder / "druid" / "queue"), "druids", lines, say)
                except (LineTooLong, OSError, RuntimeError) as why:
                    say(f"Druid's measures with a long line end here: {why}")
        if options.with_ours:
            say("Nemeton")
            measure(options.plan, lambda name: Nemeton(folder / "nemeton" / name), "ours", lines, say)
            if options.queue is not None:
                measure_queue(options.queue, Nemeton(folder / "nemeton" / "queue"), "ours", lines, say)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "loadBefore": load_before,
        "loadAfter": load_average(),
        "rows": options.plan.rows,
        "repeats": options.plan.repeats,
        **({} if options.pods is None else {"tasks": options.pods.tasks}),
    }
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    print()
    print(table(lines))
    if options.json_file is not None:
        report = {**about, "lines": [line.as_json() for line in lines]}
        options.json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return status


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the short form; its numbers decide nothing")
    parser.add_argument("--rows", type=int, help="rows of the ingestion race (1,000,000; quick: 100,000)")
    parser.add_argument("--repeats", type=int, help="runs of each measure, of which the median counts (5; quick: 3)")
    parser.add_argument(
        "--finished", type=int, nargs="+", help="lengths of the list (1,000 10,000 100,000; quick: 500)"
    )
    parser.add_argument(
        "--only",
        choices=(*KINDS, OPERATOR, NODE, QUEUE),
        action="append",
        help="this kind of measure alone; may be repeated",
    )
    parser.add_argument("--tasks", type=int, help="DruidTasks of the operator's measures (10,000; quick: 500)")
    parser.add_argument("--no-druid", action="store_true", help="leave Druid out: our numbers alone")
    parser.add_argument("--no-ours", action="store_true", help="leave ours out: Druid's numbers alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run there, too")
    parser.add_argument("--folder", type=Path, help="keep logs and data there; else a temporary folder, removed after")
    given = parser.parse_args()
    races = frozenset(given.only or KINDS) - {OPERATOR, NODE, QUEUE}
    queue = _queue_plan(quick=given.quick) if QUEUE in (given.only or ()) else None
    tasks = given.tasks or (500 if given.quick else 10_000)
    return Options(
        plan=Plan(
            rows=given.rows or (100_000 if given.quick else 1_000_000),
            repeats=given.repeats or (3 if given.quick else 5),
            finished=tuple(sorted(given.finished or ([500] if given.quick else [1000, 10_000, 100_000]))),
            posts=100 if given.quick else 300,
            kinds=races,
        ),
        pods=PodPlan(tasks, max(50, tasks // 10), 60 + tasks / 10) if OPERATOR in (given.only or ()) else None,
        with_node=NODE in (given.only or ()),
        queue=queue,
        with_druid=bool(races or queue) and not given.no_druid,
        with_ours=bool(races or queue) and not given.no_ours,
        json_file=given.json,
        folder=given.folder,
    )


def _queue_plan(*, quick: bool) -> QueuePlan:
    return QueuePlan(5000, 3) if quick else QueuePlan(100_000, 10)


if __name__ == "__main__":
    sys.exit(main())
