"""
What a data set of the ring is: rows as they happened, how they are written to a file, and the spec that reads it.

The catalogue is in `catalogue/`; every set is made by a seeded generator, so a failure names a set and can be repeated.
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[int, dict[str, Any]]
"""Milliseconds since 1970, and the fields besides the timestamp as a reader of the file sees them."""

TIME_COLUMN = "time"
LIST_DELIMITER = "\u0001"


def iso(ms: int) -> str:
    """2024-01-01T00:00:00.000Z"""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{ms % 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Stamp:
    """How times are written: the timestampSpec's format, and a time's spelling in it."""

    format: str
    write: Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows, and the parts of a spec in which sets differ. Granularities are in the JSON form of a granularitySpec."""

    rows: list[Row]
    dimensions: list[str | dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    segment_granularity: str | dict[str, Any] = "DAY"
    query_granularity: str | dict[str, Any] = "NONE"
    rollup: bool = False
    intervals: list[tuple[int, int]] = field(default_factory=list)
    stamp: Stamp = Stamp("iso", iso)
    tuning: dict[str, Any] = field(default_factory=dict)
    encoding: str = "json"
    """json, json.gz, csv, tsv or parquet."""
    format_options: dict[str, Any] = field(default_factory=dict)
    """Properties of the inputFormat besides its type."""
    written: list[dict[str, Any]] | None = None
    """The objects in the file, without time, where a reader sees other fields than were written (flattening)."""
    noise: list[str] = field(default_factory=list)
    """Lines put between the first row and the second that no reader can make a row of."""

    def keeps(self, bucket: tuple[int, int]) -> bool:
        """Whether the rows of a segment bucket are within the intervals."""
        return not self.intervals or any(start < bucket[1] and bucket[0] < end for start, end in self.intervals)

    def spec(self, file: Path, *, as_json: bool = False) -> dict[str, Any]:
        """The `spec` of an index_parallel task that reads `file`; `as_json` for a file of `write_json`."""
        encoding = "json" if as_json else self.encoding
        input_format: dict[str, Any] = {"type": encoding.removesuffix(".gz"), **self.format_options}
        if as_json and self.encoding == "parquet":
            input_format = {"type": "json"}
        if encoding in ("csv", "tsv") and not input_format.get("findColumnsFromHeader"):
            input_format["columns"] = self.columns()
        granularity: dict[str, Any] = {
            "segmentGranularity": self.segment_granularity,
            "queryGranularity": self.query_granularity,
            "rollup": self.rollup,
        }
        if self.intervals:
            granularity["intervals"] = [f"{iso(start)}/{iso(end)}" for start, end in self.intervals]
        return {
            "dataSchema": {
                "dataSource": "peer",
                "timestampSpec": {"column": TIME_COLUMN, "format": self.stamp.format},
                "dimensionsSpec": {"dimensions": self.dimensions},
                "metricsSpec": self.metrics,
                "granularitySpec": granularity,
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputSource": {"type": "local", "files": [str(file)]},
                "inputFormat": input_format,
            },
            "tuningConfig": {"type": "index_parallel", **self.tuning},
        }

    def columns(self) -> list[str]:
        names: dict[str, None] = {TIME_COLUMN: None}
        for _, record in self.rows:
            names.update(dict.fromkeys(record))
        return list(names)

    def write(self, folder: Path) -> Path:
        """The input file, in the set's own encoding."""
        file = folder / f"rows.{self.encoding}"
        match self.encoding:
            case "json":
                file.write_text(self._json_lines(), encoding="utf-8")
            case "json.gz":
                file.write_bytes(gzip.compress(self._json_lines().encode()))
            case "parquet":
                pq.write_table(pa.Table.from_pylist(self._objects()), file)
            case _:
                file.write_text(self._delimited(), encoding="utf-8", newline="")
        return file

    def write_json(self, folder: Path) -> Path:
        """The same rows as JSON lines, for a reader that lacks the set's encoding."""
        file = folder / "rows-as.json"
        file.write_text(self._json_lines(), encoding="utf-8")
        return file

    def _objects(self) -> list[dict[str, Any]]:
        written = self.written if self.written is not None else [record for _, record in self.rows]
        return [{TIME_COLUMN: self.stamp.write(ms), **each} for (ms, _), each in zip(self.rows, written, strict=True)]

    def _json_lines(self) -> str:
        lines = [json.dumps(each, ensure_ascii=False) for each in self._objects()]
        lines[1:1] = self.noise
        return "".join(line + "\n" for line in lines)

    def _delimited(self) -> str:
        names = self.columns()
        cells = [[_cell(each.get(name)) for name in names] for each in self._objects()]
        if self.format_options.get("findColumnsFromHeader"):
            cells.insert(0, names)
        if self.encoding == "tsv":
            return "".join("\t".join(line) + "\n" for line in cells)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(cells)
        return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return LIST_DELIMITER.join(map(str, value)) if isinstance(value, list) else str(value)


Generator = Callable[[random.Random], DataSet]

CATALOGUE: dict[str, Generator] = {}
"""Every data set's generator by its name."""


def register(name: str, generator: Generator) -> None:
    assert name not in CATALOGUE, name
    CATALOGUE[name] = generator


def data_set(generator: Generator) -> Generator:
    """Decorator: puts a generator into the catalogue under its own name."""
    register(generator.__name__, generator)
    return generator


def make(name: str) -> DataSet:
    """The data set of that name; the same one at every call."""
    return CATALOGUE[name](random.Random(name))
