"""What a publishing task must hold, and where a stream's commit must start."""

from typing import Any

import pytest

from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from druid_core.segment import DataSegment
from overlord.segment.commit_metadata import Step, merged, step_from
from overlord.segment.cover import Cover, cover_of
from overlord.segment.mark import is_segment_id

DAY = Interval.parse("2026-01-01/2026-01-02")
OLD, NEW = "2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"


def lock(interval: str, version: str = NEW, type: LockType = LockType.EXCLUSIVE, *, revoked: bool = False) -> TaskLock:
    return TaskLock(
        type=type,
        group_id="g",
        data_source="web",
        interval=Interval.parse(interval),
        version=version,
        priority=50,
        revoked=revoked,
    )


WIDE, NARROW, LATER = "2025-12-01/2026-02-01", "2026-01-01/2026-01-02", "2026-01-01T12/2026-01-03"


@pytest.mark.parametrize(
    ("locks", "version", "cover"),
    [
        pytest.param([lock(NARROW)], NEW, Cover.FULL, id="its own lock"),
        pytest.param([lock(NARROW)], OLD, Cover.FULL, id="appended under an older version"),
        pytest.param([lock(NARROW, OLD)], NEW, Cover.MISSING, id="the lock is older than the segment"),
        pytest.param([lock(NARROW, "1970-01-01T00:00:00.000Z", LockType.APPEND)], NEW, Cover.FULL, id="append"),
        pytest.param([lock(NARROW, revoked=True)], NEW, Cover.REVOKED, id="a lost lock"),
        pytest.param([lock(NARROW, revoked=True), lock(WIDE)], NEW, Cover.FULL, id="lost, but a wider one is held"),
        pytest.param([lock(LATER)], NEW, Cover.MISSING, id="only a part of the interval"),
        pytest.param([lock(WIDE), lock(LATER)], NEW, Cover.FULL, id="a wider lock behind one that starts later"),
        pytest.param([], NEW, Cover.MISSING, id="no lock at all"),
    ],
)
def test_a_segment_is_covered_by(locks: list[TaskLock], version: str, cover: Cover) -> None:
    assert cover_of([DataSegment(data_source="web", interval=DAY, version=version)], locks) is cover


def test_a_missing_lock_is_worse_than_a_lost_one() -> None:
    lost = DataSegment(data_source="web", interval=DAY, version=NEW)
    bare = DataSegment(data_source="web", interval=Interval.parse("2027-01-01/2027-01-02"), version=NEW)
    assert cover_of([lost, bare], [lock(NARROW, revoked=True)]) is Cover.MISSING


def kafka(kind: str = "start", stream: str = "clicks", **offsets: int) -> dict[str, Any]:
    numbers = {name.removeprefix("p"): offset for name, offset in offsets.items()}
    return {"type": "kafka", "partitions": {"type": kind, "stream": stream, "partitionSequenceNumberMap": numbers}}


@pytest.mark.parametrize(
    ("stored", "start", "step"),
    [
        pytest.param(None, kafka(p0=5), Step.FITS, id="the first commit of a stream"),
        pytest.param(kafka("end", p0=5), kafka(p0=5), Step.FITS, id="where the last one ended"),
        pytest.param(kafka("end", p0=5), kafka(p1=9), Step.FITS, id="partitions that nobody has committed"),
        pytest.param(kafka("end", p0=5), kafka(p0=7), Step.AHEAD, id="beyond the last one"),
        pytest.param(kafka("end", p0=5), kafka(p0=3), Step.DIVERGED, id="behind the last one"),
        pytest.param(kafka("end", p0=5, p1=5), kafka(p0=7, p1=3), Step.DIVERGED, id="beyond here, behind there"),
        pytest.param(kafka("end", p0=5), kafka(stream="views", p0=5), Step.DIVERGED, id="another stream"),
        pytest.param(None, {"type": "object", "theObject": None}, Step.FITS, id="an object's beginning"),
        pytest.param(None, {"type": "object", "theObject": 1}, Step.DIVERGED, id="an object from nowhere"),
        pytest.param(
            {"type": "object", "theObject": {"a": 1}}, {"type": "object", "theObject": {"a": 1}}, Step.FITS, id="object"
        ),
    ],
)
def test_a_commit_starts(stored: dict[str, Any] | None, start: dict[str, Any], step: Step) -> None:
    assert step_from(stored, start) is step


def test_partitions_that_a_commit_does_not_name_keep_their_offsets() -> None:
    moved = merged(kafka("end", p0=5, p1=5), kafka("end", p1=9, p2=1))
    assert moved["partitions"]["partitionSequenceNumberMap"] == {"0": 5, "1": 9, "2": 1}


def test_another_stream_replaces_the_metadata() -> None:
    assert merged(kafka("end", p0=5), kafka("end", "views", p0=1)) == kafka("end", "views", p0=1)


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("web_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_2026-03-01T00:00:00.000Z", True),
        ("web_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_v1_7", True),
        ("web_-146136543-09-08T08:23:32.096Z_146140482-04-24T15:36:27.903Z_v1", True),
        ("other_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_v1", False),
        ("web_2026-01-01_2026-01-02_v1", False),
        ("web", False),
    ],
)
def test_a_segment_id_belongs_to_its_datasource(text: str, is_id: bool) -> None:
    assert is_segment_id("web", text) is is_id
