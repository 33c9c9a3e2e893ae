"""The JSON at the head of a column's file: its type and how its body is to be read. Druid: ColumnDescriptor."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from peon.segment.columns import ComplexColumn, NumericColumn, StringColumn
from peon.segment.cursor import Cursor
from peon.segment.metadata import ROARING

# The order of bytes inside value blocks; headers, offsets and lengths are big-endian in any case.
_LITTLE_ENDIAN = "LITTLE_ENDIAN"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a column is, and the JSON of its only part."""

    value_type: str
    has_multiple_values: bool
    part: Mapping[str, Any]

    @property
    def part_type(self) -> str:
        """The part's type: `stringDictionary`, `longV2`, `null` …"""
        return str(self.part.get("type"))

    def to_bytes(self) -> bytes:
        """The descriptor as it stands before the body."""
        raw = orjson.dumps(
            {"valueType": self.value_type, "hasMultipleValues": self.has_multiple_values, "parts": [self.part]}
        )
        return struct.pack(">i", len(raw)) + raw

    @staticmethod
    def read(cursor: Cursor) -> "Descriptor":
        """Read the descriptor, after which the cursor stands on the body. Raises `CorruptSegment`."""
        raw: dict[str, Any] = cursor.json("a column descriptor")
        value_type: Any = raw.get("valueType")
        parts: Any = raw.get("parts")
        # Druid writes one part a column and has for years.
        if not isinstance(value_type, str) or not isinstance(parts, list) or len(parts) != 1:
            raise cursor.corrupt("a column descriptor of a value type and one part")
        part: Any = parts[0]
        if not isinstance(part, Mapping):
            raise cursor.corrupt("a column part as a JSON object")
        order: Any = part.get("byteOrder", _LITTLE_ENDIAN)
        if order != _LITTLE_ENDIAN:
            raise cursor.corrupt(f"little-endian values, not {order},")
        return Descriptor(value_type, raw.get("hasMultipleValues") is True, part)


def descriptor_of(column: StringColumn | NumericColumn | ComplexColumn, rows: int) -> Descriptor:
    """The descriptor that Druid 37 writes for a column."""
    match column:
        case StringColumn() if column.null_only:
            part = {"type": "null", "numRows": rows, "bitmapSerdeFactory": ROARING}
            return Descriptor("STRING", False, part)
        case StringColumn():
            part = {"type": "stringDictionary", "bitmapSerdeFactory": ROARING, "byteOrder": _LITTLE_ENDIAN}
            return Descriptor("STRING", column.multi_value, part)
        case NumericColumn():
            part = {"type": column.kind.part_type, "byteOrder": _LITTLE_ENDIAN, "bitmapSerdeFactory": ROARING}
            return Descriptor(column.kind.value, False, part)
        case ComplexColumn():
            return Descriptor("COMPLEX", False, {"type": "complex", "typeName": column.type_name})
