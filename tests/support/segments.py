"""Plain tables of Python values, and the way from them into a segment and back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from peon.segment.columns import (
    Blobs,
    ComplexColumn,
    Numbers,
    NumericColumn,
    RowBatch,
    SegmentSchema,
    StringColumn,
    StringIds,
    StringLists,
    Values,
)
from peon.segment.index_spec import IndexSpec
from peon.segment.metadata import SegmentMetadata
from peon.segment.numeric import NumericKind
from peon.segment.read import SegmentReader
from peon.segment.string_order import utf16_key
from peon.segment.write import SegmentWriter, WrittenSegment

DAY_MS = 86_400_000

StringValue = str | None | list[str | None]


@dataclass(frozen=True)
class Table:
    """Columns of Python values, all of one length. A string column with any list is multi-value."""

    time_ms: list[int]
    strings: dict[str, list[StringValue]] = field(default_factory=dict[str, list[StringValue]])
    numbers: dict[str, tuple[NumericKind, list[Any]]] = field(default_factory=dict[str, tuple[NumericKind, list[Any]]])
    blobs: dict[str, list[bytes | None]] = field(default_factory=dict[str, list[bytes | None]])
    interval: tuple[int, int] = (0, DAY_MS)


def string_column(
    name: str, values: Sequence[StringValue], *, bitmap_index: bool = True
) -> tuple[StringColumn, StringIds | StringLists]:
    """The column and rows of strings and lists of strings."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    distinct: set[str | None] = {text for row in lists for text in row}
    if not all(lists):
        distinct.add(None)
    dictionary = sorted(distinct, key=lambda text: b"" if text is None else b"\x01" + utf16_key(text))
    number = {text: index for index, text in enumerate(dictionary)}
    multi_value = any(isinstance(value, list) for value in values)
    column = StringColumn(name, pa.array(dictionary, pa.string()), multi_value, bitmap_index)
    ids = np.array([number[text] for row in lists for text in row], dtype=np.int32)
    if not multi_value:
        return column, StringIds(ids)
    return column, StringLists(np.cumsum([0, *map(len, lists)], dtype=np.int64), ids)


def segment_of(table: Table, *, bitmap_index: bool = True) -> tuple[SegmentSchema, RowBatch]:
    """The schema and the only batch of a table: strings and numbers as dimensions, blobs as metrics."""
    dimensions: list[StringColumn | NumericColumn] = []
    rows: dict[str, Values] = {}
    for name, values in table.strings.items():
        column, rows[name] = string_column(name, values, bitmap_index=bitmap_index)
        dimensions.append(column)
    for name, (kind, numbers) in table.numbers.items():
        dimensions.append(NumericColumn(name, kind))
        nulls = np.array([number is None for number in numbers], dtype=np.bool_)
        filled = np.array([0 if number is None else number for number in numbers], dtype=kind.dtype)
        rows[name] = Numbers(filled, nulls)
    for name, blobs in table.blobs.items():
        rows[name] = Blobs(pa.array(blobs, pa.binary()))
    metrics = [ComplexColumn(name, "hyperUnique") for name in table.blobs]
    schema = SegmentSchema(table.interval, dimensions, metrics, SegmentMetadata())
    return schema, RowBatch(np.array(table.time_ms, dtype=np.int64), rows)


def part_of(batch: RowBatch, start: int, end: int) -> RowBatch:
    """The rows `[start, end)` of a batch."""
    columns: dict[str, Values] = {}
    for name, values in batch.columns.items():
        match values:
            case StringIds():
                columns[name] = StringIds(values.ids[start:end])
            case StringLists():
                columns[name] = StringLists(values.offsets[start : end + 1], values.ids)
            case Numbers():
                nulls = None if values.nulls is None else values.nulls[start:end]
                columns[name] = Numbers(values.values[start:end], nulls)
            case Blobs():
                columns[name] = Blobs(values.values.slice(start, end - start))
    return RowBatch(batch.time_ms[start:end], columns)


def write_segment(
    folder: Path,
    schema: SegmentSchema,
    *batches: RowBatch,
    index_spec: IndexSpec | None = None,
    **limits: int,
) -> WrittenSegment:
    """Write a segment of the batches into a new folder."""
    folder.mkdir(parents=True)
    with SegmentWriter(folder, schema, index_spec=index_spec, **limits) as writer:
        for batch in batches:
            writer.append(batch)
        return writer.finish()


def read_back(path: Path) -> Table:
    """All columns of a segment as Python values."""
    table = Table([], interval=(0, 0))
    with SegmentReader(path) as segment:
        for info in segment.columns():
            values = segment.column(info.name).to_pylist()
            if info.name == "__time":
                table.time_ms.extend(values)
            elif info.kind == "STRING":
                table.strings[info.name] = values
            elif info.kind.startswith("COMPLEX"):
                table.blobs[info.name] = values
            else:
                table.numbers[info.name] = (NumericKind(info.kind), values)
        return Table(table.time_ms, table.strings, table.numbers, table.blobs, segment.interval)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a segment's folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
