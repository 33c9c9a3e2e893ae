"""One file through one index_parallel task: time, CPU, memory, bytes; and the floor below which nobody gets."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.client import TASKS, Client
from tests.bench.rivals import Rival
from tests.bench.watch import PeonWatch

POLL_S = 0.05
DIMENSIONS: list[Any] = [
    *("page", "language", "user", "country", "isRobot", "tags", "comment"),
    *({"type": "long", "name": name} for name in ("added", "deleted", "delta")),
]
ROLLUP_DIMENSIONS: list[Any] = ["page", "language", "country", "isRobot"]
ROLLUP_METRICS: list[dict[str, Any]] = [
    {"type": "count", "name": "edits"},
    *({"type": "longSum", "name": f"sum_{name}", "fieldName": name} for name in ("added", "deleted", "delta")),
]


@dataclass(frozen=True, slots=True)
class Ingestion:
    """One run. `seconds` from POST to the SUCCESS that a client sees; CPU and memory are the peon's."""

    seconds: float
    cpu_s: float
    peak_rss_bytes: int
    segment_bytes: int


def task(file: Path, data_source: str, *, rollup: bool) -> dict[str, Any]:
    """The task that both rivals get. With rollup: by hour and four dimensions, with sums; else every row and column."""
    return {
        "type": "index_parallel",
        "spec": {
            "dataSchema": {
                "dataSource": data_source,
                "timestampSpec": {"column": "timestamp", "format": "iso"},
                "dimensionsSpec": {"dimensions": ROLLUP_DIMENSIONS if rollup else DIMENSIONS},
                "metricsSpec": ROLLUP_METRICS if rollup else [],
                "granularitySpec": {
                    "segmentGranularity": "DAY",
                    "queryGranularity": "HOUR" if rollup else "NONE",
                    "rollup": rollup,
                },
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputSource": {"type": "local", "baseDir": str(file.parent), "filter": "*.json"},
                "inputFormat": {"type": "json"},
            },
            "tuningConfig": {"type": "index_parallel", "partitionsSpec": {"type": "dynamic"}},
        },
    }


def ingest(rival: Rival, file: Path, rows: int, *, rollup: bool) -> Ingestion:
    """Runs it once, into a data source of its own; refuses a run whose report does not say `rows` rows."""
    client = Client(rival.url)
    data_source = f"edits_{time.time_ns()}"
    with PeonWatch(rival.peon_pids) as watch:
        task_id, seconds = client.run(task(file, data_source, rollup=rollup), POLL_S)
    report = json.loads(client.ask("GET", f"{TASKS}/task/{task_id}/reports"))
    counters = report["ingestionStatsAndErrors"]["payload"]["rowStats"]["buildSegments"]
    client.close()
    if counters["processed"] != rows:
        raise RuntimeError(f"{task_id} processed {counters['processed']} rows of {rows}")
    files = [each for each in (rival.deep_storage / data_source).rglob("*") if each.is_file()]
    return Ingestion(
        seconds=seconds,
        cpu_s=watch.cost.cpu_s,
        peak_rss_bytes=watch.cost.peak_rss_bytes,
        segment_bytes=sum(each.stat().st_size for each in files),
    )


FLOOR_PROGRAM = """
import sys, polars
frame = polars.read_ndjson(sys.argv[1])
names = [name for name in frame.columns if name != "tags"]
frame.sort(names)
"""


def floor(file: Path) -> Ingestion:
    """polars reads the file and sorts it, in a process of its own: the work that no writer of segments can avoid."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", FLOOR_PROGRAM, str(file)])
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the floor's program ended with {process.returncode}")
    return Ingestion(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, 0)
