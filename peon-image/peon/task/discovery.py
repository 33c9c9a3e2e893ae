"""
Which columns a segment gets when the spec does not list them all, and of which type.

Listed ones come first, then every other field in order of appearance: as strings, or with `useSchemaDiscovery` (and
for listed dimensions of type `auto`) as what their values are. Druid: DimensionsSpec, AutoTypeColumnIndexer
"""

from enum import Enum

import pyarrow as pa

from druid_core.errors import TaskFailure
from druid_core.spec.dimension import AutoDimension
from druid_core.spec.schema import DataSchema
from peon.arrow import compute as pc
from peon.batch import Encoding, InputBatch, RawColumn
from peon.build.plan import Dimension, StringDimension, dimension, numeric_dimension
from peon.read.fields import FieldSelection
from peon.segment.columns import check_name
from peon.segment.numeric import NumericKind


class ValueType(Enum):
    """What a value of an `auto` column was in the input."""

    LONG = "long"  # an integer or a boolean
    DOUBLE = "double"  # a number with a fraction or an exponent
    STRING = "string"
    LIST = "array"
    OBJECT = "object"


_BY_FIRST_CHARACTER = {'"': ValueType.STRING, "[": ValueType.LIST, "{": ValueType.OBJECT}


def listed_dimensions(schema: DataSchema) -> tuple[Dimension, ...]:
    """The dimensions of a spec that lists them all with their types."""
    return tuple(
        dimension(listed) for listed in schema.dimensions_spec.dimensions if not isinstance(listed, AutoDimension)
    )


class Discovery:
    """What a pass over the input finds."""

    def __init__(self, schema: DataSchema) -> None:
        self._spec = schema.dimensions_spec
        self._seen: dict[str, set[ValueType]] = {}

    @property
    def is_needed(self) -> bool:
        """Whether the spec leaves names or types open."""
        return self._spec.discovers or any(isinstance(listed, AutoDimension) for listed in self._spec.dimensions)

    @property
    def fields(self) -> FieldSelection:
        """What the pass has to read."""
        if self._spec.discovers:
            return FieldSelection(
                discover=True,
                exclusions=frozenset(self._spec.dimension_exclusions),
                nested=self._spec.use_schema_discovery,
            )
        return FieldSelection(
            tuple([listed.name for listed in self._spec.dimensions if isinstance(listed, AutoDimension)])
        )

    def look_at(self, batch: InputBatch) -> None:
        """Take in the names and types of a batch. Raises InvalidColumn for a name that no segment can hold."""
        for name, column in batch.columns.items():
            if name not in self._seen:
                check_name(name)  # now, and not when the first segment is written
            self._seen.setdefault(name, set()).update(_types(column))

    def dimensions(self) -> tuple[Dimension, ...]:
        """
        All dimensions, after the whole input was looked at.

        Raises TaskFailure for an `auto` column of arrays or objects, which cannot be stored yet.
        """
        spec = self._spec
        found = [
            self._resolved(listed) if isinstance(listed, AutoDimension) else dimension(listed)
            for listed in spec.dimensions
        ]
        if self._spec.discovers:
            known = {listed.name for listed in spec.dimensions}
            for name, types in self._seen.items():
                if name in known:
                    continue
                if spec.use_schema_discovery:
                    found.append(_dimension_of(name, types))
                else:
                    found.append(StringDimension(name, "SORTED_ARRAY", bitmap_index=True))
        return tuple(found)

    def _resolved(self, listed: AutoDimension) -> Dimension:
        if listed.cast_to_type is None:
            return _dimension_of(listed.name, self._seen.get(listed.name, set()))
        wanted = listed.cast_to_type.upper()
        if wanted == "STRING":
            return StringDimension(listed.name, "ARRAY", bitmap_index=True)
        if wanted not in NumericKind.__members__:
            raise TaskFailure(f"Column [{listed.name}]: castToType [{wanted}] cannot be stored yet")
        return numeric_dimension(listed.name, NumericKind[wanted])


def _dimension_of(name: str, types: set[ValueType]) -> Dimension:
    if types & {ValueType.LIST, ValueType.OBJECT}:
        kinds = " and ".join(sorted(kind.value for kind in types & {ValueType.LIST, ValueType.OBJECT}))
        raise TaskFailure(
            f"Column [{name}] holds values of type {kinds}, which schema discovery cannot store yet; list it in "
            'dimensionsSpec as {"type": "string"} for a multi-value column, or exclude it'
        )
    if types == {ValueType.LONG}:
        return numeric_dimension(name, NumericKind.LONG)
    if types and types <= {ValueType.LONG, ValueType.DOUBLE}:
        return numeric_dimension(name, NumericKind.DOUBLE)
    return StringDimension(name, "ARRAY", bitmap_index=True)


def _types(column: RawColumn) -> set[ValueType]:
    values = column.values
    if values.null_count == len(values):
        return set()
    if column.encoding is Encoding.TEXT:
        return {ValueType.STRING}
    if column.encoding is Encoding.TYPED:
        return {_arrow_type(values.type)}
    return {_token_type(token) for token in pc.unique(values).to_pylist() if token is not None}


def _token_type(token: str) -> ValueType:
    if token in ("true", "false"):
        return ValueType.LONG
    known = _BY_FIRST_CHARACTER.get(token[0])
    if known is not None:
        return known
    return ValueType.DOUBLE if any(mark in token for mark in ".eEnN") else ValueType.LONG


def _arrow_type(kind: pa.DataType) -> ValueType:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return ValueType.LONG
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ValueType.DOUBLE
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return ValueType.LIST
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return ValueType.OBJECT
    return ValueType.STRING
