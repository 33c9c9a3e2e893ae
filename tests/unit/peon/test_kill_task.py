"""Kill: rows before files, never a file that somebody needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from druid_core.errors import TaskFailure
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import NumberedShardSpec
from druid_core.storage.deep_storage import DeepStorage
from druid_core.task import KillTask, load_task
from peon.actions import TaskActions
from peon.stop import StopSignal, TaskCanceled
from peon.task import kill
from peon.toolbox import Toolbox

DAY = Interval.parse("2026-01-01/2026-01-02")


class Metadata:
    """The Overlord's side of a kill, in memory."""

    def __init__(self) -> None:
        self.unused: list[DataSegment] = []
        self.used: list[DataSegment] = []
        self.upgraded_from: dict[str, str] = {}
        self.locks: list[dict[str, Any]] = [
            {"type": "EXCLUSIVE", "groupId": "k", "dataSource": "wiki", "interval": str(DAY), "version": "v9"}
        ]
        self.said: list[dict[str, Any]] = []
        self.on_nuke: Callable[[], None] = lambda: None

    def answer(self, action: dict[str, Any]) -> Any:
        self.said.append(action)
        match action["type"]:
            case "lockTryAcquire":
                return self.locks[0] if self.locks else None
            case "lockList":
                return self.locks
            case "segmentListUsed":
                return [segment.to_wire() for segment in self.used]
            case "segmentListUnused":
                return [segment.to_wire() for segment in self.unused[: action["limit"]]]
            case "retrieveUpgradedFromSegmentIds":
                known = {own: self.upgraded_from[own] for own in action["segmentIds"] if own in self.upgraded_from}
                return {"upgradedFromSegmentIds": known}
            case "retrieveUpgradedToSegmentIds":
                alive = {segment.id for segment in self.used + self.unused}
                heirs = {
                    parent: [own for own in alive if own == parent or self.upgraded_from.get(own) == parent]
                    for parent in action["segmentIds"]
                }
                return {"upgradedToSegmentIds": {parent: ids for parent, ids in heirs.items() if ids}}
            case "segmentNuke":
                gone = {segment["identifier"] for segment in action["segments"]}
                self.unused = [segment for segment in self.unused if segment.id not in gone]
                self.on_nuke()
                return None
            case other:
                raise AssertionError(other)


@pytest.fixture
def metadata() -> Metadata:
    return Metadata()


@pytest.fixture
def deep(tmp_path: Path) -> DeepStorage:
    return DeepStorage.from_url(str(tmp_path / "deep"))


@pytest.fixture
def store(deep: DeepStorage, tmp_path: Path) -> Callable[[int], DataSegment]:
    """Stores a segment of one file."""

    def push(number: int, version: str = "v1") -> DataSegment:
        folder = tmp_path / f"made-{number}-{version}"
        folder.mkdir()
        (folder / "version.bin").write_bytes(b"\0\0\0\x09")
        shard = NumberedShardSpec(partition_num=number, partitions=0)
        return deep.push(folder, DataSegment(data_source="wiki", interval=DAY, version=version, shard_spec=shard))

    return push


@pytest.fixture
def toolbox(metadata: Metadata, deep: DeepStorage, tmp_path: Path) -> Toolbox:
    return Toolbox(
        task_id="k",
        overlord=TaskActions(metadata.answer),
        work_dir=tmp_path,
        deep_storage=deep,
        task_logs=None,
        clock=lambda: 0,
        stop=StopSignal(),
    )


def kill_task(**fields: Any) -> KillTask:
    task = load_task({"type": "kill", "id": "k", "groupId": "k", "dataSource": "wiki", "interval": str(DAY), **fields})
    assert isinstance(task, KillTask)
    return task


def files_of(segment: DataSegment) -> Path:
    assert segment.load_spec is not None
    return Path(segment.load_spec["path"])


def report_of(task: KillTask, toolbox: Toolbox) -> dict[str, int]:
    report = kill.run(task, toolbox).report
    assert report is not None
    assert report["killUnusedSegments"]["taskId"] == "k"
    return report["killUnusedSegments"]["payload"]


def test_rows_and_files_go_and_an_empty_batch_is_the_last(
    metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]
) -> None:
    segments = metadata.unused = [store(0), store(1)]
    assert report_of(kill_task(), toolbox) == {"numSegmentsKilled": 2, "numBatchesProcessed": 2}
    assert metadata.unused == []
    assert not any(files_of(segment).exists() for segment in segments)


def test_rows_go_before_files(metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]) -> None:
    segment = store(0)
    metadata.unused = [segment]
    seen: list[bool] = []
    metadata.on_nuke = lambda: seen.append(files_of(segment).exists())
    kill.run(kill_task(), toolbox)
    assert seen == [True]


def test_a_limit_is_never_exceeded(metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]) -> None:
    metadata.unused = [store(number) for number in range(5)]
    assert report_of(kill_task(batchSize=2, limit=3), toolbox) == {"numSegmentsKilled": 3, "numBatchesProcessed": 2}
    assert len(metadata.unused) == 2


def test_versions_and_time_of_last_use_reach_the_overlord(metadata: Metadata, toolbox: Toolbox) -> None:
    task = kill_task(versions=["v1"], maxUsedStatusLastUpdatedTime="2026-02-01T00:00:00.000Z")
    kill.run(task, toolbox)
    asked = next(said for said in metadata.said if said["type"] == "segmentListUnused")
    assert (asked["versions"], asked["maxUsedStatusLastUpdatedTime"]) == (["v1"], "2026-02-01T00:00:00.000Z")


def test_files_that_a_used_segment_shares_stay(
    metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]
) -> None:
    shared = store(0)
    metadata.unused = [shared]
    metadata.used = [shared.model_copy(update={"version": "v2"})]
    assert report_of(kill_task(), toolbox)["numSegmentsKilled"] == 0
    assert files_of(shared).exists()
    assert metadata.unused == []


def test_files_that_an_upgraded_segment_needs_stay(
    metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]
) -> None:
    parent, heir = store(0), store(0, "v2")
    metadata.unused = [parent]
    metadata.used = [heir]
    metadata.upgraded_from = {heir.id: parent.id}
    assert report_of(kill_task(), toolbox)["numSegmentsKilled"] == 0
    assert files_of(parent).exists()


def test_an_interval_that_is_locked_by_others_fails_the_task(metadata: Metadata, toolbox: Toolbox) -> None:
    metadata.locks = []
    with pytest.raises(TaskFailure, match="Failed to lock interval"):
        kill.run(kill_task(), toolbox)


def test_nothing_is_deleted_under_a_revoked_lock(
    metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]
) -> None:
    segment = store(0)
    metadata.unused = [segment]
    metadata.locks[0]["revoked"] = True
    with pytest.raises(TaskFailure, match="do not cover segment"):
        kill.run(kill_task(), toolbox)
    assert metadata.unused == [segment]
    assert files_of(segment).exists()


def test_concurrent_locks_ask_for_a_replace_lock(metadata: Metadata, toolbox: Toolbox) -> None:
    kill.run(kill_task(context={"useConcurrentLocks": True}), toolbox)
    assert metadata.said[0]["lockType"] == "REPLACE"


def test_a_stop_is_noticed_between_batches(
    metadata: Metadata, toolbox: Toolbox, store: Callable[..., DataSegment]
) -> None:
    metadata.unused = [store(0), store(1)]
    metadata.on_nuke = lambda: toolbox.stop.stop("enough")
    with pytest.raises(TaskCanceled):
        kill.run(kill_task(batchSize=1), toolbox)
    assert len(metadata.unused) == 1
