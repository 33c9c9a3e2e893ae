"""Recorded from Apache Druid: the same input gives the same rows, the same errors, the same words."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from druid_core.instant import MAX_MS, MIN_MS
from druid_core.spec.input import CsvFormat, InputFormat, JsonFormat, TsvFormat
from druid_core.spec.schema import TimestampSpec
from peon.read.fields import FieldSelection
from peon.read.timestamp import TimestampParser
from tests.support.reading import read_file

GOLDEN = Path(__file__).parents[2] / "golden" / "druid-reading"
THIS_YEAR = 2026
"""When the golden files were made; the century of a two-digit year depends on it."""


def _lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


RECORDS = _lines("records.jsonl")
FORMATS: dict[str, type[InputFormat]] = {"json": JsonFormat, "csv": CsvFormat, "tsv": TsvFormat}


@pytest.mark.parametrize("chunk_bytes", [1 << 24, 100])
@pytest.mark.parametrize("case", RECORDS, ids=[case["name"] for case in RECORDS])
def test_rows_and_messages_are_those_of_druid(case: dict[str, Any], chunk_bytes: int, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(base64.b64decode(case["data"]))
    dimensions = case.get("dimensionsSpec", {})
    names = tuple(dimensions.get("dimensions", ()))
    fields = FieldSelection(names, discover=not names, nested=dimensions.get("useSchemaDiscovery", False))
    reading = read_file(
        file,
        FORMATS[case["format"]["type"]].model_validate(case["format"]),
        fields,
        TimestampSpec.model_validate(case["timestampSpec"]),
        chunk_bytes,
    )
    assert [[time, _told(values)] for time, values in reading.rows] == [
        [time, _told({name: value for name, value in row.items() if value is not None})] for time, row in case["rows"]
    ]
    place = f"Path: file:{file}, "
    assert [(text, message.replace(place, "")) for text, message in reading.errors] == [
        (text, message) for text, message in case["errors"]
    ]


def test_timestamps_are_those_of_druid() -> None:
    parsers: dict[str, TimestampParser] = {}
    told: list[Any] = []
    recorded = _lines("timestamps.jsonl")
    for pattern, value, _ in recorded:
        if pattern not in parsers:
            parsers[pattern] = TimestampParser(TimestampSpec(format=pattern), THIS_YEAR)
        # JSON numbers beyond a long reach the parser as doubles.
        is_large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
        ms = parsers[pattern].parse_one(float(value) if is_large else value)
        told.append([pattern, value, ms if ms is None or MIN_MS <= ms < MAX_MS else "far"])
    assert told == recorded
    assert len(recorded) > 400


def _told(value: Any) -> Any:
    """Values that tell a whole number from a fraction, and infinity from neither a number nor a text."""
    if isinstance(value, dict):
        return {name: _told(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_told(item) for item in value]
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        return ("float", float(value))
    return (type(value).__name__, value) if isinstance(value, int | float) else value
