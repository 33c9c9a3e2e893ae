"""Tasks that only Druid's own peons can run: taken as they were posted, where their type is allowed to."""

from typing import Any

import pytest

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.interval import Interval
from druid_core.java_task import SUB_TASK_TYPES, JavaTask
from druid_core.task import IndexParallelTask, inject_context, load_task, parse_task
from overlord.task.need import LockNeed, may_split, need_of
from tests.support.task_specs import index_parallel

NOW_MS = 1_780_000_000_000
DAY = "2026-01-01/2026-01-02"
WHOLE_DAY = Interval.parse(DAY)
TYPES = frozenset({"compact", "index_parallel", "move"}) | SUB_TASK_TYPES


def compact(interval: str = DAY, **fields: Any) -> dict[str, Any]:
    inputs = {"type": "interval", "interval": interval}
    return {"type": "compact", "dataSource": "web", "ioConfig": {"type": "compact", "inputSpec": inputs}, **fields}


def copying(*, append: bool = False) -> dict[str, Any]:
    """An index_parallel of Druid's alone, for it transforms; its input is a datasource, which brings its own format."""
    task = index_parallel(intervals=["2026-01-01T05:00/PT1H"])
    task["spec"]["dataSchema"]["transformSpec"] = {
        "transforms": [{"type": "expression", "name": "a", "expression": "1"}]
    }
    task["spec"]["ioConfig"] = {
        "type": "index_parallel",
        "inputSource": {"type": "druid", "dataSource": "old", "interval": DAY},
        "appendToExisting": append,
    }
    return task


def read(raw: dict[str, Any]) -> JavaTask:
    task = parse_task(raw, NOW_MS, java_types=TYPES)
    assert isinstance(task, JavaTask)
    return task


def test_a_task_is_stored_as_it_was_posted_and_read_again_as_it_was_stored() -> None:
    posted = compact(tuningConfig={"type": "index_parallel", "unknown": [1, {"a": None}]}, metricsSpec=[{"type": "x"}])
    task = inject_context(read(posted), {})
    wire = task.to_wire()
    assert {name: wire[name] for name in posted} == posted
    assert wire["id"].startswith("compact_web_")
    assert wire["groupId"] == wire["resource"]["availabilityGroup"] == wire["id"]
    assert wire["context"] == {"forceTimeChunkLock": True, "useLineageBasedSegmentAllocation": True}
    assert load_task(wire, java_types=TYPES).to_wire() == wire


@pytest.mark.parametrize("raw", [compact(), copying()], ids=["compact", "druid input"])
def test_without_java_peons_such_a_task_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedYet, match="known to Druid but not supported yet"):
        parse_task(raw, NOW_MS)
    with pytest.raises(NotSupportedYet, match="known to Druid but not supported yet"):
        parse_task(raw, NOW_MS, java_types={"restore"})


def test_what_our_peon_can_run_is_checked_as_ever() -> None:
    assert isinstance(parse_task(index_parallel(), NOW_MS, java_types=TYPES), IndexParallelTask)
    bad = index_parallel()
    bad["spec"]["ioConfig"]["appendToExisting"] = bad["spec"]["ioConfig"]["dropExisting"] = True
    with pytest.raises(InvalidTask, match="Cannot simultaneously replace and append"):
        parse_task(bad, NOW_MS, java_types=TYPES)


@pytest.mark.parametrize(
    ("raw", "lock_type", "interval"),
    [
        (compact(), "EXCLUSIVE", WHOLE_DAY),
        (compact("2026-01-01T05:00/PT1H", granularitySpec={"segmentGranularity": "DAY"}), "EXCLUSIVE", WHOLE_DAY),
        (compact(context={"useConcurrentLocks": True}), "REPLACE", WHOLE_DAY),
        ({"type": "compact", "dataSource": "web", "interval": DAY}, "EXCLUSIVE", WHOLE_DAY),
        (copying(), "EXCLUSIVE", WHOLE_DAY),
        ({**copying(append=True), "context": {"useConcurrentLocks": True}}, "APPEND", WHOLE_DAY),
        ({"type": "move", "dataSource": "web", "interval": DAY}, "EXCLUSIVE", WHOLE_DAY),
    ],
)
def test_the_queue_knows_the_locks_that_it_needs(raw: dict[str, Any], lock_type: str, interval: Interval) -> None:
    assert need_of(read(raw)) == LockNeed(lock_type=lock_type, intervals=[interval])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "raw",
    [
        {**compact(), "context": {"forceTimeChunkLock": False}},
        compact(ioConfig={"type": "compact", "inputSpec": {"type": "segments", "segments": ["web_x"]}}),
        {**copying(), "type": "single_phase_sub_task"},
    ],
    ids=["locks segments", "segments named", "sub-task"],
)
def test_what_shows_only_later_is_locked_by_the_peon(raw: dict[str, Any]) -> None:
    assert need_of(read(raw)) is None


def test_priorities_are_druids() -> None:
    assert read(compact()).priority == 25
    assert read(compact(context={"priority": 70})).priority == 70
    assert read(copying()).priority == 50


def test_a_task_that_may_have_sub_tasks_is_known_for_it() -> None:
    assert not may_split(read(compact()))
    assert may_split(read(compact(tuningConfig={"type": "index_parallel", "maxNumConcurrentSubTasks": 2})))
    assert may_split(read(compact(tuningConfig={"type": "index_parallel", "partitionsSpec": {"type": "range"}})))
    assert not may_split(read({**copying(), "type": "single_phase_sub_task"}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"type": "compact", "ioConfig": {}}, "dataSource"),
        (compact("2026-01-02/2026-01-01"), "2026-01-0"),
        (compact("yesterday"), "yesterday"),
        ({"type": "move", "dataSource": "web"}, "problem: interval"),
        (compact(context={"priority": "high"}), "high"),
        (compact(id="a/b"), "task ID"),
        ({**compact(), "ioConfig": [], "interval": {"a": 1}}, "nterval"),
    ],
)
def test_what_the_queue_cannot_read_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        parse_task(raw, NOW_MS, java_types=TYPES)
    assert message in str(refused.value)
