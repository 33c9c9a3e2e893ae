"""
The rows of segments as input: columns as they are stored, of the stretch of time that is wanted.

Druid: DruidSegmentInputEntity, DruidSegmentReader
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from druid_core.errors import NemetonError, TaskFailure
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.spec.row_filter import Filter
from druid_core.storage.deep_storage import DeepStorage
from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.read.event import event_text
from peon.read.fields import FieldSelection
from peon.read.records import RecordBatch
from peon.read.row_filter import TRUE, Stored, states_of
from peon.read.tokens import value_at
from peon.report.meters import RowMeters
from peon.segment.columns import StringIds, StringLists
from peon.segment.read import SegmentReader
from peon.segment.string_column import StringData

_BATCH_ROWS = 1 << 16
"""Rows handed on at once, as of parquet."""

Rows = npt.NDArray[np.int64]
_Slices = Callable[[Rows], RawColumn]


@dataclass(frozen=True, slots=True)
class SegmentWindow:
    """A segment, and the stretch of time in which its rows are input. Druid: DruidSegmentInputEntity"""

    segment: DataSegment
    interval: Interval


def window_batches(
    window: SegmentWindow,
    row_filter: Filter | None,
    fields: FieldSelection,
    sketch_fields: frozenset[str],
    time_column: str,
    meters: RowMeters,
    deep_storage: DeepStorage,
    scratch_dir: Path,
) -> Iterator[RecordBatch]:
    """
    The rows of a window that `row_filter` lets through, in the segment's order.

    Its files are fetched to `scratch_dir` and removed again. `sketch_fields` are those that hyperUnique metrics read:
    only they may be stored as sketches. Raises TaskFailure that names the segment where its files cannot be had, and
    the column where it cannot be read.
    """
    segment = window.segment
    folder = scratch_dir / "fetched-segment"
    try:
        folder.mkdir()
        path = deep_storage.fetch(segment.load_spec or {}, folder)
        with SegmentReader(path, folder) as reader:
            meters.processed_bytes(segment.size)
            rows = _rows_within(reader.time_ms, window.interval)
            if row_filter is not None and len(rows):
                states = states_of(row_filter, reader.row_count, lambda name: _to_filter(reader, name))
                rows = rows[states[rows] == TRUE]
            if len(rows):
                columns = _Columns(reader, fields, sketch_fields, time_column)
                for start in range(0, len(rows), _BATCH_ROWS):
                    yield columns.records(rows[start : start + _BATCH_ROWS])
    except (NemetonError, OSError) as error:
        raise TaskFailure(f"Cannot read segment [{segment.id}] of the druid inputSource: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows_within(time_ms: npt.NDArray[np.int64], interval: Interval) -> Rows:
    return np.flatnonzero((time_ms >= interval.start_ms) & (time_ms < interval.end_ms))


def _to_filter(reader: SegmentReader, name: str) -> Stored:
    if name not in reader.names:
        return None
    if (kind := reader.complex_type(name)) is not None:
        raise TaskFailure(f"column [{name}] is of type [COMPLEX<{kind}>], and no filter can look at it")
    return reader.strings_or_values(name)


class _Columns:
    """The wanted columns of an open segment, each read once."""

    def __init__(
        self, reader: SegmentReader, fields: FieldSelection, sketch_fields: frozenset[str], time_column: str
    ) -> None:
        self._reader = reader
        self._sketch_fields = sketch_fields
        self._time_column = time_column
        stored = reader.names
        self._names = [name for name in dict.fromkeys([*fields.names, *stored]) if fields.wants(name)]
        wanted = {*self._names, time_column}
        self._slices = {name: self._opened(name) for name in stored if name in wanted}

    def records(self, rows: Rows) -> RecordBatch:
        """Some rows. A column without any value among them is none, as Druid leaves nulls out of a row."""
        read = {name: slices(rows) for name, slices in self._slices.items()}
        return RecordBatch(
            rows=len(rows),
            columns={
                name: read[name] for name in self._names if name in read and read[name].values.null_count < len(rows)
            },
            time=read.get(self._time_column),
            event_text=lambda row: event_text(
                {name: value for name, column in read.items() if (value := value_at(column, row)) is not None}
            ),
            lines=None,
        )

    def _opened(self, name: str) -> _Slices:
        kind = self._reader.complex_type(name)
        if kind == "hyperUnique" and name not in self._sketch_fields:
            raise TaskFailure(
                f"column [{name}] is of type [COMPLEX<hyperUnique>], which only a hyperUnique metric can read; make it "
                "one in metricsSpec, or exclude it (dimensionsSpec.dimensionExclusions)"
            )
        if kind not in (None, "hyperUnique"):
            raise TaskFailure(f"column [{name}] is of type [COMPLEX<{kind}>], which cannot be read yet; exclude it")
        values = self._reader.strings_or_values(name)
        if not isinstance(values, StringData):
            return lambda rows: _typed(values, rows)
        if isinstance(values.values, StringIds):
            dictionary, ids = values.dictionary, values.values.ids
            return lambda rows: RawColumn(dictionary.take(pa.array(ids[rows])).cast(pa.string()), Encoding.TEXT)
        lists, tokens = values.values, _tokens(values.dictionary)
        return lambda rows: RawColumn(_joined(lists, tokens, rows), Encoding.TOKEN)


def _typed(values: Any, rows: Rows) -> RawColumn:
    first, last = int(rows[0]), int(rows[-1])
    taken = values.slice(first, len(rows)) if last - first + 1 == len(rows) else values.take(pa.array(rows))
    return RawColumn(taken, Encoding.TEXT if pa.types.is_string(taken.type) else Encoding.TYPED)


def _tokens(dictionary: Any) -> pa.StringArray:
    """The distinct texts as JSON."""
    return pa.array([orjson.dumps(text).decode() for text in dictionary.to_pylist()], pa.string())


def _joined(lists: StringLists, tokens: pa.StringArray, rows: Rows) -> pa.StringArray:
    """Rows of lists as JSON: none is null, one is the value itself. Druid: DimensionSelector.defaultGetObject"""
    begins = lists.offsets[rows]
    lengths = lists.offsets[rows + 1] - begins
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
    items = tokens.take(pa.array(lists.ids[places]))
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items), ",")
    several = pc.binary_join_element_wise("[", texts, "]", "")
    shown = pc.if_else(pa.array(lengths > 1), several, texts)
    is_null = pc.or_(pa.array(lengths == 0), pc.equal(shown, "null"))
    return pc.if_else(is_null, pa.scalar(None, pa.string()), shown)
