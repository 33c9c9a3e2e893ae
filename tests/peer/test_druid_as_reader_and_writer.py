"""
Each data set goes through our peon and through Druid's own batch classes. Druid then reads both, and both must hold
what the oracle says; the files must be the same to the byte.
"""

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peer.case import Case
from tests.peer.catalogue import clock, columns, inputs, rollup, wikipedia
from tests.peer.compare import assert_bitmaps, assert_metadata, assert_rows, interval_text
from tests.peer.datasets import CATALOGUE
from tests.support.druid.workshop import Pushed, Workshop

assert {clock, columns, inputs, rollup, wikipedia}, "imported for the sets that they register"

FILES = ("version.bin", "factory.json", "meta.smoosh", "00000.smoosh")


@pytest.fixture(scope="module", params=CATALOGUE)
def case(
    request: pytest.FixtureRequest, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("case")
    case = Case(request.param, workshop, folder)
    yield case
    case.wait()
    shutil.rmtree(folder)


def test_oracle_and_druid_agree_on_what_druid_writes(case: Case) -> None:
    assert_stored(case, case.druids.segments)


def test_druid_reads_the_expected_rows_out_of_our_segments(case: Case) -> None:
    assert_stored(case, case.ours.segments)


def test_our_files_are_druids_files_byte_for_byte(case: Case) -> None:
    assert len(case.ours.segments) == len(case.druids.segments)
    for ours, druids in zip(case.ours.segments, case.druids.segments, strict=True):
        different = [name for name in FILES if not same_bytes(ours.folder / name, druids.folder / name)]
        assert different == [], ours.segment["identifier"]


def test_our_published_facts_are_druids(case: Case) -> None:
    assert [facts(each.segment) for each in case.ours.segments] == [
        facts(each.segment) for each in case.druids.segments
    ]


def test_our_row_counters_are_druids(case: Case) -> None:
    ours, druids = dict(case.ours.row_stats), dict(case.druids.row_stats)
    if case.data.encoding == "parquet":  # Druid had the rows as JSON
        del ours["processedBytes"], druids["processedBytes"]
    assert ours == druids


def assert_stored(case: Case, segments: list[Pushed]) -> None:
    """The right segments, and in each the right rows, metadata and bitmaps, as Druid reads them."""
    assert [(each.segment["interval"], each.segment["shardSpec"]["partitionNum"]) for each in segments] == [
        (interval_text(each.start_ms, each.end_ms), each.partition) for each in case.expected
    ]
    for pushed, expected in zip(segments, case.expected, strict=True):
        dump = case.dump(pushed)
        assert_rows(dump, expected, case.data)
        assert_metadata(dump, expected, case.data)
        assert_bitmaps(dump, expected, case.data)


def same_bytes(ours: Path, druids: Path) -> bool:
    return ours.exists() and filecmp.cmp(ours, druids, shallow=False)


def facts(segment: dict[str, Any]) -> dict[str, Any]:
    """A DataSegment without what differs between two runs: version, where the files lie, and the id made of them."""
    return {key: value for key, value in segment.items() if key not in ("version", "loadSpec", "identifier")}
