"""Rows in a segment's order, and rolled up where the plan says so."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon import allowance
from peon.build.aggregator import Input, State
from peon.build.chunk import Chunk, Values
from peon.build.entries import Codes, Entries, unite
from peon.build.plan import BuildPlan, NumericDimension, StringDimension
from peon.build.plan import Dimension as PlannedDimension
from peon.build.row_order import SortKey, Words, double_keys, long_keys, pack, rank_key, runs, sort
from peon.build.values import Numbers, StringValues
from peon.segment.numeric import NumericKind

Rows = npt.NDArray[np.int64]
Dimension = Codes | Numbers
"""Entry numbers of a string dimension, or the numbers of a numeric one."""


@dataclass(frozen=True, slots=True)
class RowSlice:
    """Sorted rows: their time (ms UTC, truncated), dimensions and aggregator states in the plan's order."""

    time_ms: npt.NDArray[np.int64]
    dimensions: tuple[Dimension, ...]
    states: tuple[State, ...]

    @property
    def rows(self) -> int:
        return len(self.time_ms)

    def take(self, rows: Rows | slice) -> "RowSlice":
        return RowSlice(
            self.time_ms[rows],
            tuple(values.take(rows) if isinstance(values, Numbers) else values[rows] for values in self.dimensions),
            tuple(_take_state(state, rows) for state in self.states),
        )


@dataclass(frozen=True, slots=True)
class SortedRows:
    """
    A whole run of sorted rows in memory, and the entries that their string dimensions refer to.

    `entries` follows the plan's dimensions, None for numeric ones.
    """

    whole: RowSlice
    entries: tuple[Entries | None, ...]

    @property
    def rows(self) -> int:
        return self.whole.rows

    def slices(self, rows: int) -> Iterator[RowSlice]:
        """All rows in order, so many at a time."""
        for start in range(0, self.rows, rows):
            yield self.whole.take(slice(start, start + rows))


def sorted_rows(chunks: Sequence[Chunk], plan: BuildPlan, bucket_start_ms: int) -> SortedRows:
    """
    Chunks that arrived one after the other, as one sorted run.

    Times are truncated to the query granularity, but never below the bucket's start. Druid: IncrementalIndex
    """
    arrived, entries = _arrived(chunks, plan, bucket_start_ms)
    order: Rows | None = None
    starts: Rows | None = None
    if not _all_differ_and_ascend(arrived.time_ms):
        words = sort_words(arrived.time_ms, arrived.dimensions, entries, plan)
        order = sort(words)
        starts = _group_starts(words, order) if plan.rollup else None
    inputs = zip(*(chunk.inputs for chunk in chunks), strict=True)
    states = tuple(
        aggregator.fold(cast("list[Input]", list(parts)), order, starts)  # type: ignore[arg-type]
        for aggregator, parts in zip(plan.aggregators, inputs, strict=True)
    )
    kept = _kept_rows(order, starts)
    rows = arrived if kept is None else arrived.take(kept)
    return SortedRows(RowSlice(rows.time_ms, rows.dimensions, states), entries)


def first_of_their_kind(chunks: Sequence[Chunk], plan: BuildPlan, bucket_start_ms: int) -> npt.NDArray[np.bool_]:
    """Which rows, in arrival order, rollup would keep: those that agree with no row before them."""
    arrived, entries = _arrived(chunks, plan, bucket_start_ms)
    first = np.ones(arrived.rows, np.bool_)
    if _all_differ_and_ascend(arrived.time_ms):
        return first
    words = sort_words(arrived.time_ms, arrived.dimensions, entries, plan)
    order = sort(words)
    first[:] = False
    first[_kept_rows(order, _group_starts(words, order))] = True
    return first


def _arrived(
    chunks: Sequence[Chunk], plan: BuildPlan, bucket_start_ms: int
) -> tuple[RowSlice, tuple[Entries | None, ...]]:
    """The rows of all chunks as they came, their dimensions referring to the same entries; without states."""
    arrived_ms = np.concatenate([chunk.time_ms for chunk in chunks])
    time_ms = np.maximum(plan.query_granularity.bucket_starts(arrived_ms), bucket_start_ms)
    with ThreadPoolExecutor(allowance.cores(), thread_name_prefix="dimension") as hands:
        columns = zip(*(chunk.dimensions for chunk in chunks), strict=True)
        known = list(hands.map(_arrived_dimension, plan.dimensions, columns))
    return RowSlice(time_ms, tuple(values for values, _ in known), ()), tuple(entries for _, entries in known)


def _arrived_dimension(dimension: PlannedDimension, parts: tuple[Values, ...]) -> tuple[Dimension, Entries | None]:
    if isinstance(dimension, StringDimension):
        return unite(cast("tuple[StringValues, ...]", parts))
    return _concatenated(cast("tuple[Numbers, ...]", parts)), None


def sort_words(
    time_ms: npt.NDArray[np.int64],
    dimensions: Sequence[Dimension],
    entries: Sequence[Entries | None],
    plan: BuildPlan,
) -> Words:
    """The sort keys of rows: time, then each dimension."""
    keys: list[SortKey] = long_keys(time_ms, None)
    for dimension, values, known in zip(plan.dimensions, dimensions, entries, strict=True):
        if isinstance(values, Numbers):
            if cast("NumericDimension", dimension).kind is NumericKind.LONG:
                keys += long_keys(values.values, values.nulls)
            else:
                keys += double_keys(values.values.astype(np.float64, copy=False), values.nulls)
        elif known is not None:
            keys.append(rank_key(known.ranks_of(values), len(known)))
    return pack(keys)


def joined(parts: Sequence[RowSlice]) -> RowSlice:
    """Rows one after the other; their dimensions must refer to the same entries."""
    if len(parts) == 1:
        return parts[0]
    return RowSlice(
        np.concatenate([part.time_ms for part in parts]),
        tuple(_joined_dimension(values) for values in zip(*(part.dimensions for part in parts), strict=True)),
        tuple(_joined_state(states) for states in zip(*(part.states for part in parts), strict=True)),
    )


def _all_differ_and_ascend(time_ms: npt.NDArray[np.int64]) -> bool:
    """Whether rows are in order by their time alone, and no two of them can be rolled up: a log file often is so."""
    return bool(np.all(time_ms[:-1] < time_ms[1:]))


def _group_starts(words: Words, order: Rows | None) -> Rows:
    return runs(words if order is None else [word[order] for word in words])


def _kept_rows(order: Rows | None, starts: Rows | None) -> Rows | None:
    """The first row of each group stands for it."""
    if starts is None:
        return order
    return starts if order is None else order[starts]


def _concatenated(parts: Sequence[Numbers]) -> Numbers:
    values = np.concatenate([part.values for part in parts])
    if all(part.nulls is None for part in parts):
        return Numbers(values, None)
    nulls = [np.zeros(len(part.values), np.bool_) if part.nulls is None else part.nulls for part in parts]
    return Numbers(values, np.concatenate(nulls))


def _joined_dimension(values: Sequence[Dimension]) -> Dimension:
    if isinstance(values[0], Numbers):
        return _concatenated(cast("list[Numbers]", list(values)))
    return np.concatenate(cast("list[Codes]", list(values)))


def _joined_state(states: Sequence[State]) -> State:
    if isinstance(states[0], Numbers):
        return _concatenated(cast("list[Numbers]", list(states)))
    return pa.concat_arrays(list(states))


def _take_state(state: State, rows: Rows | slice) -> State:
    if isinstance(state, Numbers):
        return state.take(rows)
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(len(state))
        return state.slice(start, max(0, stop - start))
    return state.take(pa.array(rows))
