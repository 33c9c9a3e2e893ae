"""Merged rows as the files of a segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from druid_core.interval import Interval
from peon.build.entries import Codes, Entries, Lists
from peon.build.merge import Run, merge
from peon.build.plan import BuildPlan, NumericDimension, StringDimension
from peon.build.sorted_rows import RowSlice
from peon.build.values import Numbers
from peon.segment.columns import Numbers as StoredNumbers
from peon.segment.columns import NumericColumn, RowBatch, SegmentSchema, StringColumn, StringIds, StringLists, Values
from peon.segment.index_spec import IndexSpec
from peon.segment.metadata import SegmentMetadata
from peon.segment.write import SegmentWriter, WrittenSegment


def write_segment(
    folder: Path, runs: Sequence[Run], plan: BuildPlan, interval: Interval, index_spec: IndexSpec, max_chunk_bytes: int
) -> WrittenSegment:
    """
    Write the segment of `interval` into the empty `folder`.

    Raises OSError when the disk is full, and the errors of `peon.segment`.
    """
    merged = merge(runs, plan)
    stored = [
        (index, column)
        for index, (dimension, entries) in enumerate(zip(plan.dimensions, merged.entries, strict=True))
        if (column := _column(dimension, entries, plan)) is not None
    ]
    schema = SegmentSchema(
        interval=(interval.start_ms, interval.end_ms),
        dimensions=[column for _, column in stored],
        metrics=[aggregator.column() for aggregator in plan.aggregators],
        metadata=SegmentMetadata(
            aggregators=plan.aggregator_json,
            timestamp_spec=plan.timestamp_spec,
            query_granularity=plan.query_granularity.to_wire(),
            rollup=plan.rollup,
        ),
    )
    with SegmentWriter(folder, schema, index_spec=index_spec, max_chunk_bytes=max_chunk_bytes) as writer:
        for rows in merged.slices:
            columns: dict[str, Values] = {
                column.name: _values(rows, index, merged.entries[index]) for index, column in stored
            }
            for aggregator, state in zip(plan.aggregators, rows.states, strict=True):
                columns[aggregator.name] = aggregator.stored(state)
            writer.append(RowBatch(rows.time_ms, columns))
        return writer.finish()


def _column(
    dimension: StringDimension | NumericDimension, entries: Entries | None, plan: BuildPlan
) -> StringColumn | NumericColumn | None:
    if isinstance(dimension, NumericDimension):
        return dimension.column()
    known = cast("Entries", entries)
    column = StringColumn(dimension.name, known.texts, known.multi_value, dimension.bitmap_index)
    return None if column.null_only and not plan.store_empty else column


def _values(rows: RowSlice, index: int, entries: Entries | None) -> Values:
    values = rows.dimensions[index]
    if isinstance(values, Numbers):
        return StoredNumbers(values.values, values.nulls)
    known = cast("Entries", entries)
    if known.lists is None:
        return StringIds(values)
    return _lists(values, known.lists) if known.multi_value else StringIds(known.single_texts()[values])


def _lists(codes: Codes, lists: Lists) -> StringLists:
    """Each row's text ids, end to end."""
    begins: npt.NDArray[np.int64] = lists.offsets[codes]
    lengths = lists.offsets[codes + 1] - begins
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # Element k of the result is element k - offsets[row] of its row's list.
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - begins, lengths)
    return StringLists(offsets, lists.ids[places])
