"""
One JVM of Druid that stays up for a whole run: it reads segments with `dump-segment`, writes them with Druid's own
batch classes, and judges task actions, timelines and locks. The Java side is `java/dev/nemeton/peer/Workshop.java`.
"""

import json
import queue
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.druid.install import DruidInstall

FLAGS = ("-Xms256m", "-Xmx1g", "-XX:MaxDirectMemorySize=512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
MAIN = "dev.nemeton.peer.Workshop"


class DruidRefusedError(AssertionError):
    """Druid threw; the text is its stack trace."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What Druid's dump-segment said about one segment: its rows in stored order, metadata, decompressed bitmaps."""

    rows: list[dict[str, Any]]
    metadata: dict[str, Any]
    bitmaps: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pushed:
    """One segment that Druid wrote: its DataSegment JSON, and the folder of its files."""

    segment: dict[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True)
class Written:
    """Druid's side of one ingestion: segments in order of interval and partition, and its row counters."""

    segments: list[Pushed]
    row_stats: dict[str, Any]


class Workshop:
    """Context manager of the JVM. One request at a time, from one thread."""

    def __init__(self, druid: DruidInstall, log: Path, timeout_s: float = 120) -> None:
        self._log = log
        self._timeout_s = timeout_s
        self._answers: queue.Queue[str] = queue.Queue()
        self._stderr = log.open("wb")
        self._process = subprocess.Popen(
            druid.command(MAIN, flags=(*FLAGS, "-Dpeer.log.level=warn")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def dump(self, segment: Path, scratch: Path) -> Dump:
        """Rows, metadata and bitmaps of the segment in the folder `segment`, as Druid reads them."""
        scratch.mkdir(parents=True, exist_ok=True)
        self._ask({"op": "dump", "directory": str(segment), "out": str(scratch)})
        with (scratch / "rows.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return Dump(
            rows=rows,
            metadata=json.loads((scratch / "metadata.json").read_text(encoding="utf-8")),
            bitmaps=json.loads((scratch / "bitmaps.json").read_text(encoding="utf-8"))["bitmaps"],
        )

    def write(self, spec: dict[str, Any], version: str, out: Path) -> Written:
        """Segments that Druid makes of the `spec` of an index task (dynamic partitions), under `out`."""
        out.mkdir(parents=True, exist_ok=True)
        answer = self._ask({"op": "write", "spec": spec, "version": version, "out": str(out)})
        return Written(
            segments=[Pushed(segment, Path(segment["loadSpec"]["path"])) for segment in answer["segments"]],
            row_stats=answer["rowStats"],
        )

    def judge_actions(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        What Druid's task actions answer to each of `steps`, taken in order from empty tables on; see `Segments.java`.

        Each answer has a `result`, an `error` or, where the step looks at the tables, `rows`.
        """
        answers: list[dict[str, Any]] = self._ask({"op": "actions", "steps": steps})["answers"]
        return answers

    def judge_timeline(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What Druid's timeline, empty at first, shows after each of `steps`; see `Segments.java`."""
        answers: list[dict[str, Any]] = self._ask({"op": "timeline", "steps": steps})["answers"]
        return answers

    def judge_locks(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        What Druid's lockbox, empty at first, answers to each of `steps`, taken in order; see `Locks.java`.

        Each answer has a `result` or an `error`, `askedAgain` where a defect of Druid was asked away, and `locks`, by
        task, where these are other than after the step before.
        """
        answers: list[dict[str, Any]] = self._ask({"op": "locks", "steps": steps})["answers"]
        return answers

    def call_overlord(self, port: int, call: str, **arguments: Any) -> Any:
        """
        What Druid's Overlord client, or with `perform` its task action client, reads out of the answer of the Overlord
        at that port; see `OverlordCaller.java`. Raises DruidRefusedError with what the client threw.
        """
        return self._ask({"op": "overlord", "port": port, "call": call, **arguments})["result"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            raise DruidRefusedError(f"no answer within {self._timeout_s} s; log: {self._log}") from None
        if not line:
            raise DruidRefusedError(f"the JVM ended: {self._log.read_text(errors='replace')[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise DruidRefusedError(answer["error"])
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")
