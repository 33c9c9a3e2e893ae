"""
What can be wrong with a segment.

    NemetonError
    ├── InvalidInput
    │   ├── InvalidColumn        a column that the format cannot hold, or rows that do not fit their column
    │   └── UnsupportedFormat    an index spec, or a part of a segment, that this program does not write or read
    ├── CapacityExceeded
    │   └── SegmentTooLarge      an internal file beyond what one chunk may hold
    └── StorageError
        └── CorruptSegment       a file that does not hold what its format promises
"""

import struct
from collections.abc import Generator
from contextlib import contextmanager

import pyarrow as pa

from druid_core.errors import CapacityExceeded, InvalidInput, StorageError


class InvalidColumn(InvalidInput):
    """A column that the format cannot hold, or rows that do not fit the column they are for."""

    def __init__(self, column: str, rule: str) -> None:
        self.column = column
        self.rule = rule
        super().__init__(f"Column [{column}] cannot be stored in a segment: {rule}")


class UnsupportedFormat(InvalidInput):
    """An option of the index spec, or a part of a segment, that this program does not write or read."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"Unsupported segment format: {what}")


class SegmentTooLarge(CapacityExceeded):
    """An internal file is larger than a chunk may be. Druid: FileSmoosher's "Asked to add buffers … larger than"."""

    def __init__(self, name: str, size_bytes: int, limit_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"Internal file [{name}] has {size_bytes} bytes, a chunk holds at most {limit_bytes}")


class CorruptSegment(StorageError):
    """A file of a segment does not hold what its format promises."""

    def __init__(self, file: str, expected: str) -> None:
        self.file = file
        self.expected = expected
        super().__init__(f"Corrupt segment: [{file}] should hold {expected}")


@contextmanager
def corrupt_unless_readable(file: str, expected: str) -> Generator[None]:
    """Turn what libraries say of bytes they cannot read into `CorruptSegment`, naming the file and the expectation."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error, pa.ArrowException) as problem:
        raise CorruptSegment(file, expected) from problem
