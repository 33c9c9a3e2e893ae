"""Rows of one input batch as a segment will hold them, still in arrival order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.batch import InputBatch
from peon.build.plan import BuildPlan, NumericDimension, StringDimension
from peon.build.values import Faults, Numbers, StringValues, numbers, string_values

Values = StringValues | Numbers | pa.LargeBinaryArray


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    Some rows: their time as it came in (ms UTC), their dimensions and aggregator inputs in the plan's order.
    """

    time_ms: npt.NDArray[np.int64]
    dimensions: tuple[Values, ...]
    inputs: tuple[Values, ...]

    @property
    def rows(self) -> int:
        return len(self.time_ms)

    @property
    def size_bytes(self) -> int:
        """What the rows take in memory, about."""
        return self.time_ms.nbytes + sum(_size_bytes(values) for values in (*self.dimensions, *self.inputs))

    def take(self, rows: npt.NDArray[np.int64] | slice) -> "Chunk":
        """Some of the rows, in the order asked for."""
        return Chunk(
            self.time_ms[rows],
            tuple(_take(values, rows) for values in self.dimensions),
            tuple(_take(values, rows) for values in self.inputs),
        )


def chunk_of(batch: InputBatch, plan: BuildPlan) -> tuple[Chunk, list[Faults]]:
    """A batch under a plan, and the values in it that could not be converted (they are null in the chunk)."""
    faults: list[Faults] = []

    def noted(result: tuple[Values, Faults | None]) -> Values:
        values, fault = result
        if fault is not None:
            faults.append(fault)
        return values

    dimensions: list[Values] = []
    for dimension in plan.dimensions:
        column = batch.columns.get(dimension.name)
        match dimension:
            case StringDimension():
                dimensions.append(string_values(column, batch.rows, dimension.handling))
            case NumericDimension():
                dimensions.append(noted(numbers(column, batch.rows, dimension.rule, dimension.kind.dtype.type)))
    inputs = tuple(noted(aggregator.input(batch)) for aggregator in plan.aggregators)
    return Chunk(batch.time_ms, tuple(dimensions), inputs), faults


def _take(values: Values, rows: npt.NDArray[np.int64] | slice) -> Values:
    if isinstance(values, Numbers):
        return values.take(rows)
    if isinstance(values, StringValues):
        return StringValues(values.codes[rows], values.texts, values.lists)
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(len(values))
        return values.slice(start, max(0, stop - start))
    return values.take(pa.array(rows))


def _size_bytes(values: Values) -> int:
    if isinstance(values, Numbers):
        return values.values.nbytes + (0 if values.nulls is None else values.nulls.nbytes)
    if not isinstance(values, StringValues):
        return values.nbytes
    return values.codes.nbytes + values.texts.nbytes + 200 * len(values.lists)
