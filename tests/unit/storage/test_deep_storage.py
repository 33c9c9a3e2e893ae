"""Segments in deep storage, where and as Druid keeps them."""

import errno
import os
from pathlib import Path

import pytest

from druid_core.errors import StorageError
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import NumberedShardSpec
from druid_core.storage.deep_storage import DeepStorage, segment_path

SEGMENT = DataSegment(
    data_source="wiki",
    interval=Interval.parse("2024-01-01/2024-01-02"),
    version="2024-03-01T10:00:00.123Z",
    shard_spec=NumberedShardSpec(partition_num=3, partitions=4),
)
PATH = "wiki/2024-01-01T00:00:00.000Z_2024-01-02T00:00:00.000Z/2024-03-01T10:00:00.123Z/3"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "index"
    folder.mkdir(parents=True)
    (folder / "version.bin").write_bytes(b"\0\0\0\x09")
    (folder / "00000.smoosh").write_bytes(b"data")
    return folder


def test_a_local_segment_lies_unzipped_under_druids_path(tmp_path: Path, files: Path) -> None:
    pushed = DeepStorage.from_url(str(tmp_path / "deep")).push(files, SEGMENT)
    folder = tmp_path / "deep" / PATH / "index"
    assert pushed.load_spec == {"type": "local", "path": f"{folder}/"}
    assert sorted(file.name for file in folder.iterdir()) == ["00000.smoosh", "version.bin"]


def test_pushing_again_replaces_and_leaves_nothing_half_done(tmp_path: Path, files: Path) -> None:
    storage = DeepStorage.from_url(str(tmp_path / "deep"))
    storage.push(files, SEGMENT)
    (files / "00000.smoosh").write_bytes(b"newer")
    storage.push(files, SEGMENT)
    assert (tmp_path / "deep" / PATH / "index" / "00000.smoosh").read_bytes() == b"newer"
    assert list((tmp_path / "deep" / "intermediate_pushes").iterdir()) == []


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(StorageError) as refused:
        DeepStorage.from_url(str(tmp_path / "deep")).push(files, SEGMENT)
    folder = tmp_path / "deep" / PATH / "index"
    assert str(refused.value) == f"Cannot push segment [{SEGMENT.id}] to [{folder}]: No space left on device"
    assert list((tmp_path / "deep" / "intermediate_pushes").iterdir()) == []


def test_a_push_that_fails_leaves_no_segment(tmp_path: Path, files: Path) -> None:
    storage = DeepStorage.from_url(str(tmp_path / "deep"))
    (tmp_path / "deep" / "wiki").write_bytes(b"a file where a folder must be")
    with pytest.raises(StorageError, match="Cannot push segment"):
        storage.push(files, SEGMENT)
    assert list((tmp_path / "deep" / "intermediate_pushes").iterdir()) == []


def test_deleting_removes_the_files_and_empty_folders_but_not_the_datasource(tmp_path: Path, files: Path) -> None:
    storage = DeepStorage.from_url(str(tmp_path / "deep"))
    load_spec = storage.push(files, SEGMENT).load_spec
    assert load_spec is not None
    storage.delete(load_spec)
    storage.delete(load_spec)
    assert list((tmp_path / "deep" / "wiki").iterdir()) == []


@pytest.mark.parametrize(
    "load_spec",
    [
        {"type": "local", "path": "/etc"},
        {"type": "local", "path": "deep/../../outside"},
        {"type": "s3_zip", "bucket": "b", "key": "k"},
        {"type": "hdfs", "path": "hdfs://x"},
    ],
)
def test_files_outside_of_the_storage_are_never_deleted(tmp_path: Path, load_spec: dict[str, str]) -> None:
    with pytest.raises(StorageError):
        DeepStorage.from_url(str(tmp_path / "deep")).delete(load_spec)


def test_azure_gets_paths_without_colons() -> None:
    assert segment_path(SEGMENT, hadoop_safe=True) == (
        "wiki/20240101T000000.000Z_20240102T000000.000Z/2024-03-01T10_00_00.123Z/3"
    )


def test_a_segment_comes_back_from_where_it_was_pushed(tmp_path: Path, files: Path) -> None:
    storage = DeepStorage.from_url(str(tmp_path / "deep"))
    load_spec = storage.push(files, SEGMENT).load_spec
    assert load_spec is not None
    assert (storage.fetch(load_spec, tmp_path) / "00000.smoosh").read_bytes() == b"data"


@pytest.mark.parametrize(
    "load_spec",
    [
        {"type": "local", "path": "/etc/"},
        {"type": "s3_zip", "bucket": "druid", "key": "segments/a/index.zip"},
        {"type": "tombstone"},
        {},
    ],
)
def test_files_outside_of_the_storage_are_never_fetched(tmp_path: Path, load_spec: dict[str, str]) -> None:
    with pytest.raises(StorageError, match="deep storage"):
        DeepStorage.from_url(str(tmp_path / "deep")).fetch(load_spec, tmp_path)


@pytest.mark.parametrize(
    "load_spec",
    [
        {"type": "s3_zip", "bucket": "other", "key": "segments/a/index.zip"},
        {"type": "s3_zip", "bucket": "druid", "key": "segments-of-others/a/index.zip"},
    ],
)
def test_objects_outside_of_the_storage_are_never_fetched(tmp_path: Path, load_spec: dict[str, str]) -> None:
    with pytest.raises(StorageError, match=r"does not lie in the deep storage \[s3://druid/segments"):
        DeepStorage.from_url("s3://druid/segments").fetch(load_spec, tmp_path)
