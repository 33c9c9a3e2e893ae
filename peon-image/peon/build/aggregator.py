"""
Aggregators: rows that agree in time and dimensions become one.

States are columns: a number a group, or a collector's bytes. `fold` makes states of inputs, `combine` states of
states; both take rows that stand together, `starts` saying where each group begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from druid_core.spec.aggregator import Aggregator as AggregatorSpec
from druid_core.spec.aggregator import CountAggregator, HyperUniqueAggregator
from druid_core.spec.aggregator import NumericAggregator as NumericAggregatorSpec
from peon.batch import InputBatch
from peon.build.values import Faults, NumberRule, Numbers, StringValues, metric_input, numbers, string_values
from peon.segment.columns import Blobs, ComplexColumn, NumericColumn
from peon.segment.columns import Numbers as StoredNumbers
from peon.segment.hyper_unique import collect, marks_of, merge
from peon.segment.hyper_unique_bytes import from_bytes, to_bytes
from peon.segment.numeric import NumericKind

Rows = npt.NDArray[np.int64]
State = Numbers | pa.LargeBinaryArray
Input = Numbers | StringValues | pa.LargeBinaryArray


class Operation(Enum):
    """How numbers of a group become one."""

    COUNT = "count"
    SUM = "Sum"
    MIN = "Min"
    MAX = "Max"


@dataclass(frozen=True, slots=True)
class NumericAggregator:
    """`count`, and Sum, Min and Max of long, double and float. Druid: SimpleLongAggregatorFactory and siblings"""

    name: str
    field: str
    operation: Operation
    kind: NumericKind
    rule: NumberRule

    def input(self, batch: InputBatch) -> tuple[Numbers, Faults | None]:
        if self.operation is Operation.COUNT:
            return Numbers(np.ones(batch.rows, np.int64), None), None
        return numbers(batch.columns.get(self.field), batch.rows, self.rule, self.kind.dtype.type)

    def fold(self, inputs: Sequence[Numbers], order: Rows | None, starts: Rows | None) -> Numbers:
        joined = _joined(inputs, order)
        return joined if starts is None else _reduced(joined, starts, self.operation)

    def combine(self, states: Sequence[Numbers], order: Rows | None, starts: Rows | None) -> Numbers:
        return self.fold(states, order, starts)  # counts are summed like sums

    def column(self) -> NumericColumn:
        return NumericColumn(self.name, self.kind)

    def stored(self, state: Numbers) -> StoredNumbers:
        return StoredNumbers(state.values, state.nulls)


@dataclass(frozen=True, slots=True)
class UniqueAggregator:
    """`hyperUnique`: a HyperLogLog of the values of a field. Druid: HyperUniquesAggregatorFactory"""

    name: str
    field: str

    def input(self, batch: InputBatch) -> tuple[StringValues | pa.LargeBinaryArray, Faults | None]:
        """Values to be counted, or, of a field that is one already, sketches. Druid: HyperUniquesSerde.getExtractor"""
        column = batch.columns.get(self.field)
        if column is not None and pa.types.is_large_binary(column.values.type):
            sketches = cast("pa.LargeBinaryArray", column.values)
            return to_bytes(from_bytes(sketches)) if sketches.null_count else sketches, None
        return string_values(column, batch.rows, "ARRAY"), None

    def fold(
        self, inputs: Sequence[StringValues | pa.LargeBinaryArray], order: Rows | None, starts: Rows | None
    ) -> pa.LargeBinaryArray:
        plain = [part for part in inputs if isinstance(part, StringValues)]
        if len(plain) == len(inputs):
            return self._collected(plain, order, starts)
        states = [self._collected([part], None, None) if isinstance(part, StringValues) else part for part in inputs]
        return self.combine(states, order, starts)

    def _collected(
        self, inputs: Sequence[StringValues], order: Rows | None, starts: Rows | None
    ) -> pa.LargeBinaryArray:
        codes, texts, lists = _one_after_the_other(inputs)
        if order is not None:
            codes = codes[order]
        groups = _groups(len(codes), starts)
        count = len(codes) if starts is None else len(starts)
        if lists:
            groups, codes, texts = _spread(groups, codes, texts, lists)
        return to_bytes(collect(groups, marks_of(texts).take(codes), count))

    def combine(
        self, states: Sequence[pa.LargeBinaryArray], order: Rows | None, starts: Rows | None
    ) -> pa.LargeBinaryArray:
        joined = pa.concat_arrays(list(states))
        if order is not None:
            joined = joined.take(pa.array(order))
        if starts is None:
            return joined
        return to_bytes(merge(from_bytes(joined), _groups(len(joined), starts), len(starts)))

    def column(self) -> ComplexColumn:
        return ComplexColumn(self.name, "hyperUnique")

    def stored(self, state: pa.LargeBinaryArray) -> Blobs:
        return Blobs(state)


Aggregator = NumericAggregator | UniqueAggregator


def aggregator(spec: AggregatorSpec) -> Aggregator:
    """The aggregator of a metricsSpec entry."""
    match spec:
        case CountAggregator():
            return NumericAggregator(spec.name, "", Operation.COUNT, NumericKind.LONG, metric_input(""))
        case HyperUniqueAggregator():
            return UniqueAggregator(spec.name, spec.field_name)
        case NumericAggregatorSpec():
            kind, operation = NumericKind(spec.column_type), Operation(spec.operation)
            return NumericAggregator(spec.name, spec.field_name, operation, kind, metric_input(spec.field_name))


def _joined(parts: Sequence[Numbers], order: Rows | None) -> Numbers:
    values = np.concatenate([part.values for part in parts])
    nulls = None
    if any(part.nulls is not None for part in parts):
        nulls = np.concatenate(
            [np.zeros(len(part.values), np.bool_) if part.nulls is None else part.nulls for part in parts]
        )
    joined = Numbers(values, nulls)
    return joined if order is None else joined.take(order)


def _reduced(numbers: Numbers, starts: Rows, operation: Operation) -> Numbers:
    """One number a group; null where the whole group is. Nulls take no part."""
    values, nulls = numbers.values, numbers.nulls
    match operation:
        case Operation.COUNT | Operation.SUM:
            reduced = _sums(values, starts)
        case Operation.MIN:
            reduced = np.minimum.reduceat(_with_neutral(values, nulls, highest=True), starts)
        case Operation.MAX:
            reduced = np.maximum.reduceat(_with_neutral(values, nulls, highest=False), starts)
    if nulls is None:
        return Numbers(reduced, None)
    empty = np.logical_and.reduceat(nulls, starts)
    if not empty.any():
        return Numbers(reduced, None)
    return Numbers(np.where(empty, np.zeros(1, reduced.dtype), reduced), empty)


def _sums(values: npt.NDArray[Any], starts: Rows) -> npt.NDArray[Any]:
    if values.dtype == np.int64:
        return np.add.reduceat(values, starts)
    # One after the other, in the column's own precision, as Java adds them: reduceat would add pairwise.
    sums = np.zeros(len(starts), values.dtype)
    np.add.at(sums, _groups(len(values), starts), values)
    return sums


def _groups(rows: int, starts: Rows | None) -> Rows:
    """Each row's group; without `starts` every row is one."""
    if starts is None:
        return np.arange(rows)
    first_of_group = np.zeros(rows, np.int64)
    first_of_group[starts[1:]] = 1
    return np.cumsum(first_of_group)


def _one_after_the_other(
    parts: Sequence[StringValues],
) -> tuple[npt.NDArray[np.int32], pa.StringArray, dict[int, tuple[str | None, ...]]]:
    offsets = np.cumsum([0, *(len(part.texts) for part in parts)])[:-1].tolist()
    codes = np.concatenate([part.codes + np.int32(offset) for part, offset in zip(parts, offsets, strict=True)])
    texts = pa.concat_arrays([part.texts for part in parts])
    lists = {
        offset + code: values
        for part, offset in zip(parts, offsets, strict=True)
        for code, values in part.lists.items()
    }
    return codes, texts, lists


def _spread(
    groups: Rows, codes: npt.NDArray[np.int32], texts: pa.StringArray, lists: dict[int, tuple[str | None, ...]]
) -> tuple[Rows, npt.NDArray[np.int32], pa.StringArray]:
    """Rows that hold several values as so many rows of one value each; empty lists leave none."""
    begins = np.arange(len(texts))
    lengths = np.ones(len(texts), np.int64)
    flat: list[str | None] = []
    for code, values in lists.items():
        begins[code] = len(texts) + len(flat)
        lengths[code] = len(values)
        flat += values
    times = lengths[codes]
    within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    spread_codes = np.repeat(begins[codes], times) + within
    every = pa.concat_arrays([texts, pa.array(flat, pa.string())])
    return np.repeat(groups, times), spread_codes.astype(np.int32), every


def _with_neutral(values: npt.NDArray[Any], nulls: npt.NDArray[np.bool_] | None, *, highest: bool) -> npt.NDArray[Any]:
    if nulls is None:
        return values
    if values.dtype == np.int64:
        limits = np.iinfo(np.int64)
        neutral = limits.max if highest else limits.min
    else:
        neutral = np.inf if highest else -np.inf
    return np.where(nulls, values.dtype.type(neutral), values)
