"""
What a segment's columns are, and batches of their rows.

A schema is known whole before the first row: the dictionaries of string columns are final. Rows come in batches, in
the segment's order, strings as ids into their dictionary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.errors import InvalidColumn
from peon.segment.metadata import SegmentMetadata
from peon.segment.numeric import NumericArray, NumericKind
from peon.segment.string_order import StringArray, is_strictly_ascending

TIME_COLUMN = "__time"
"""The column every segment has, milliseconds UTC."""


@dataclass(frozen=True, slots=True)
class StringColumn:
    """
    A string dimension.

    dictionary:   the distinct values that rows may hold, in UTF-16 order (see `sort_utf16`), null first when some
                  row is null or an empty list; a dictionary of null alone makes the column null-only
    multi_value:  whether some row has two or more values
    bitmap_index: false leaves the bitmaps out. Druid: createBitmapIndex
    """

    name: str
    dictionary: StringArray
    multi_value: bool = False
    bitmap_index: bool = True

    @property
    def null_only(self) -> bool:
        """Whether no row has a value."""
        return len(self.dictionary) == 1 and self.dictionary.null_count == 1


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """A dimension or metric of numbers."""

    name: str
    kind: NumericKind


@dataclass(frozen=True, slots=True)
class ComplexColumn:
    """A metric of bytes that an aggregator of this type name can read: `hyperUnique`."""

    name: str
    type_name: str


Column = StringColumn | NumericColumn | ComplexColumn


@dataclass(frozen=True, slots=True)
class SegmentSchema:
    """
    All that is known of a segment before its rows.

    interval:   start and end in milliseconds of the time chunk, not of the data
    dimensions: in the spec's order, string or numeric; a column that shall not be stored is left out
    metrics:    in the spec's order
    """

    interval: tuple[int, int]
    dimensions: Sequence[StringColumn | NumericColumn]
    metrics: Sequence[NumericColumn | ComplexColumn] = ()
    metadata: SegmentMetadata = field(default_factory=SegmentMetadata)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for column in [*self.dimensions, *self.metrics]:
            check_name(column.name)
            if column.name in seen:
                raise InvalidColumn(column.name, "there are two columns of this name among dimensions and metrics")
            seen.add(column.name)
            if isinstance(column, StringColumn):
                if not len(column.dictionary):
                    raise InvalidColumn(column.name, "its dictionary is empty")
                if not is_strictly_ascending(column.dictionary):
                    raise InvalidColumn(column.name, "its dictionary is not in ascending UTF-16 order, null first")


@dataclass(frozen=True, slots=True)
class StringIds:
    """One value a row: int32[n] ids."""

    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class StringLists:
    """Any number of values a row: row r holds `ids[offsets[r]:offsets[r + 1]]`; int64[n + 1] offsets, int32[m] ids."""

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of the column's kind, and bool[n] where they are null (None: nowhere)."""

    values: NumericArray
    nulls: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Blobs:
    """Serialized complex values, null where there is no object."""

    values: pa.BinaryArray | pa.LargeBinaryArray


Values = StringIds | StringLists | Numbers | Blobs


@dataclass(frozen=True, slots=True)
class RowBatch:
    """
    Rows in the segment's order. The arrays belong to the writer once given and must not change.

    time_ms: int64[n]
    columns: by name, every column of the schema but the null-only ones, n rows each
    """

    time_ms: NDArray[np.int64]
    columns: Mapping[str, Values]

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return len(self.time_ms)


def check_name(name: str) -> None:
    """Raises `InvalidColumn` for a name that no column of a segment can have."""
    if not name:
        raise InvalidColumn(name, "a column must have a name")
    if name == TIME_COLUMN:
        raise InvalidColumn(name, "the name is kept for the time column")
    if "," in name or "\n" in name or "\r" in name:
        # The index of internal files separates its entries so. Druid: "Wrong number of splits"
        raise InvalidColumn(
            name,
            "its name holds a comma or line break, at which Druid splits the lines of a segment's index (meta.smoosh); "
            "rename it in the input, or leave it out by dimensionsSpec.dimensionExclusions",
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidColumn(name, "its name is not Unicode text") from None
