"""The main job, as a person does it: a file of JSON lines becomes a segment that holds every row."""

import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from nemeton.client.submit import read_spec
from peon.segment.hyper_unique import estimate
from peon.segment.hyper_unique_bytes import from_bytes
from peon.segment.read import SegmentReader
from tests.support.house import House

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def edits() -> list[dict[str, Any]]:
    with gzip.open(EXAMPLES / "wikiticker-2015-09-12-sampled.json.gz") as lines:
        return [orjson.loads(line) for line in lines]


def run(house: House, example: str) -> str:
    task_id = house.overlord.submit(read_spec(str(EXAMPLES / example)))
    status = house.finished(task_id)
    assert status["statusCode"] == "SUCCESS", status
    return task_id


def segment_of(house: House, data_source: str, task_id: str) -> Path:
    (segment_id,) = house.overlord.segments(task_id)
    version = segment_id.split("_")[3]
    return house.data / "segments" / data_source / "2015-09-12T00:00:00.000Z_2015-09-13T00:00:00.000Z" / version / "0"


def test_every_edit_of_the_day_is_in_the_segment(house: House, edits: list[dict[str, Any]]) -> None:
    task_id = run(house, "wikiticker-index.json")
    with SegmentReader(segment_of(house, "wikiticker", task_id) / "index") as segment:
        assert segment.row_count == len(edits) == 39_244
        assert Counter(segment.column("channel").to_pylist()) == Counter(edit["channel"] for edit in edits)
        assert Counter(segment.column("user").to_pylist()) == Counter(edit["user"] for edit in edits)
        assert sum(segment.column("added").to_pylist()) == sum(edit["added"] for edit in edits)
        assert segment.column("cityName").null_count == sum(edit["cityName"] is None for edit in edits)
    report = house.overlord.report(task_id)["ingestionStatsAndErrors"]["payload"]
    assert report["ingestionState"] == "COMPLETED"
    assert report["rowStats"]["buildSegments"]["processed"] == 39_244
    assert f"Running task [{task_id}]".encode() in house.overlord.log(task_id)


def test_rollup_keeps_every_sum(house: House, edits: list[dict[str, Any]]) -> None:
    task_id = run(house, "wikiticker-rollup.json")
    keys = {(e["time"][:13], e["channel"], e["namespace"], e["isRobot"]) for e in edits}
    with SegmentReader(segment_of(house, "wikiticker-by-hour", task_id) / "index") as segment:
        assert segment.row_count == len(keys)
        assert sum(segment.column("edits").to_pylist()) == len(edits)
        assert sum(segment.column("deleted").to_pylist()) == sum(edit["deleted"] for edit in edits)
        assert max(segment.column("largest").to_pylist()) == max(edit["added"] for edit in edits)


def test_what_was_summed_up_is_summed_up_further(house: House, edits: list[dict[str, Any]]) -> None:
    by_hour = run(house, "wikiticker-rollup.json")
    by_day = run(house, "wikiticker-by-day.json")
    with SegmentReader(segment_of(house, "wikiticker-by-hour", by_hour) / "index") as segment:
        hours = segment.row_count
    report = house.overlord.report(by_day)["ingestionStatsAndErrors"]["payload"]
    assert report["rowStats"]["buildSegments"]["processed"] == hours
    with SegmentReader(segment_of(house, "wikiticker-by-day", by_day) / "index") as segment:
        assert segment.column("channel").to_pylist() == sorted({edit["channel"] for edit in edits})
        assert sum(segment.column("edits").to_pylist()) == len(edits)
        assert sum(segment.column("added").to_pylist()) == sum(edit["added"] for edit in edits)
        estimated = estimate(from_bytes(segment.column("users"))).tolist()
        channels = segment.column("channel").to_pylist()
    english = len({edit["user"] for edit in edits if edit["channel"] == "#en.wikipedia"})
    assert estimated[channels.index("#en.wikipedia")] == pytest.approx(english, rel=0.05)


def test_later_load_of_a_day_replaces_the_earlier(house: House) -> None:
    first = house.overlord.segments(run(house, "wikiticker-index.json"))
    second = house.overlord.segments(run(house, "wikiticker-index.json"))
    assert first != second
    assert first < second  # the version is the instant of the lock


def test_command_line_shows_the_whole_way(house: House) -> None:
    def nemeton(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nemeton", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    at = ["--overlord", house.overlord.url]
    submitted = nemeton("submit", str(EXAMPLES / "wikiticker-index.json"), "--watch", *at)
    assert submitted.returncode == 0, submitted.stderr
    task_id = submitted.stdout.strip()
    assert "SUCCESS" in submitted.stderr
    assert task_id in nemeton("tasks", "--datasource", "wikiticker", *at).stdout
    assert f"Running task [{task_id}]" in nemeton("logs", task_id, "-f", *at).stdout
    assert orjson.loads(nemeton("report", task_id, *at).stdout)["ingestionStatsAndErrors"]["taskId"] == task_id
    dumped = nemeton("segment", "dump", str(segment_of(house, "wikiticker", task_id)), "--limit", "1")
    assert "39,244 rows" in dumped.stdout
    refused = nemeton("submit", str(EXAMPLES / "README.md"), *at)
    assert (refused.returncode, refused.stdout) == (2, "")
