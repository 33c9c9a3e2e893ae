"""Sorted runs on disk, for inputs larger than memory. Druid: FireHydrant, intermediate persists"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from peon.build.entries import Entries, Lists
from peon.build.plan import BuildPlan, StringDimension
from peon.build.sorted_rows import Dimension, RowSlice, SortedRows
from peon.build.values import Numbers

_BATCH_ROWS = 65_536
"""Rows of one record batch: a merge of a hundred spills then holds a few hundred MiB."""


@dataclass(frozen=True, slots=True)
class Spill:
    """A sorted run in a file of Arrow's IPC format, its entries beside it."""

    path: Path
    rows: int
    plan: BuildPlan

    @property
    def entries(self) -> tuple[Entries | None, ...]:
        """Read anew at each call: they are needed once, when runs are merged."""
        return tuple(
            _read_entries(self._part(index)) if isinstance(dimension, StringDimension) else None
            for index, dimension in enumerate(self.plan.dimensions)
        )

    def slices(self, rows: int) -> Iterator[RowSlice]:
        """All rows in order, at most `rows` at a time."""
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                for start in range(0, batch.num_rows, rows):
                    yield self._slice(batch.slice(start, rows))

    def remove(self) -> None:
        """Delete the files."""
        for path in (self.path, *(self._part(index) for index in range(len(self.plan.dimensions)))):
            path.unlink(missing_ok=True)

    def _part(self, index: int) -> Path:
        return self.path.with_suffix(f".entries{index}")

    def _slice(self, batch: pa.RecordBatch) -> RowSlice:
        columns = batch.columns
        count = len(self.plan.dimensions)
        dimensions = tuple(_numpy_column(column) for column in columns[1 : 1 + count])
        states = tuple(
            column if pa.types.is_large_binary(column.type) else _numbers(column) for column in columns[1 + count :]
        )
        return RowSlice(_values(columns[0]), dimensions, states)


def spill(rows: SortedRows, path: Path, plan: BuildPlan) -> Spill:
    """Write a run to `path` (and its entries beside it)."""
    written = Spill(path, rows.rows, plan)
    for index, entries in enumerate(rows.entries):
        if entries is not None:
            _write_entries(entries, path.with_suffix(f".entries{index}"))
    columns = [pa.array(rows.whole.time_ms), *map(_arrow_column, rows.whole.dimensions)]
    columns += [_arrow_column(state) if isinstance(state, Numbers) else state for state in rows.whole.states]
    batch = pa.record_batch(columns, names=[str(index) for index in range(len(columns))])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            writer.write_batch(batch.slice(start, _BATCH_ROWS))
    return written


def _arrow_column(values: Dimension) -> pa.Array:
    if isinstance(values, Numbers):
        return pa.array(values.values, mask=values.nulls)
    return pa.array(values)


def _numpy_column(column: pa.Array) -> Dimension:
    return _values(column) if pa.types.is_int32(column.type) else _numbers(column)


def _numbers(column: pa.Array) -> Numbers:
    nulls = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    return Numbers(_values(column if nulls is None else column.fill_null(0)), nulls)


def _values(column: pa.Array) -> np.ndarray:
    # A copy: the memory map ends before the rows do.
    return column.to_numpy(zero_copy_only=False).copy()


def _write_entries(entries: Entries, path: Path) -> None:
    lists = entries.lists
    columns: dict[str, pa.Array] = {"texts": _listed(entries.texts)}
    if lists is not None:
        for name, values in (("offsets", lists.offsets), ("ids", lists.ids), ("ranks", lists.ranks)):
            columns[name] = _listed(pa.array(values))
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _listed(values: pa.Array) -> pa.Array:
    """A column of one row that holds all the values, so that columns of different lengths share a table."""
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def _read_entries(path: Path) -> Entries:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    parts = {name: table[name].combine_chunks().flatten() for name in table.column_names}
    lists = None
    if "ids" in parts:
        offsets, ids, ranks = (parts[name].to_numpy(zero_copy_only=False) for name in ("offsets", "ids", "ranks"))
        lists = Lists(offsets, ids, ranks)
    return Entries(parts["texts"], lists)
