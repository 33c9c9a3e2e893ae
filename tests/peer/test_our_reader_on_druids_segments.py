"""Segments that Druid wrote, in every encoding of its indexSpec, hold for our reader what they hold for Druid."""

import base64
import random
from pathlib import Path
from typing import Any

import pytest

from peon.segment.read import SegmentReader
from tests.peer.catalogue.columns import EVERY_TYPE, WORDS, rows_of
from tests.peer.catalogue.rollup import COUNT, UNIQUE
from tests.peer.datasets import DataSet
from tests.support.druid.workshop import Workshop

VERSION = "2024-03-01T10:00:00.000Z"

INDEX_SPECS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "front-coded": {"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 4, "formatVersion": 1}},
    "front-coded, old": {"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 16, "formatVersion": 0}},
    "longs by need": {"longEncoding": "auto"},
    "uncompressed": {"dimensionCompression": "uncompressed", "metricCompression": "uncompressed"},
    "numbers without blocks": {"metricCompression": "none"},
    "zstd": {"dimensionCompression": "zstd", "metricCompression": "zstd"},
    "lzf": {"dimensionCompression": "lzf", "metricCompression": "lzf"},
}


def rows(r: random.Random) -> DataSet:
    records: list[dict[str, Any]] = [
        {
            "tree": r.choice([*WORDS, "", None]) if i % 3 else f"{r.choice(WORDS)} {i}",
            "trees": r.sample(WORDS, r.randrange(4)),
            "n": r.choice([None, r.randrange(10**6)]),
            "x": r.random(),
            "y": r.choice([None, 0.5]),
            "user": f"user{r.randrange(99)}",
        }
        for i in range(20_000)
    ]
    return DataSet(rows_of(records), dimensions=[*EVERY_TYPE, "trees", "nowhere"], metrics=[COUNT, UNIQUE])


@pytest.mark.parametrize("index_spec", INDEX_SPECS.values(), ids=INDEX_SPECS)
def test_our_reader_finds_the_rows_that_druid_finds(
    index_spec: dict[str, Any], workshop: Workshop, tmp_path: Path
) -> None:
    data = rows(random.Random(1))
    spec = data.spec(data.write(tmp_path))
    spec["tuningConfig"]["indexSpec"] = index_spec
    [pushed] = workshop.write(spec, VERSION, tmp_path / "druid").segments
    dump = workshop.dump(pushed.folder, tmp_path / "dump")
    with SegmentReader(pushed.folder) as reader:
        ours = [{name: printed(value) for name, value in row.items()} for row in reader.rows()]
        assert reader.dimensions == pushed.segment["dimensions"].split(",")
    assert len(ours) == len(dump.rows)
    for number, (mine, druids) in enumerate(zip(ours, dump.rows, strict=True)):
        assert mine == druids, f"row {number}"


def test_our_reader_finds_discovered_columns(workshop: Workshop, tmp_path: Path) -> None:
    """Columns of type auto, as Druid's schema discovery writes them."""
    data = rows(random.Random(2))
    scalar = ("tree", "n", "x", "user")
    spec = data.spec(data.write(tmp_path))
    spec["dataSchema"]["dimensionsSpec"] = {"dimensions": [{"type": "auto", "name": name} for name in scalar]}
    spec["dataSchema"]["metricsSpec"] = [COUNT]
    [pushed] = workshop.write(spec, VERSION, tmp_path / "druid").segments
    dump = workshop.dump(pushed.folder, tmp_path / "dump")
    with SegmentReader(pushed.folder) as reader:
        assert reader.rows() == dump.rows


def printed(value: Any) -> Any:
    """As dump-segment prints it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
