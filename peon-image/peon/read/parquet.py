"""Parquet files, batch by batch, and only the columns that somebody wants. Druid: ParquetInputFormat, ParquetReader"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet

from druid_core.errors import TaskFailure
from druid_core.spec.input import ParquetFormat
from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.read.entity import InputEntity
from peon.read.event import event_text
from peon.read.fields import FieldSelection
from peon.read.json_path import FlattenedField, flattened_fields
from peon.read.records import RecordBatch
from peon.read.tokens import value_at
from peon.report.meters import RowMeters

_BATCH_ROWS = 1 << 16
"""Rows read at once: enough to amortise a call, little enough for wide files."""


def parquet_batches(
    entity: InputEntity,
    format: ParquetFormat,  # noqa: A002
    fields: FieldSelection,
    time_column: str,
    meters: RowMeters,
    scratch_dir: Path,
) -> Iterator[RecordBatch]:
    """
    The records of one file, which is fetched first unless it lies here uncompressed.

    Raises TaskFailure that names the file if it is not parquet.
    """
    path = entity.fetched(scratch_dir)
    try:
        meters.processed_bytes(path.stat().st_size)
        reader = _ParquetRecords(format, fields, time_column)
        with pyarrow.parquet.ParquetFile(path) as file:
            names = reader.needed(file.schema_arrow)
            for batch in file.iter_batches(_BATCH_ROWS, columns=names):
                if batch.num_rows:
                    yield reader.records(batch)
    except (pa.ArrowException, OSError) as error:
        raise TaskFailure(f"Cannot read [{entity.name}] as parquet: {error}") from error
    finally:
        if path != entity.file:
            path.unlink(missing_ok=True)


class _ParquetRecords:
    """From Arrow batches to record batches."""

    def __init__(self, format: ParquetFormat, fields: FieldSelection, time_column: str) -> None:  # noqa: A002
        self._fields = fields
        self._time_column = time_column
        self._binary_as_string = format.binary_as_string
        self._flattened = {field.name: field for field in flattened_fields(format.flatten_spec)}
        self._discovers_roots = format.flatten_spec is None or format.flatten_spec.use_field_discovery

    def needed(self, schema: pa.Schema) -> list[str]:
        """The top-level columns to read. A flattened field may come from any of them."""
        if self._flattened or (self._fields.discover and self._discovers_roots):
            return list(schema.names)
        wanted = {*self._fields.names, self._time_column}
        return [name for name in schema.names if name in wanted]

    def records(self, batch: pa.RecordBatch) -> RecordBatch:
        """The columns of a batch."""
        columns = {name: self._column(name, batch) for name in self._names(batch.schema)}
        time = self._column(self._time_column, batch)
        return RecordBatch(
            rows=batch.num_rows,
            columns={name: column for name, column in columns.items() if column is not None},
            time=time,
            event_text=lambda row: event_text(
                {name: value_at(column, row) for name, column in self._shown(batch, time, columns).items()}
            ),
            lines=None,
            empty_counts=True,
        )

    def _names(self, schema: pa.Schema) -> list[str]:
        names = [*self._fields.names]
        if self._fields.discover:
            names += [name for name in self._flattened if self._fields.wants(name)]
            if self._discovers_roots:
                names += [
                    field.name
                    for field in schema
                    if self._fields.wants(field.name) and (self._fields.nested or _is_flat(field.type))
                ]
        return list(dict.fromkeys(names))

    def _shown(
        self, batch: pa.RecordBatch, time: RawColumn | None, columns: dict[str, RawColumn | None]
    ) -> dict[str, RawColumn]:
        """The fields of a message about a record, in the order of the file: those that were read."""
        read = {**columns, self._time_column: time}
        order = [*self._flattened, *batch.schema.names]
        return {name: column for name in dict.fromkeys(order) if (column := read.get(name)) is not None}

    def _column(self, name: str, batch: pa.RecordBatch) -> RawColumn | None:
        if name in self._flattened:
            return self._along(self._flattened[name], batch)
        if name not in batch.schema.names:
            return None
        return self._typed(batch.column(batch.schema.get_field_index(name)))

    def _along(self, field: FlattenedField, batch: pa.RecordBatch) -> RawColumn:
        """A flattened field: by columns along plain members, else record by record."""
        steps = field.members
        if steps and steps[0] in batch.schema.names:
            values: Any = batch.column(batch.schema.get_field_index(steps[0]))
            for step in steps[1:]:
                if not pa.types.is_struct(values.type) or values.type.get_field_index(step) < 0:
                    break
                values = pc.struct_field(values, step)
            else:
                return self._typed(values)
        found = [field.find(record) for record in batch.to_pylist()]
        return RawColumn(pa.array([None if v is None else _token(v) for v in found], pa.string()), Encoding.TOKEN)

    def _typed(self, values: Any) -> RawColumn:
        """The types of parquet as those that Druid knows. Druid: ParquetGroupConverter"""
        kind = values.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return RawColumn(values.cast(pa.string()), Encoding.TEXT)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            return RawColumn(pa.array([self._binary(v) for v in values.to_pylist()], pa.string()), Encoding.TEXT)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
            tokens = [None if value is None else _token(value) for value in values.to_pylist()]
            return RawColumn(pa.array(tokens, pa.string()), Encoding.TOKEN)
        return RawColumn(_number(values), Encoding.TYPED)

    def _binary(self, value: bytes | None) -> str | None:
        if value is None:
            return None
        return value.decode("utf-8", "replace") if self._binary_as_string else base64.b64encode(value).decode()


def _number(values: Any) -> Any:
    """Times as milliseconds, whole numbers as long, decimals as double; other values as they are."""
    kind = values.type
    if pa.types.is_date(kind):
        return pc.cast(pc.cast(values, pa.timestamp("ms")), pa.int64())
    if pa.types.is_timestamp(kind):
        # A zone says only how to print it; what is finer than milliseconds is cut towards the past.
        plain = pc.cast(pc.cast(values, pa.int64()), pa.timestamp(kind.unit))
        return pc.cast(pc.cast(pc.floor_temporal(plain, unit="millisecond"), pa.timestamp("ms")), pa.int64())
    if pa.types.is_time(kind):
        return values.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.int64())
    if pa.types.is_integer(kind):
        return pc.cast(values, pa.int64(), safe=False)
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return pc.cast(values, pa.float64())
    return values


def _is_flat(kind: Any) -> bool:
    """Druid: ParquetGroupFlattenerMaker.discoverRootFields"""
    return not pa.types.is_nested(kind) or (pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type))


def _token(value: Any) -> str:
    return orjson.dumps(
        value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    ).decode()


def _plain(value: Any) -> Any:
    """Values inside lists and structs that JSON has no word for."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    number = _number(pa.array([value]))[0].as_py()
    return str(value) if isinstance(number, type(value)) else number
