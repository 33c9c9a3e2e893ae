"""Deep storage and logs elsewhere: in S3, and on a disk that is full."""

import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from druid_core.storage.object_store import ObjectStore
from nemeton.client.submit import read_spec
from peon.segment.read import SegmentReader
from tests.support import seaweed
from tests.support.house import House

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_segments_logs_and_reports_go_to_s3_and_segments_come_back_as_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3").mkdir()
    with seaweed.serving(tmp_path / "s3") as s3:
        s3.make_bucket("druid")
        where = ["--deep-storage", "s3://druid/segments", "--task-logs", "s3://druid/logs"]
        with House(tmp_path / "data", *where, environment=s3.environment) as house:
            task_id = house.overlord.submit(read_spec(str(EXAMPLES / "wikiticker-index.json")))
            status = house.finished(task_id)
            assert status["statusCode"] == "SUCCESS", status
            assert f"Running task [{task_id}]".encode() in house.overlord.log(task_id)
            report = house.overlord.report(task_id)["ingestionStatsAndErrors"]["payload"]
            assert report["rowStats"]["buildSegments"]["processed"] == 39_244
            for again in ("wikiticker-rollup.json", "wikiticker-by-day.json"):
                task_id = house.overlord.submit(read_spec(str(EXAMPLES / again)))
                assert (status := house.finished(task_id))["statusCode"] == "SUCCESS", status
            report = house.overlord.report(task_id)["ingestionStatsAndErrors"]["payload"]
            assert report["rowStats"]["buildSegments"]["processed"] > 1000
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        store = ObjectStore.from_url("s3://druid/segments")
        (archive,) = [found.path for found in store.list("wikiticker/") if found.path.endswith("index.zip")]
        (tmp_path / "index.zip").write_bytes(store.get(archive))
        with SegmentReader(tmp_path / "index.zip") as segment:
            assert segment.row_count == 39_244
    assert not list((tmp_path / "data" / "segments").rglob("*smoosh"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        reason = "mounting a small file system needs root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_deep_storage_fails_the_task_in_words_and_publishes_nothing(tmp_path: Path, small_disk: Path) -> None:
    with House(tmp_path / "data", "--deep-storage", str(small_disk / "segments")) as house:
        task_id = house.overlord.submit(read_spec(str(EXAMPLES / "wikiticker-index.json")))
        status = house.finished(task_id)
        assert status["statusCode"] == "FAILED"
        words = status["errorMsg"].lower()
        assert "disk full" in words or "no space left" in words
        assert house.overlord.segments(task_id) == []
        afterwards = house.submit({"type": "noop", "runTime": 1})
        assert house.finished(afterwards)["statusCode"] == "SUCCESS"
