"""
Reads the scalar columns of `auto` dimensions and schema discovery. Druid: NestedCommonFormatColumnPartSerde,
ScalarStringColumnAndIndexSupplier and its siblings.

The body only names the column: i8 0 | vbyte length | name. The rest lies in internal files `<name>.__…`: a dictionary
whose id 0 is null even when no row is, the ids of rows, the numbers, and a bitmap for each id. Such columns are not
written: ordinary string and numeric columns answer queries alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.columns import StringIds
from peon.segment.cursor import Cursor
from peon.segment.errors import CorruptSegment, UnsupportedFormat
from peon.segment.generic_indexed import IndexedBytes
from peon.segment.ids import Ids, read_compressed_ids
from peon.segment.numeric import NumericArray, NumericKind, read_values
from peon.segment.smoosh import Smoosh
from peon.segment.string_column import StringData, read_dictionary

_HAS_NULL = 1


@dataclass(frozen=True, slots=True)
class AutoNumbers:
    """A numeric `auto` column: numbers, where they are null, and its dictionary with a bitmap for each id."""

    values: NumericArray
    nulls: NDArray[np.bool_]
    dictionary: pa.Array
    bitmaps: IndexedBytes


def read_auto_column(cursor: Cursor, smoosh: Smoosh, logical_type: object) -> StringData | AutoNumbers:
    """Read the column whose body is at the cursor. Raises `CorruptSegment`; `UnsupportedFormat` for arrays and JSON."""
    if (version := cursor.i8("the version of an auto column")) != 0:
        raise cursor.corrupt(f"an auto column of version 0, not {version},")
    try:
        name = str(cursor.take(cursor.vbyte("the length of a name"), "a name"), "utf-8")
    except UnicodeDecodeError as problem:
        raise cursor.corrupt("a name in UTF-8") from problem

    def part(suffix: str) -> Cursor:
        return Cursor(f"{name}.{suffix}", smoosh.file(f"{name}.{suffix}"))

    if logical_type == "STRING":
        dictionary = read_dictionary(part("__stringDictionary"), smoosh)
        ids, bitmaps = _read_ids(part, smoosh, len(dictionary))
        return StringData(dictionary, StringIds(ids), bitmaps)
    if logical_type == "LONG":
        return _read_numbers(part, smoosh, NumericKind.LONG, "__long")
    if logical_type == "DOUBLE":
        return _read_numbers(part, smoosh, NumericKind.DOUBLE, "__double")
    raise UnsupportedFormat(f"column [{name}] is an auto column of type [{logical_type}]")


def _read_numbers(part: Callable[[str], Cursor], smoosh: Smoosh, kind: NumericKind, stem: str) -> AutoNumbers:
    dictionary = _read_fixed_indexed(part(f"{stem}Dictionary"), kind)
    ids, bitmaps = _read_ids(part, smoosh, len(dictionary))
    cursor = part(f"{stem}Column")
    values = read_values(cursor, smoosh, kind)
    if len(values) != len(ids):
        raise cursor.corrupt(f"{len(ids)} values, not {len(values)},")
    nulls = ids == 0 if dictionary.null_count else np.zeros(len(ids), dtype=np.bool_)
    return AutoNumbers(values, nulls, dictionary, bitmaps)


def _read_ids(part: Callable[[str], Cursor], smoosh: Smoosh, cardinality: int) -> tuple[Ids, IndexedBytes]:
    cursor = part("__encodedColumn")
    ids = read_compressed_ids(cursor, smoosh)
    if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < cardinality):
        raise CorruptSegment(cursor.file, f"ids of a dictionary of {cardinality} values")
    cursor = part("__valueIndexes")
    bitmaps = IndexedBytes.read(cursor, smoosh)
    if len(bitmaps) != cardinality:
        raise CorruptSegment(cursor.file, f"{cardinality} bitmaps, not {len(bitmaps)}")
    return ids, bitmaps


def _read_fixed_indexed(cursor: Cursor, kind: NumericKind) -> pa.Array:
    """`i8 0 | i8 flags | little-endian i32 count without the null | values`. Druid: FixedIndexed."""
    cursor.i8("the version of a FixedIndexed")
    flags = cursor.i8("the flags of a FixedIndexed")
    count = int.from_bytes(cursor.take(4, "the number of values"), "little", signed=True)
    values = np.frombuffer(cursor.take(count * kind.dtype.itemsize, "values"), dtype=kind.dtype)
    if not flags & _HAS_NULL:
        return pa.array(values)
    mask = np.zeros(len(values) + 1, dtype=np.bool_)
    mask[0] = True
    return pa.array(np.concatenate([np.zeros(1, dtype=kind.dtype), values]), mask=mask)
