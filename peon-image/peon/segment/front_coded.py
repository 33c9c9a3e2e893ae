"""
A sorted dictionary in buckets whose values share prefixes. Druid: FrontCodedIndexed, FrontCodedIndexedWriter.

    i8 0x7F | i8 1 | i8 format version | i8 bucket size | i8 has null | vbyte n | vbyte size | offsets | buckets
The offsets are little-endian ints, the end of every bucket but the last. A bucket is its first value, `vbyte length`
and bytes, then for each other value `vbyte prefix | vbyte length | bytes`, the prefix shared with the bucket's first
value (format version 0) or with the value before (1). A null is not stored; when there is one it is id 0.
"""

import struct
from itertools import pairwise

import numpy as np
import pyarrow as pa

from peon.segment.cursor import Cursor, encode_vbyte
from peon.segment.errors import corrupt_unless_readable
from peon.segment.generic_indexed import as_strings
from peon.segment.index_spec import FrontCoded
from peon.segment.string_order import StringArray, string_bytes, string_offsets

MARKER = 0x7F
"""Where a GenericIndexed has its version. Druid: EncodedStringDictionaryWriter.VERSION"""

_FRONT_CODED_ID = 1
_MAX_VALUE_BYTES = (1 << 31) - 1


def front_coded(dictionary: StringArray, form: FrontCoded) -> bytes:
    """The bytes of a dictionary of ascending values, null first."""
    offsets = string_offsets(dictionary).tolist()
    data = string_bytes(dictionary).tobytes()
    base = offsets[0]
    has_null = dictionary.null_count > 0
    values = [data[start - base : end - base] for start, end in pairwise(offsets)][1 if has_null else 0 :]
    buckets = bytearray()
    ends: list[int] = []
    for first in range(0, len(values), form.bucket_size):
        bucket = values[first : first + form.bucket_size]
        buckets += encode_vbyte(len(bucket[0])) + bucket[0]
        shared_with = bucket[0]
        for value in bucket[1:]:
            prefix = _shared_prefix(shared_with, value)
            buckets += encode_vbyte(prefix) + encode_vbyte(len(value) - prefix) + value[prefix:]
            if form.format_version == 1:
                shared_with = value
        ends.append(len(buckets))
    stored_ends = struct.pack(f"<{max(len(ends) - 1, 0)}i", *ends[:-1])
    return (
        bytes([MARKER, _FRONT_CODED_ID, form.format_version, form.bucket_size, has_null])
        + encode_vbyte(len(values))
        + encode_vbyte(len(stored_ends) + len(buckets))
        + stored_ends
        + bytes(buckets)
    )


def read_front_coded(cursor: Cursor) -> StringArray:
    """Read the dictionary at the cursor, which stands on the marker. Raises `CorruptSegment`."""
    cursor.i8("the marker of an encoded dictionary")
    if (encoding := cursor.i8("a dictionary encoding")) != _FRONT_CODED_ID:
        raise cursor.corrupt(f"a front coded dictionary, not encoding {encoding},")
    version = cursor.i8("the version of a front coded dictionary")
    bucket_size = cursor.i8("a bucket size")
    has_null = cursor.i8("whether there is a null")
    count = cursor.vbyte("the number of values")
    body = Cursor(cursor.file, cursor.take(cursor.vbyte("the size of the buckets"), "the buckets"))
    if version > 1 or has_null > 1 or not 1 <= bucket_size <= 128 or bucket_size & (bucket_size - 1):
        raise cursor.corrupt("a front coded dictionary of version 0 or 1 in buckets of a power of two,")
    body.take(4 * max(-(-count // bucket_size) - 1, 0), "the offsets of buckets")
    # Values expand by their prefixes: a file may not claim more than a dictionary could hold.
    values: list[bytes] = []
    total = 0
    shared_with = b""
    for index in range(count):
        if index % bucket_size == 0:
            value = bytes(body.take(body.vbyte("the length of a value"), "a value"))
            shared_with = value
        else:
            prefix = body.vbyte("the length of a prefix")
            if prefix > len(shared_with):
                raise body.corrupt(f"a prefix of at most {len(shared_with)} bytes, not {prefix},")
            value = shared_with[:prefix] + bytes(body.take(body.vbyte("the length of a value"), "a value"))
            if version == 1:
                shared_with = value
        total += len(value)
        if total > _MAX_VALUE_BYTES:
            raise body.corrupt("values of less than 2 GiB")
        values.append(value)
    ends = np.cumsum([0] * (1 + has_null) + [len(value) for value in values], dtype=np.int64)
    valid = np.packbits(np.arange(count + has_null) >= has_null, bitorder="little")
    binaries = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), count + has_null, [pa.py_buffer(valid), pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    )
    with corrupt_unless_readable(cursor.file, "strings in UTF-8"):
        return as_strings(binaries)


def _shared_prefix(left: bytes, right: bytes) -> int:
    limit = min(len(left), len(right))
    for at in range(limit):
        if left[at] != right[at]:
            return at
    return limit
