"""Our peon, run as a user runs it alone: a task file in, status, report and segments out."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.druid.workshop import Pushed

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "peon-image")
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Ingested:
    """Segments in order of interval and partition, and the report's row counters."""

    segments: list[Pushed]
    row_stats: dict[str, Any]


def ingest(spec: dict[str, Any], folder: Path) -> Ingested:
    """Runs the `spec` of an index_parallel task to its end, in a process of its own; it must say SUCCESS."""
    folder.mkdir(parents=True)
    task, status, report = folder / "task.json", folder / "status.json", folder / "report.json"
    task.write_text(json.dumps({"type": "index_parallel", "id": "peer", "spec": spec}), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "peon.run", str(task), str(status), str(report)),
        *("--deep-storage", (folder / "deep").as_uri(), "--work-dir", str(folder / "work"), "--port", "0"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / room) for room in ROOMS)}
    ended = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    said = ended.stdout[-3000:] + ended.stderr[-3000:]
    assert ended.returncode == 0, said
    outcome = json.loads(status.read_text(encoding="utf-8"))
    assert outcome["status"] == "SUCCESS", f"{outcome.get('errorMsg')}\n{said}"
    raw_segments = json.loads((folder / "segments.json").read_text(encoding="utf-8"))
    payload = json.loads(report.read_text(encoding="utf-8"))["ingestionStatsAndErrors"]["payload"]
    return Ingested(
        segments=sorted(map(_pushed, raw_segments), key=_place), row_stats=payload["rowStats"]["buildSegments"]
    )


def _pushed(segment: dict[str, Any]) -> Pushed:
    return Pushed(segment, Path(segment["loadSpec"]["path"]))


def _place(pushed: Pushed) -> tuple[int, str, int]:
    interval = pushed.segment["interval"]
    return (-1 if interval.startswith("-") else 0, interval, pushed.segment["shardSpec"]["partitionNum"])
