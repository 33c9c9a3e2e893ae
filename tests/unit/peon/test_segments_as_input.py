"""Tasks that read what a datasource holds, with an Overlord that knows its segments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from druid_core.errors import InvalidTask, TaskFailure
from druid_core.storage.deep_storage import DeepStorage
from druid_core.task import IndexParallelTask, parse_task
from peon.actions import TaskActions
from peon.local_overlord import LocalOverlord
from peon.segment.hyper_unique import estimate
from peon.segment.hyper_unique_bytes import from_bytes
from peon.segment.read import SegmentReader
from peon.stop import StopSignal
from peon.task import index
from peon.toolbox import Toolbox

NOW_MS = 1_700_000_000_000
DAY = "2024-01-01T00:00:00.000Z/2024-01-02T00:00:00.000Z"
WEEK = "2024-01-01/2024-01-08"


class Grove:
    """Datasources and their segments; each task is a peon's, and what it asked is in `actions`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.on_lock: Callable[[], None] | None = None
        self._clock_ms = NOW_MS
        self._runs = 0

    def run(self, task: dict[str, Any]) -> dict[str, Any]:
        """The payload of the report; what was published is there for the next task."""
        self._runs += 1
        self._clock_ms += 60_000
        home = self.folder / str(self._runs)
        (home / "work").mkdir(parents=True)
        parsed = parse_task(task, NOW_MS)
        assert isinstance(parsed, IndexParallelTask)
        overlord = LocalOverlord(parsed.group_id, parsed.data_source, home / "segments.json", lambda: self._clock_ms)

        def answer(action: dict[str, Any]) -> Any:
            self.actions.append(action)
            match action["type"]:
                case "segmentListUsed":
                    return [each for each in self.segments if each["dataSource"] == action["dataSource"]]
                case "retrieveSegmentsById":
                    return [each for each in self.segments if each["identifier"] in action["segmentIds"]]
                case "lockTryAcquire" if self.on_lock is not None:
                    self.on_lock()
                    return overlord.answer(action)
                case _:
                    return overlord.answer(action)

        toolbox = Toolbox(
            task_id=parsed.id,
            overlord=TaskActions(answer),
            work_dir=home / "work",
            deep_storage=DeepStorage.from_url(str(self.folder / "deep")),
            task_logs=None,
            clock=lambda: self._clock_ms,
            stop=StopSignal(),
        )
        report = index.run(parsed, toolbox).report
        assert report is not None
        assert list((home / "work").glob("fetched*")) == []
        published = home / "segments.json"
        self.segments += json.loads(published.read_bytes()) if published.exists() else []
        return report["ingestionStatsAndErrors"]["payload"]

    def rows(self, data_source: str) -> list[dict[str, Any]]:
        """Of the segments of the newest version."""
        mine = [each for each in self.segments if each["dataSource"] == data_source]
        newest = max(each["version"] for each in mine)
        rows: list[dict[str, Any]] = []
        for each in mine:
            if each["version"] == newest:
                with SegmentReader(Path(each["loadSpec"]["path"])) as reader:
                    rows += reader.rows()
        return rows


@pytest.fixture
def grove(tmp_path: Path) -> Grove:
    return Grove(tmp_path)


def planted(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A task that writes rows to `trees`."""
    source = {"type": "inline", "data": "\n".join(json.dumps({"t": "2024-01-01T10:00:00Z", **row}) for row in rows)}
    io = {"inputSource": source, "inputFormat": {"type": "json"}}
    return _task("trees", {"column": "t", "format": "iso"}, io, **changes)


def copied(data_source: str = "copy", source: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A task that reads `trees`."""
    io = {"inputSource": {"type": "druid", "dataSource": "trees", **(source or {"interval": WEEK})}}
    time = changes.pop("time", {"column": "__time", "format": "millis"})
    return _task(data_source, time, io, **changes)


def _task(
    data_source: str,
    time: dict[str, Any],
    io: dict[str, Any],
    dimensions: Any = ("tree", {"type": "long", "name": "height"}),
    metrics: Any = (),
    io_more: dict[str, Any] | None = None,
    **granularity: Any,
) -> dict[str, Any]:
    spec = dimensions if isinstance(dimensions, dict) else {"dimensions": list(dimensions)}
    return {
        "type": "index_parallel",
        "spec": {
            "dataSchema": {
                "dataSource": data_source,
                "timestampSpec": time,
                "dimensionsSpec": spec,
                "metricsSpec": list(metrics),
                "granularitySpec": {"rollup": False, "segmentGranularity": "DAY", **granularity},
            },
            "ioConfig": {"type": "index_parallel", **io, **(io_more or {})},
            "tuningConfig": {"type": "index_parallel"},
        },
    }


OAK, ELM = {"tree": "oak", "height": 3}, {"tree": "elm", "height": None}


def test_rows_come_back_as_they_were_stored(grove: Grove) -> None:
    every = ["tree", "names", {"type": "long", "name": "height"}, {"type": "double", "name": "girth"}]
    every.append({"type": "float", "name": "age"})
    rows = [
        {"tree": "oak", "names": ["b", "a", 'a "quoted" one'], "height": 2**62 + 1, "girth": 0.1, "age": 0.1},
        {"tree": None, "names": ["solo"], "height": None, "girth": 1e300, "age": None},
        {"tree": "ulme, große \U0001f333", "names": None, "height": -1, "girth": None, "age": 3},
        {"tree": "", "names": [None, "z"], "height": 0, "girth": -0.0, "age": -1.5},
    ]
    grove.run(planted(*rows, dimensions=every))
    report = grove.run(copied(dimensions=every))
    assert grove.rows("copy") == grove.rows("trees")
    counts = report["rowStats"]["buildSegments"]
    assert (counts["processed"], counts["thrownAway"], counts["unparseable"]) == (4, 0, 0)
    assert counts["processedBytes"] == grove.segments[0]["size"]


def test_discovered_columns_are_those_that_hold_something(grove: Grove) -> None:
    metrics = [{"type": "longSum", "name": "height", "fieldName": "height"}]
    grove.run(planted(OAK, ELM, dimensions=["tree", "empty"], metrics=metrics))
    grove.run(copied(dimensions={"useSchemaDiscovery": True}))
    assert grove.segments[-1]["dimensions"] == "tree,height"
    assert [(row["tree"], row["height"]) for row in grove.rows("copy")] == [("elm", None), ("oak", 3)]


def test_only_the_visible_part_of_the_interval_is_read(grove: Grove) -> None:
    old = [
        {"tree": "old", "height": hour, "t": f"2024-01-0{day}T{hour:02}:00:00Z"} for day in (1, 2) for hour in (5, 6)
    ]
    grove.run(planted(*old))
    grove.run(planted({"tree": "new", "height": 9, "t": "2024-01-02T05:30:00Z"}))
    report = grove.run(copied(source={"interval": "2024-01-01T06:00:00Z/2024-01-02T06:00:00Z"}))
    assert [(row["tree"], row["height"]) for row in grove.rows("copy")] == [("old", 6), ("new", 9)]
    assert report["rowStats"]["buildSegments"]["processed"] == 2


def test_named_segments_are_read_in_their_windows(grove: Grove) -> None:
    grove.run(planted(OAK, ELM | {"t": "2024-01-01T12:00:00Z"}, OAK | {"tree": "far", "t": "2024-01-03"}))
    window = {"segmentId": grove.segments[0]["identifier"], "intervals": ["2024-01-01T11:00:00Z/P1D"]}
    grove.run(copied(source={"segments": [window]}))
    assert [row["tree"] for row in grove.rows("copy")] == ["elm"]
    unknown = {"segmentId": "trees_nowhere", "intervals": [DAY]}
    with pytest.raises(TaskFailure, match=r"no segments \[trees_nowhere\] of datasource \[trees\]"):
        grove.run(copied(source={"segments": [unknown]}))


def test_rows_outside_of_the_intervals_are_thrown_away(grove: Grove) -> None:
    grove.run(planted(OAK, ELM | {"t": "2024-01-03T12:00:00Z"}))
    report = grove.run(copied(intervals=[DAY]))
    assert report["rowStats"]["buildSegments"]["thrownAway"] == 1
    assert [row["tree"] for row in grove.rows("copy")] == ["oak"]


def test_the_timestamp_spec_counts_as_for_any_other_input(grove: Grove) -> None:
    grove.run(planted(OAK))
    report = grove.run(copied(time={"column": "planted", "format": "auto"}))
    assert report["rowStats"]["buildSegments"]["unparseable"] == 1
    grove.run(copied(time={"column": "height", "format": "posix"}))
    assert grove.segments[-1]["interval"].startswith("1970-01-01")


def test_sums_and_sketches_are_rolled_up_from_what_is_stored(grove: Grove) -> None:
    metrics = [
        {"type": "count", "name": "n"},
        {"type": "floatSum", "name": "total", "fieldName": "height"},
        {"type": "hyperUnique", "name": "birds", "fieldName": "bird"},
    ]
    rows = [{"tree": "oak", "height": 0.25, "bird": f"bird {number}"} for number in range(40)]
    grove.run(planted(*rows, *rows[:10], dimensions=["tree"], metrics=metrics, rollup=True, queryGranularity="HOUR"))
    other = [{"tree": "elm", "height": None, "bird": None}, {"tree": "oak", "height": 1, "bird": "owl"}]
    grove.run(planted(*other, dimensions=["tree"], metrics=metrics, rollup=True, io_more={"appendToExisting": True}))
    combining = [
        {"type": "longSum", "name": "n", "fieldName": "n"},
        {"type": "floatSum", "name": "total", "fieldName": "total"},
        {"type": "hyperUnique", "name": "birds", "fieldName": "birds"},
    ]
    grove.segments[1]["version"] = grove.segments[0]["version"]
    grove.run(copied(dimensions=["tree"], metrics=combining, rollup=True, queryGranularity="DAY"))
    elm, oak = grove.rows("copy")
    assert (elm["tree"], elm["n"], elm["total"]) == ("elm", 1, None)
    assert (oak["tree"], oak["n"], oak["total"]) == ("oak", 51, 13.5)
    with SegmentReader(Path(grove.segments[-1]["loadSpec"]["path"])) as reader:
        assert [round(each) for each in estimate(from_bytes(reader.column("birds"))).tolist()] == [0, 41]


def test_a_sketch_is_refused_where_only_values_can_be_read(grove: Grove) -> None:
    metrics = [{"type": "hyperUnique", "name": "birds", "fieldName": "bird"}]
    grove.run(planted(OAK | {"bird": "owl"}, dimensions=["tree"], metrics=metrics))
    with pytest.raises(TaskFailure, match=r"segment \[trees_2024-01-01.*column \[birds\] is of type \[COMPLEX<hyperU"):
        grove.run(copied(dimensions=["tree", "birds"]))
    assert grove.run(copied(dimensions=["tree"]))["rowStats"]["buildSegments"]["processed"] == 1


def test_what_replaces_its_own_input_is_locked_before_it_is_looked_at(grove: Grove) -> None:
    grove.run(planted(OAK))
    late = Grove(grove.folder / "late")

    def append_late() -> None:
        grove.on_lock = None
        late.run(planted(ELM))
        [segment] = late.segments
        version = grove.segments[0]["version"]
        shard = {"type": "numbered", "partitionNum": 1, "partitions": 0}
        home = Path(segment["loadSpec"]["path"])
        home.rename(grove.folder / "deep" / "moved")
        moved = {"type": "local", "path": str(grove.folder / "deep" / "moved")}
        grove.segments.append(segment | {"version": version, "shardSpec": shard, "loadSpec": moved})

    grove.on_lock = append_late
    grove.actions.clear()
    grove.run(copied("trees"))
    kinds = [action["type"] for action in grove.actions]
    assert kinds[:3] == ["segmentListUsed", "lockTryAcquire", "segmentListUsed"]
    assert sorted(row["tree"] for row in grove.rows("trees")) == ["elm", "oak"]


def test_dropping_what_exists_leaves_nothing_that_the_copy_does_not_hold(grove: Grove) -> None:
    grove.run(planted(OAK, ELM | {"t": "2024-01-03T12:00:00Z"}))
    grove.run(copied("trees", {"interval": DAY}, intervals=[WEEK], io_more={"dropExisting": True}))
    kinds = [(each["interval"][:10], each["loadSpec"]["type"]) for each in grove.segments[2:]]
    assert kinds == [("2024-01-01", "local"), ("2024-01-03", "tombstone")]
    again = grove.run(copied())
    assert again["rowStats"]["buildSegments"]["processed"] == 1


def test_files_outside_of_deep_storage_are_not_read(grove: Grove) -> None:
    grove.run(planted(OAK))
    grove.segments[0]["loadSpec"]["path"] = "/etc"
    with pytest.raises(TaskFailure, match=r"segment \[trees_2024.*\[/etc\] does not lie below the deep storage"):
        grove.run(copied())


def test_damaged_files_are_named_by_their_segment(grove: Grove) -> None:
    grove.run(planted(OAK))
    (Path(grove.segments[0]["loadSpec"]["path"]) / "meta.smoosh").write_bytes(b"v1,2147483647,1\nindex.drd,0,0,9\n")
    with pytest.raises(TaskFailure, match=r"Cannot read segment \[trees_2024-01-01"):
        grove.run(copied())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "Specify exactly one of 'interval' and 'segments'"),
        ({"interval": DAY, "segments": []}, "Specify exactly one of 'interval' and 'segments'"),
        ({"interval": "yesterday"}, r"Invalid interval\[yesterday\].*DruidInputSource\[\"interval\"\]"),
        ({"segments": [{"intervals": [DAY]}]}, "null segmentId"),
        ({"segments": [{"segmentId": "a"}]}, "null intervals"),
        ({"dataSource": None, "interval": DAY}, "DruidInputSource`, problem: dataSource"),
    ],
)
def test_a_source_that_says_too_little_or_too_much_is_refused(source: dict[str, Any], message: str) -> None:
    task = copied()
    task["spec"]["ioConfig"]["inputSource"] = {"type": "druid", "dataSource": "trees", **source}
    with pytest.raises(InvalidTask, match=message):
        parse_task(task, NOW_MS)


FOREST = [
    {"tree": "oak", "height": 3, "birds": ["jay", "owl"], "girth": 0.1},
    {"tree": "elm", "height": None, "birds": ["jay", None], "girth": 2.5},
    {"tree": None, "height": 10, "birds": [], "girth": None},
    {"tree": "yew", "height": 20, "birds": ["tit"], "girth": -1},
]


@pytest.mark.parametrize(
    ("row_filter", "heights"),
    [
        ({"type": "selector", "dimension": "tree", "value": "oak"}, [3]),
        ({"type": "selector", "dimension": "tree", "value": None}, [10]),
        ({"type": "selector", "dimension": "height", "value": "10.0"}, [10]),
        ({"type": "selector", "dimension": "nothing"}, [None, 3, 10, 20]),
        ({"type": "selector", "dimension": "girth", "value": "0.1"}, [3]),
        ({"type": "selector", "dimension": "birds", "value": "jay"}, [None, 3]),
        ({"type": "selector", "dimension": "birds"}, [None, 10]),
        ({"type": "in", "dimension": "tree", "values": ["yew", None, "fir"]}, [10, 20]),
        ({"type": "not", "field": {"type": "selector", "dimension": "tree", "value": "oak"}}, [None, 20]),
        ({"type": "not", "field": {"type": "selector", "dimension": "birds", "value": "owl"}}, [20]),
        ({"type": "not", "field": {"type": "null", "column": "tree"}}, [None, 3, 20]),
        ({"type": "equals", "column": "height", "matchValueType": "LONG", "matchValue": 20}, [20]),
        ({"type": "equals", "column": "tree", "matchValueType": "STRING", "matchValue": "elm"}, [None]),
        ({"type": "range", "column": "height", "matchValueType": "LONG", "lower": 3, "lowerOpen": True}, [10, 20]),
        ({"type": "range", "column": "tree", "matchValueType": "STRING", "lower": "f", "upper": "yew"}, [3, 20]),
        ({"type": "range", "column": "girth", "matchValueType": "DOUBLE", "upper": 0.5}, [3, 20]),
        ({"type": "bound", "dimension": "tree", "lower": "elm", "lowerStrict": True}, [3, 20]),
        ({"type": "bound", "dimension": "tree", "lower": "f", "upper": "yew", "upperStrict": True}, [3]),
        ({"type": "bound", "dimension": "tree", "upper": "f"}, [None, 10]),
        ({"type": "bound", "dimension": "birds", "lower": "k", "upper": "p"}, [3]),
        ({"type": "bound", "dimension": "height", "lower": "2"}, [3, 20]),
        ({"type": "bound", "dimension": "height", "lower": "9.5", "ordering": "numeric"}, [10, 20]),
        ({"type": "bound", "dimension": "height", "upper": "10", "ordering": {"type": "numeric"}}, [3, 10]),
        ({"type": "bound", "dimension": "height", "upper": "tall", "ordering": "numeric"}, []),
        ({"type": "bound", "dimension": "girth", "lower": "0.1", "ordering": "numeric"}, [None, 3]),
        ({"type": "bound", "dimension": "tree", "lower": "1", "upper": "2", "ordering": "numeric"}, []),
        ({"type": "bound", "dimension": "nothing", "upper": "a"}, [None, 3, 10, 20]),
        ({"type": "not", "field": {"type": "bound", "dimension": "tree", "lower": "f"}}, [None]),
        ({"type": "not", "field": {"type": "bound", "dimension": "height", "lower": "5", "ordering": "numeric"}}, [3]),
        ({"type": "and", "fields": [{"type": "true"}, {"type": "null", "column": "height"}]}, [None]),
        ({"type": "or", "fields": [{"type": "false"}, {"type": "null", "column": "girth"}]}, [10]),
        ({"type": "range", "column": "__time", "matchValueType": "LONG", "upper": 0}, []),
    ],
)
def test_a_filter_lets_rows_through_as_a_query_would(
    grove: Grove, row_filter: dict[str, Any], heights: list[int | None]
) -> None:
    every = ["tree", "birds", {"type": "long", "name": "height"}, {"type": "float", "name": "girth"}]
    grove.run(planted(*FOREST, dimensions=every))
    report = grove.run(copied(source={"interval": WEEK, "filter": row_filter}))
    found = [row["height"] for row in grove.rows("copy")] if heights else []
    assert sorted(found, key=lambda height: height or 0) == heights
    counts = report["rowStats"]["buildSegments"]
    assert (counts["processed"], counts["thrownAway"]) == (len(heights), 0)


@pytest.mark.parametrize(
    ("row_filter", "message"),
    [
        ({"type": "like", "dimension": "tree", "pattern": "a%"}, r"filter type \[like\] is known to Druid"),
        ({"type": "bound", "dimension": "tree"}, "lower and upper can not be null at the same time"),
        ({"type": "bound", "lower": "a"}, "BoundDimFilter`, problem: dimension can not be null"),
        ({"type": "bound", "dimension": "tree", "lower": "a", "alphaNumeric": True}, r"ordering \[alphanumeric\]"),
        (
            {"type": "bound", "dimension": "tree", "lower": "a", "alphaNumeric": True, "ordering": "numeric"},
            "mismatch between alphanumeric and ordering property",
        ),
        ({"type": "selector", "dimension": "tree", "value": "a", "extractionFn": {"type": "upper"}}, "extractionFn"),
        ({"type": "not", "field": {"type": "oak"}}, "Could not resolve type id 'oak'"),
        ({"type": "equals", "column": "a", "matchValueType": "ARRAY<LONG>", "matchValue": [1]}, "matchValueType"),
        ({"type": "equals", "column": "a", "matchValueType": "LONG", "matchValue": "x"}, r"\[x\] is no value of type"),
        ({"type": "range", "column": "a", "matchValueType": "LONG"}, "lower and upper cannot be null"),
    ],
)
def test_a_filter_that_nobody_can_apply_is_refused_when_it_comes(row_filter: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        parse_task(copied(source={"interval": DAY, "filter": row_filter}), NOW_MS)


def test_the_source_is_printed_as_druid_prints_it() -> None:
    wire = parse_task(copied(), NOW_MS).to_wire()["spec"]["ioConfig"]
    assert wire["inputSource"] == {
        "type": "druid",
        "dataSource": "trees",
        "interval": "2024-01-01T00:00:00.000Z/2024-01-08T00:00:00.000Z",
    }
    assert wire["inputFormat"] is None
