"""Batch ingestion from a task's JSON to published segments, with an Overlord that says yes (or, on demand, no)."""

import json
from pathlib import Path
from typing import Any

import pytest

from druid_core.errors import StorageAway, StorageError, TaskFailure
from druid_core.report import IngestionState
from druid_core.segment import DataSegment
from druid_core.storage.deep_storage import DeepStorage
from druid_core.task import IndexParallelTask, IndexTask, parse_task
from peon.actions import TaskActions
from peon.local_overlord import LocalOverlord
from peon.segment.errors import InvalidColumn
from peon.segment.read import SegmentReader
from peon.stop import StopSignal, TaskCanceled
from peon.task import index
from peon.toolbox import Toolbox

NOW_MS = 1_700_000_000_000
DAY = "2024-01-01T00:00:00.000Z/2024-01-02T00:00:00.000Z"


class House:
    """One task with an Overlord of its own; what happened is in `actions` and `published`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.actions: list[dict[str, Any]] = []
        self.refuse: dict[str, Any] = {}
        self.clock_ms = NOW_MS
        self.stop = StopSignal()
        self.keeper_began_ms: int | None = None
        self.toolbox: Toolbox | None = None

    def run(self, task: IndexTask | IndexParallelTask) -> dict[str, Any]:
        overlord = LocalOverlord(task.group_id, task.data_source, self.folder / "segments.json", lambda: self.clock_ms)

        def answer(action: dict[str, Any]) -> Any:
            self.actions.append(action)
            if action["type"] in self.refuse:
                self.clock_ms += 1000  # whoever waits for a lock sees time pass
                return self.refuse[action["type"]]
            return overlord.answer(action)

        work_dir = self.folder / "work"
        work_dir.mkdir()
        self.toolbox = Toolbox(
            task_id=task.id,
            overlord=TaskActions(answer),
            work_dir=work_dir,
            deep_storage=DeepStorage.from_url(str(self.folder / "deep")),
            task_logs=None,
            clock=lambda: self.clock_ms,
            stop=self.stop,
            keeper_began_ms=self.keeper_began_ms,
        )
        report = index.run(task, self.toolbox).report
        assert report is not None
        return report["ingestionStatsAndErrors"]["payload"]

    @property
    def published(self) -> list[dict[str, Any]]:
        file = self.folder / "segments.json"
        return json.loads(file.read_bytes()) if file.exists() else []

    def rows(self, number: int = 0) -> list[dict[str, Any]]:
        return SegmentReader(Path(self.published[number]["loadSpec"]["path"])).rows()

    def count(self, kind: str) -> int:
        return sum(action["type"] == kind for action in self.actions)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def _task(
    lines: list[Any],
    dimensions: Any = ("page", {"type": "long", "name": "n"}),
    intervals: list[str] | None = None,
    io: dict[str, Any] | None = None,
    tuning: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    **granularity: Any,
) -> IndexTask | IndexParallelTask:
    data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    spec = dimensions if isinstance(dimensions, dict) else {"dimensions": list(dimensions)}
    task = parse_task(
        {
            "type": "index_parallel",
            "id": "the_task",
            "context": context or {},
            "spec": {
                "dataSchema": {
                    "dataSource": "wiki",
                    "timestampSpec": {"column": "t", "format": "iso"},
                    "dimensionsSpec": spec,
                    "granularitySpec": {"rollup": False, "intervals": intervals or [], **granularity},
                },
                "ioConfig": {
                    "type": "index_parallel",
                    "inputSource": {"type": "inline", "data": data},
                    "inputFormat": {"type": "json"},
                    **(io or {}),
                },
                "tuningConfig": {"type": "index_parallel", **(tuning or {})},
            },
        },
        NOW_MS,
    )
    assert isinstance(task, IndexTask | IndexParallelTask)
    return task


GOOD = {"t": "2024-01-01T10:00:00Z", "page": "a", "n": 1}
NEXT_DAY = {"t": "2024-01-02T10:00:00Z", "page": "b", "n": 2}


def test_rows_become_a_published_segment(house: House) -> None:
    report = house.run(_task([GOOD, GOOD | {"page": "b"}]))
    assert [(row["page"], row["n"]) for row in house.rows()] == [("a", 1), ("b", 1)]
    (segment,) = house.published
    assert segment["interval"] == DAY
    assert segment["dimensions"] == "page,n"
    assert segment["shardSpec"] == {"type": "numbered", "partitionNum": 0, "partitions": 1}
    assert segment["totalRows"] == 2
    assert report["segmentsPublished"] == 1
    assert report["ingestionState"] == "COMPLETED"
    assert report["errorMsg"] is None


def test_intervals_that_are_not_given_are_learnt_and_adjacent_ones_locked_as_one(house: House) -> None:
    report = house.run(_task([GOOD, NEXT_DAY]))
    locks = [action["interval"] for action in house.actions if action["type"] == "lockTryAcquire"]
    assert locks == ["2024-01-01T00:00:00.000Z/2024-01-03T00:00:00.000Z"]
    assert len({segment["version"] for segment in house.published}) == 1
    stats = report["rowStats"]
    assert stats["determinePartitions"] == stats["buildSegments"]


@pytest.mark.parametrize("dimensions", [("page",), {"useSchemaDiscovery": True}])
def test_first_rows_are_told_once_with_the_age_of_the_pod(
    house: House, caplog: pytest.LogCaptureFixture, dimensions: Any
) -> None:
    house.keeper_began_ms = NOW_MS - 812
    with caplog.at_level("INFO"):
        house.run(_task([GOOD, NEXT_DAY], dimensions=dimensions))
    said = [record.getMessage() for record in caplog.records if "First rows" in record.getMessage()]
    assert said == ["First rows read 812 ms after the container began"]


def test_input_without_rows_and_a_peon_without_pod_tell_no_first_rows(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        house.run(_task([GOOD]))
        house.keeper_began_ms = NOW_MS - 812
        assert house.toolbox is not None
        house.toolbox.work_dir.rmdir()
        house.run(_task(["not json"]))
    assert "First rows" not in caplog.text


def test_given_intervals_are_locked_first_and_rows_outside_are_thrown_away(house: House) -> None:
    report = house.run(_task([GOOD, NEXT_DAY], intervals=["2024-01-01T05:00/2024-01-01T06:00"]))
    assert house.actions[0]["type"] == "lockTryAcquire"
    assert house.actions[0]["interval"] == DAY
    stats = report["rowStats"]["buildSegments"]
    assert (stats["processed"], stats["thrownAway"], stats["thrownAwayByReason"]) == (1, 1, {"filtered": 1})
    assert report["rowStats"]["determinePartitions"]["processed"] == 0


def test_every_row_is_counted_once_as_what_became_of_it(house: House) -> None:
    lines = [GOOD, GOOD | {"n": "x"}, "not json", {"page": "no time"}, GOOD | {"t": "never"}, NEXT_DAY]
    report = house.run(_task(lines, intervals=[DAY], tuning={"maxSavedParseExceptions": 10}))
    stats = report["rowStats"]["buildSegments"]
    assert stats["processed"] == 1
    assert stats["processedWithError"] == 1
    assert stats["unparseable"] == 3
    assert stats["thrownAway"] == 1
    events = report["unparseableEvents"]["buildSegments"]
    assert [event["errorType"] for event in events].count("unparseable") == 3
    (with_error,) = [event for event in events if event["errorType"] == "processedWithError"]
    assert with_error["details"] == ["Could not convert value [x] to long for dimension [n]."]
    assert len(house.rows()) == 2


@pytest.mark.parametrize(("allowed", "fails"), [(2, True), (3, False)])
def test_more_parse_exceptions_than_allowed_fail_the_task(house: House, allowed: int, fails: bool) -> None:
    task = _task([GOOD, GOOD | {"n": "x"}, "not json", "neither"], tuning={"maxParseExceptions": allowed})
    if fails:
        with pytest.raises(TaskFailure, match=r"Max parse exceptions\[2\] exceeded"):
            house.run(task)
        assert house.published == []
    else:
        assert house.run(task)["rowStats"]["buildSegments"]["processedWithError"] == 1


def test_rows_that_all_fail_to_parse_are_a_success_without_segments(house: House) -> None:
    report = house.run(_task(["nope", "nope"]))
    assert report["rowStats"]["buildSegments"]["unparseable"] == 2
    assert report["segmentsPublished"] == 0
    assert house.count("segmentTransactionalInsert") == 0


def test_partitions_of_a_chunk_know_how_many_they_are(house: House) -> None:
    lines = [GOOD | {"n": number} for number in range(5)]
    house.run(_task(lines, tuning={"partitionsSpec": {"type": "dynamic", "maxRowsPerSegment": 2}}))
    assert [segment["shardSpec"] for segment in house.published] == [
        {"type": "numbered", "partitionNum": number, "partitions": 3} for number in range(3)
    ]
    assert [[row["n"] for row in house.rows(number)] for number in range(3)] == [[0, 1], [2, 3], [4]]
    assert house.count("segmentTransactionalInsert") == 1


def test_appended_segments_are_allocated_in_one_sequence(house: House) -> None:
    lines = [GOOD | {"n": number} for number in range(4)]
    tuning = {"partitionsSpec": {"type": "dynamic", "maxRowsPerSegment": 2}}
    house.run(_task(lines, io={"appendToExisting": True}, tuning=tuning))
    allocations = [action for action in house.actions if action["type"] == "segmentAllocate"]
    assert [action["sequenceName"] for action in allocations] == ["the_task", "the_task"]
    assert allocations[0]["previousSegmentId"] is None
    assert allocations[1]["previousSegmentId"] == house.published[0]["identifier"]
    assert {segment["shardSpec"]["partitions"] for segment in house.published} == {0}


def test_appending_where_finer_segments_are_fails_with_what_to_do(house: House) -> None:
    house.refuse["segmentAllocate"] = {
        "dataSource": "wiki",
        "interval": "2024-01-01T10:00:00.000Z/2024-01-01T11:00:00.000Z",
        "version": "2024-01-01T00:00:00.000Z",
        "shardSpec": {"type": "numbered", "partitionNum": 1, "partitions": 1},
    }
    with pytest.raises(TaskFailure, match=r"Cannot append to .* finer interval .* use their segmentGranularity"):
        house.run(_task([GOOD], io={"appendToExisting": True}))
    assert house.published == []


def test_a_lock_that_is_not_granted_in_time_fails_the_task_with_a_sentence(house: House) -> None:
    house.refuse["lockTryAcquire"] = None
    with pytest.raises(TaskFailure, match=r"Failed to get a lock for interval .* another task holds it"):
        house.run(_task([GOOD], context={"taskLockTimeout": 1500}))
    assert house.count("lockTryAcquire") == 2
    assert house.published == []


def test_a_refused_publish_fails_the_task(house: House) -> None:
    house.refuse["segmentTransactionalInsert"] = {"segments": [], "success": False, "errorMsg": "locks were revoked"}
    with pytest.raises(TaskFailure, match="locks were revoked"):
        house.run(_task([GOOD]))


@pytest.mark.parametrize(
    ("appends", "context", "action"),
    [
        (True, {"useConcurrentLocks": True}, "segmentTransactionalAppend"),
        (False, {"useConcurrentLocks": True}, "segmentTransactionalReplace"),
        (True, {"taskLockType": "APPEND"}, "segmentTransactionalAppend"),
        (False, {"taskLockType": "APPEND"}, "segmentTransactionalInsert"),
        (True, {}, "segmentTransactionalInsert"),
    ],
)
def test_a_task_publishes_by_the_action_that_goes_with_its_locks(
    house: House, appends: bool, context: dict[str, Any], action: str
) -> None:
    house.run(_task([GOOD], io={"appendToExisting": appends}, context=context))
    assert house.count(action) == 1
    assert len(house.published) == 1


def test_deep_storage_that_is_away_for_a_while_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pushes: list[str] = []
    push = DeepStorage.push

    def away_twice(self: DeepStorage, folder: Path, segment: DataSegment) -> DataSegment:
        pushes.append(segment.id)
        if len(pushes) < 3:
            raise StorageAway("nobody listens")
        return push(self, folder, segment)

    def wait(_: float) -> None: ...

    monkeypatch.setattr(DeepStorage, "push", away_twice)
    monkeypatch.setattr(house.stop, "wait", wait)
    house.run(_task([{"t": DAY[:24], "page": "Oak"}]))
    assert len(pushes) == 3
    assert len(house.published) == 1


def test_deep_storage_that_refuses_is_not_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pushes: list[str] = []

    def refuse(self: DeepStorage, folder: Path, segment: DataSegment) -> DataSegment:
        pushes.append(segment.id)
        raise StorageError("denied")

    monkeypatch.setattr(DeepStorage, "push", refuse)
    with pytest.raises(StorageError, match="denied"):
        house.run(_task([{"t": DAY[:24], "page": "Oak"}]))
    assert len(pushes) == 1


def test_a_canceled_task_publishes_nothing(house: House) -> None:
    house.stop.stop("somebody said so")
    with pytest.raises(TaskCanceled):
        house.run(_task([GOOD]))
    assert house.published == []


def test_schemaless_fields_become_strings_in_order_of_appearance(house: House) -> None:
    house.run(_task([GOOD, GOOD | {"extra": 1.5}], dimensions={"dimensions": []}))
    assert house.published[0]["dimensions"] == "page,n,extra"
    assert [(row["page"], row["n"], row["extra"]) for row in house.rows()] == [("a", "1", None), ("a", "1", "1.5")]


def test_discovered_columns_have_the_type_of_their_values(house: House) -> None:
    lines = [
        {"t": "2024-01-01T10:00:00Z", "l": 1, "d": 1, "s": "x", "b": True, "mixed": 1},
        {"t": "2024-01-01T10:00:01Z", "l": 2, "d": 1.5, "s": "y", "b": False, "mixed": "z", "void": None},
    ]
    house.run(_task(lines, dimensions={"useSchemaDiscovery": True}))
    rows = house.rows()
    assert [[row[name] for name in ("l", "d", "s", "b", "mixed")] for row in rows] == [
        [1, 1.0, "x", 1, "1"],
        [2, 1.5, "y", 0, "z"],
    ]


def test_discovered_arrays_are_refused_with_what_to_do(house: House) -> None:
    with pytest.raises(TaskFailure, match=r"Column \[tags\] holds values of type array"):
        house.run(_task([GOOD | {"tags": ["a"]}], dimensions={"useSchemaDiscovery": True}))


@pytest.mark.parametrize("dimensions", [{"useSchemaDiscovery": True}, {}])
def test_a_discovered_name_with_a_comma_is_refused_before_anything_is_built(
    house: House, dimensions: dict[str, Any]
) -> None:
    with pytest.raises(
        InvalidColumn, match=r"Column \[a,b\] .* holds a comma .*; rename it in the input, or leave it out"
    ):
        house.run(_task([GOOD | {"a,b": 1}], dimensions=dimensions))
    assert house.toolbox is not None
    assert house.toolbox.progress.state is IngestionState.DETERMINE_PARTITIONS  # and not when a segment is written
    house.toolbox.work_dir.rmdir()
    house.run(_task([GOOD | {"a,b": 1}], dimensions=dimensions | {"dimensionExclusions": ["a,b"]}))
    assert "a,b" not in house.rows()[0]


def test_drop_existing_buries_chunks_that_get_no_rows(house: House) -> None:
    used = {
        "dataSource": "wiki",
        "interval": "2024-01-02T00:00:00.000Z/2024-01-03T00:00:00.000Z",
        "version": "2020-01-01T00:00:00.000Z",
        "shardSpec": {"type": "numbered", "partitionNum": 0, "partitions": 1},
    }
    house.refuse["segmentListUsed"] = [used]
    house.run(_task([GOOD], intervals=["2024-01-01/2024-01-04"], io={"dropExisting": True}))
    data, tombstone = house.published
    assert data["interval"] == DAY
    assert tombstone["interval"] == used["interval"]
    assert tombstone["loadSpec"] == {"type": "tombstone", "path": None}
    assert tombstone["version"] == data["version"]


def test_intervals_of_more_chunks_than_memory_are_no_matter(house: House) -> None:
    house.run(_task([GOOD], intervals=["0000/9999"], segmentGranularity="SECOND"))
    assert house.published[0]["interval"] == "2024-01-01T10:00:00.000Z/2024-01-01T10:00:01.000Z"


def test_more_tombstones_than_are_sensible_are_refused_in_words(house: House) -> None:
    used = {
        "dataSource": "wiki",
        "interval": "2024-01-01T00:00:00.000Z/2025-01-01T00:00:00.000Z",
        "version": "2020-01-01T00:00:00.000Z",
        "shardSpec": {"type": "numbered", "partitionNum": 0, "partitions": 1},
    }
    house.refuse["segmentListUsed"] = [used]
    with pytest.raises(TaskFailure, match=r"more than \[10000\] tombstones"):
        house.run(_task([GOOD], intervals=["2024/2025"], io={"dropExisting": True}, segmentGranularity="MINUTE"))
    assert house.published == []


def test_given_chunks_of_any_length_are_kept(house: House) -> None:
    intervals = ["2024-01-01T00:00/2024-01-01T12:00", "2024-01-02T06:00/2024-01-03T18:00"]
    house.run(_task([GOOD, NEXT_DAY, GOOD | {"t": "2024-01-01T12:00:00Z"}], intervals=intervals, type="arbitrary"))
    assert [segment["interval"] for segment in house.published] == [
        "2024-01-01T00:00:00.000Z/2024-01-01T12:00:00.000Z",
        "2024-01-02T06:00:00.000Z/2024-01-03T18:00:00.000Z",
    ]
