"""
The order of strings: Java's `String.compareTo`, by UTF-16 code units.

It differs from the order of UTF-8 bytes (and code points) only where characters of U+10000 and above, which UTF-16
writes as surrogates D800 to DFFF, meet characters from U+E000 to U+FFFF: U+1F600 comes before U+FF5E.
"""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

StringArray: TypeAlias = pa.StringArray | pa.LargeStringArray


def utf16_key(text: str) -> bytes:
    """A sort key: bytes that compare as Java compares the strings."""
    return text.encode("utf-16-be", "surrogatepass")


def sort_utf16(values: StringArray) -> NDArray[np.int64]:
    """
    The row numbers that put `values` into Java's order, null first; ties stay in their order.

    shape: values.take(result) is sorted
    """
    if not has_astral(values):
        # Below U+10000 the order of UTF-8 bytes, which Arrow sorts by, is the order of UTF-16 units.
        order = pc.array_sort_indices(values, null_placement="at_start")  # pyright: ignore[reportAttributeAccessIssue]
        return order.to_numpy(zero_copy_only=False).astype(np.int64)
    keys = [b"" if text is None else b"\x01" + utf16_key(text) for text in values.to_pylist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def has_astral(values: StringArray) -> bool:
    """Whether some character is U+10000 or above. UTF-8 then has a byte of 0xF0 or above, and only then."""
    data = string_bytes(values)
    return bool(data.size) and int(data.max()) >= 0xF0


def string_offsets(values: StringArray) -> NDArray[np.int64]:
    """Where each string begins in the array's data buffer, and where the last ends: n + 1 numbers."""
    buffer = values.buffers()[1]
    if buffer is None or len(values) == 0:
        return np.zeros(1, dtype=np.int64)
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    offsets = np.frombuffer(buffer, dtype=np.int64 if wide else np.int32)
    return offsets[values.offset : values.offset + len(values) + 1].astype(np.int64)


def string_bytes(values: StringArray) -> NDArray[np.uint8]:
    """The UTF-8 of all strings end to end, a view of the array's buffer."""
    offsets = string_offsets(values)
    buffer = values.buffers()[2]
    if buffer is None or len(offsets) < 2:
        return np.zeros(0, dtype=np.uint8)
    return np.frombuffer(buffer, dtype=np.uint8)[int(offsets[0]) : int(offsets[-1])]


def is_strictly_ascending(values: StringArray) -> bool:
    """Whether every string is greater than the one before in Java's order, a null only at the front."""
    if values.null_count and (values.null_count > 1 or values[0].is_valid):
        return False
    rest = values.slice(values.null_count)
    if len(rest) < 2:
        return True
    if not has_astral(rest):
        return pc.call_function(
            "all", [pc.call_function("less", [rest.slice(0, len(rest) - 1), rest.slice(1)])]
        ).as_py()
    keys = [utf16_key(text) for text in rest.to_pylist()]
    return all(left < right for left, right in pairwise(keys))
