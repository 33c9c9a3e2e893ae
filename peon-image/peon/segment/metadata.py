"""
What a segment says of itself beside its columns.

metadata.drd: JSON on aggregators, timestamps, granularity, rollup, order. Druid: Metadata.
index.drd:    the names of columns, the interval, the kind of bitmaps. Druid: IndexMergerV9.makeIndexBinary.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from peon.segment.cursor import Cursor, json_object
from peon.segment.errors import corrupt_unless_readable
from peon.segment.generic_indexed import IndexedBytes, indexed_strings
from peon.segment.smoosh import Smoosh
from peon.segment.string_order import utf16_key

METADATA_FILE = "metadata.drd"
INDEX_FILE = "index.drd"
ROARING: dict[str, Any] = {"type": "roaring"}


@dataclass(frozen=True, slots=True)
class SegmentMetadata:
    """
    The content of metadata.drd.

    aggregators:       JSON of the *combining* aggregator of each metric, in any order
    timestamp_spec:    JSON of the timestampSpec
    query_granularity: JSON of the granularity: `"MINUTE"`, `{"type": "none"}`
    ordering:          (column, "ascending" | "descending"), or None for `__time` and all dimensions
    projections:       JSON of projections, as read; never written anew
    """

    aggregators: Sequence[dict[str, Any]] | None = ()
    timestamp_spec: dict[str, Any] | None = None
    query_granularity: str | dict[str, Any] | None = None
    rollup: bool | None = False
    ordering: Sequence[tuple[str, str]] | None = None
    projections: Sequence[dict[str, Any]] = ()


def metadata_bytes(metadata: SegmentMetadata, dimensions: Sequence[str]) -> bytes:
    """The JSON of metadata.drd, aggregators by name and fields in Druid's order."""
    ordering = metadata.ordering
    if ordering is None:
        ordering = [(name, "ascending") for name in ("__time", *dimensions)]
    aggregators = metadata.aggregators
    if aggregators is not None:
        aggregators = sorted(aggregators, key=lambda aggregator: utf16_key(str(aggregator.get("name"))))
    return _jackson_json(
        {
            "container": {},
            "aggregators": aggregators,
            "timestampSpec": metadata.timestamp_spec,
            "queryGranularity": metadata.query_granularity,
            "rollup": metadata.rollup,
            "ordering": [{"columnName": name, "order": order} for name, order in ordering],
        }
    )


def read_metadata(raw: memoryview) -> SegmentMetadata:
    """Parse metadata.drd. Raises `CorruptSegment`."""
    json: dict[str, Any] = json_object(METADATA_FILE, raw, "metadata")
    with corrupt_unless_readable(METADATA_FILE, "aggregators and an ordering"):
        ordering: list[dict[str, str]] | None = json.get("ordering")
        aggregators: list[dict[str, Any]] | None = json.get("aggregators")
        return SegmentMetadata(
            aggregators=None if aggregators is None else [dict(aggregator) for aggregator in aggregators],
            timestamp_spec=json.get("timestampSpec"),
            query_granularity=json.get("queryGranularity"),
            rollup=json.get("rollup"),
            ordering=None if ordering is None else [(entry["columnName"], entry["order"]) for entry in ordering],
            projections=[dict(projection) for projection in json.get("projections") or ()],
        )


@dataclass(frozen=True, slots=True)
class IndexDrd:
    """
    The content of index.drd.

    columns:    metrics by name, then dimensions in order; null-only ones included, `__time` not
    dimensions: those of the columns that are dimensions
    null_only:  the dimensions without any value
    interval:   start and end of the time chunk in milliseconds
    """

    columns: Sequence[str]
    dimensions: Sequence[str]
    null_only: frozenset[str]
    interval: tuple[int, int]
    bitmap_type: str = "roaring"

    @property
    def metrics(self) -> list[str]:
        """The columns that are no dimensions."""
        dimensions = set(self.dimensions)
        return [name for name in self.columns if name not in dimensions]

    def to_bytes(self) -> bytes:
        """The bytes of index.drd."""
        bitmap = orjson.dumps({"type": self.bitmap_type})
        return b"".join(
            [
                indexed_strings([name for name in self.columns if name not in self.null_only]),
                indexed_strings([name for name in self.dimensions if name not in self.null_only]),
                struct.pack(">qqi", *self.interval, len(bitmap)) + bitmap,
                # null: take the next name of the list above; a name: a dimension without values.
                indexed_strings([name if name in self.null_only else None for name in self.columns]),
                indexed_strings([name if name in self.null_only else None for name in self.dimensions]),
            ]
        )

    @staticmethod
    def read(raw: memoryview, smoosh: Smoosh) -> "IndexDrd":
        """Parse index.drd; segments of before null-only columns end after the bitmap type. Raises `CorruptSegment`."""
        cursor = Cursor(INDEX_FILE, raw)
        columns = _present(_names(cursor, smoosh))
        dimensions = _present(_names(cursor, smoosh))
        interval = (cursor.i64("the interval's start"), cursor.i64("the interval's end"))
        bitmap_type = "concise"
        if cursor.remaining:
            bitmap_type = str(cursor.json("the type of bitmaps").get("type"))
        null_only: frozenset[str] = frozenset()
        if cursor.remaining:
            columns, null_only = _merged(cursor, columns, _names(cursor, smoosh))
            dimensions, _ = _merged(cursor, dimensions, _names(cursor, smoosh))
        if len(set(columns)) != len(columns) or not set(dimensions) <= set(columns):
            raise cursor.corrupt("distinct columns, dimensions among them,")
        return IndexDrd(columns, dimensions, null_only, interval, bitmap_type)


def _names(cursor: Cursor, smoosh: Smoosh) -> list[str | None]:
    return IndexedBytes.read(cursor, smoosh).strings().to_pylist()


def _present(names: list[str | None]) -> list[str]:
    return [name for name in names if name is not None]


def _merged(cursor: Cursor, present: list[str], holes: list[str | None]) -> tuple[list[str], frozenset[str]]:
    if sum(name is None for name in holes) != len(present):
        raise cursor.corrupt(f"a list with {len(present)} nulls")
    rest = iter(present)
    merged = [next(rest) if name is None else name for name in holes]
    return merged, frozenset(_present(holes))


_ESCAPED_APART = re.compile(r"\\(?:u[0-9a-f]{4}|.)|[\U00010000-\U0010ffff]")


def _jackson_json(value: dict[str, Any]) -> bytes:
    """JSON with Jackson's escapes: hex in capitals, and a surrogate pair for each character from U+10000 up."""
    raw = orjson.dumps(value)
    if raw.isascii() and b"\\u" not in raw:
        return raw

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith("\\"):
            return f"\\u{found[2:].upper()}" if found.startswith("\\u") else found
        # Druid: com.fasterxml.jackson.core.json.UTF8JsonGenerator
        return "".join(f"\\u{unit:04X}" for unit in struct.unpack(">2H", found.encode("utf-16-be")))

    return _ESCAPED_APART.sub(escaped, raw.decode()).encode()
