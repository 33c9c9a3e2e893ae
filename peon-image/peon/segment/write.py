"""
Writes a segment: a schema first, then batches of rows in their final order, then `finish`.

    version.bin     00 00 00 09
    factory.json    {"type":"mMapSegmentFactory"}
    meta.smoosh, 00000.smoosh …   `__time`, metrics by name, dimensions in order, index.drd, metadata.drd

Given the same rows and options the bytes are Druid's own. Druid: IndexMergerV9.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never

from peon.segment.columns import (
    TIME_COLUMN,
    Blobs,
    Column,
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
from peon.segment.complex_column import ComplexWriter
from peon.segment.descriptor import descriptor_of
from peon.segment.errors import InvalidColumn
from peon.segment.index_spec import IndexSpec
from peon.segment.metadata import INDEX_FILE, METADATA_FILE, IndexDrd, metadata_bytes
from peon.segment.numeric import NumericKind, NumericWriter
from peon.segment.scratch import Stored
from peon.segment.smoosh import MAX_CHUNK_BYTES, SmooshWriter
from peon.segment.string_column import StringWriter
from peon.segment.string_order import utf16_key
from peon.segment.workbench import MAX_INDEXED_BYTES, Workbench

VERSION_FILE = "version.bin"
VERSION = (9).to_bytes(4, "big")
FACTORY_FILE = "factory.json"
FACTORY = b'{"type":"mMapSegmentFactory"}'

# Columns that may be finished (their bitmaps built) before it is their turn in the file.
_FINISH_AHEAD = 2

ColumnWriter = StringWriter | NumericWriter | ComplexWriter


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """
    What was written, as the DataSegment will say it.

    size_bytes: of all files together, as they lie uncompressed in a cache
    dimensions: in order, null-only ones included
    metrics:    in the spec's order
    """

    rows: int
    size_bytes: int
    dimensions: list[str]
    metrics: list[str]


class SegmentWriter:
    """
    Writes one segment into a folder, which must exist and be empty.

    Blocks are compressed as they fill and wait in scratch files; only at the end are the ids of two or three columns
    at a time sorted in memory for their bitmaps, a few dozen bytes a row.
    Leaving the `with` without `finish` leaves a half-written folder to be thrown away.
    """

    def __init__(
        self,
        folder: Path,
        schema: SegmentSchema,
        *,
        index_spec: IndexSpec | None = None,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
        max_indexed_bytes: int = MAX_INDEXED_BYTES,
    ) -> None:
        """
        max_chunk_bytes:   of one smoosh chunk
        max_indexed_bytes: beyond which a list is split over internal files
        """
        self._folder = folder
        self._schema = schema
        self._max_chunk_bytes = max_chunk_bytes
        self._bench = Workbench(folder, index_spec or IndexSpec(), max_indexed_bytes)
        self._rows = 0
        time = NumericColumn(TIME_COLUMN, NumericKind.LONG)
        metrics = sorted(schema.metrics, key=lambda metric: utf16_key(metric.name))
        self._columns: list[Column] = [time, *metrics, *schema.dimensions]
        self._writers = {
            column.name: _writer(self._bench, column)
            for column in self._columns
            if not (isinstance(column, StringColumn) and column.null_only)
        }

    def append(self, batch: RowBatch) -> None:
        """
        Append rows that come after all rows before. The batch's arrays must not change afterwards.

        Raises `InvalidColumn` when a column is missing, of another kind or length, or a time is outside the interval.
        """
        start, end = self._schema.interval
        if batch.rows and not (start <= int(batch.time_ms.min()) and int(batch.time_ms.max()) < end):
            raise InvalidColumn(TIME_COLUMN, f"a row's time is outside of the segment's interval [{start}, {end})")
        for name, writer in self._writers.items():
            values = Numbers(batch.time_ms) if name == TIME_COLUMN else batch.columns.get(name)
            if values is None:
                raise InvalidColumn(name, "a batch of rows lacks it")
            if _length(values) != batch.rows:
                raise InvalidColumn(name, f"a batch of {batch.rows} rows has {_length(values)} values of it")
            _append(name, writer, values)
        self._rows += batch.rows

    def finish(self) -> WrittenSegment:
        """Write the files and say what they hold. Raises `InvalidColumn` without rows, `SegmentTooLarge`."""
        if not self._rows:
            raise InvalidColumn(TIME_COLUMN, "a segment has at least one row")
        smoosh = SmooshWriter(self._folder, self._max_chunk_bytes)
        try:
            for column, stored in self._finished_columns():
                head = descriptor_of(column, self._rows).to_bytes()
                smoosh.add(column.name, [head, *stored.body])
                for name, pieces in stored.files.items():
                    smoosh.add(name, pieces)
                stored.close()
            smoosh.add(INDEX_FILE, [self._index().to_bytes()])
            dimensions = [column.name for column in self._schema.dimensions]
            smoosh.add(METADATA_FILE, [metadata_bytes(self._schema.metadata, dimensions)])
            smoosh.finish()
        finally:
            smoosh.close()
            self.close()
        (self._folder / VERSION_FILE).write_bytes(VERSION)
        (self._folder / FACTORY_FILE).write_bytes(FACTORY)
        return WrittenSegment(
            rows=self._rows,
            size_bytes=sum(entry.stat().st_size for entry in os.scandir(self._folder)),
            dimensions=dimensions,
            metrics=[column.name for column in self._schema.metrics],
        )

    def close(self) -> None:
        """Give back threads and scratch files. `finish` does so itself; calling twice is calling once."""
        self._bench.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _finished_columns(self) -> Iterator[tuple[Column, Stored]]:
        """The columns in order, each finished on a thread a little before its turn."""
        # Finishing waits for compressions, so it must not take the threads that compress.
        ahead: list[tuple[Column, Future[Stored]]] = []
        with ThreadPoolExecutor(max_workers=_FINISH_AHEAD, thread_name_prefix="column") as finishers:
            for column in self._columns:
                ahead.append((column, finishers.submit(self._finish_column, column.name)))
                if len(ahead) > _FINISH_AHEAD:
                    done, stored = ahead.pop(0)
                    yield done, stored.result()
            for done, stored in ahead:
                yield done, stored.result()

    def _finish_column(self, name: str) -> Stored:
        writer = self._writers.get(name)
        return writer.finish() if writer is not None else Stored([], {})

    def _index(self) -> IndexDrd:
        return IndexDrd(
            columns=[column.name for column in self._columns[1:]],
            dimensions=[column.name for column in self._schema.dimensions],
            null_only=frozenset(column.name for column in self._columns if column.name not in self._writers),
            interval=self._schema.interval,
        )


def _writer(bench: Workbench, column: Column) -> ColumnWriter:
    match column:
        case StringColumn():
            return StringWriter(bench, column)
        case NumericColumn():
            # Druid: IndexMergerV9.setupTimeWriter calls the time column so
            stem = "little_end_time" if column.name == TIME_COLUMN else column.name
            return NumericWriter(bench, column.kind, f"{stem}.{column.kind.value.lower()}_column")
        case ComplexColumn():
            return ComplexWriter(bench, column.name)
        case _:
            assert_never(column)


def _append(name: str, writer: ColumnWriter, values: Values) -> None:
    if isinstance(writer, StringWriter) and isinstance(values, StringIds | StringLists):
        writer.append(values)
    elif isinstance(writer, NumericWriter) and isinstance(values, Numbers):
        writer.append(values.values, values.nulls)
    elif isinstance(writer, ComplexWriter) and isinstance(values, Blobs):
        writer.append(values)
    else:
        raise InvalidColumn(name, f"a batch of rows has {type(values).__name__} for it")


def _length(values: Values) -> int:
    match values:
        case StringIds():
            return len(values.ids)
        case StringLists():
            return len(values.offsets) - 1
        case Numbers():
            nulls = values.nulls
            # Unequal lengths are reported as no length at all.
            return len(values.values) if nulls is None or len(nulls) == len(values.values) else -1
        case Blobs():
            return len(values.values)
        case _:
            assert_never(values)
