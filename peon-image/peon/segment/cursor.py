"""
A place in the bytes of one internal file, from which values are taken in order.

Every taking checks that the bytes are there, so a truncated or lying file ends in `CorruptSegment` and nothing is
allocated on the word of a corrupt length.
"""

from dataclasses import dataclass

import orjson

from peon.segment.errors import CorruptSegment, corrupt_unless_readable


@dataclass(slots=True)
class Cursor:
    """Reads `data` forward. Numbers are signed and big-endian, as in Druid's ByteBuffer, unless named otherwise."""

    file: str
    data: memoryview
    position: int = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self.data) - self.position

    def corrupt(self, expected: str) -> CorruptSegment:
        """The error to raise when what stands here is not `expected`."""
        return CorruptSegment(self.file, f"{expected} near byte {self.position}")

    def take(self, size: int, what: str) -> memoryview:
        """The next `size` bytes, not copied."""
        if size < 0 or size > self.remaining:
            raise self.corrupt(f"{what} ({size} bytes, {self.remaining} are left)")
        start = self.position
        self.position = start + size
        return self.data[start : self.position]

    def i8(self, what: str) -> int:
        """One byte, unsigned: versions, flags and compression ids are compared as unsigned here."""
        return self.take(1, what)[0]

    def i32(self, what: str) -> int:
        """A big-endian signed int."""
        return int.from_bytes(self.take(4, what), "big", signed=True)

    def i64(self, what: str) -> int:
        """A big-endian signed long."""
        return int.from_bytes(self.take(8, what), "big", signed=True)

    def count(self, what: str) -> int:
        """A big-endian int that must not be negative."""
        number = self.i32(what)
        if number < 0:
            raise self.corrupt(f"{what}, not {number}")
        return number

    def vbyte(self, what: str) -> int:
        """An int of 7-bit groups, low group first, the high bit set on the last byte. Druid: VByte."""
        number = 0
        for shift in range(0, 35, 7):
            byte = self.i8(what)
            number |= (byte & 0x7F) << shift
            if byte & 0x80:
                return number
        raise self.corrupt(f"{what} of at most five bytes")

    def text(self, what: str) -> str:
        """An i32 length and as many bytes of UTF-8. Druid: SerializerUtils.readString."""
        raw = self.take(self.i32(what), what)
        with corrupt_unless_readable(self.file, f"{what} in UTF-8"):
            return str(raw, "utf-8")

    def json(self, what: str) -> dict[str, object]:
        """A `text` that holds a JSON object."""
        return json_object(self.file, self.text(what).encode(), what)

    def fork(self) -> "Cursor":
        """Another cursor at the same place."""
        return Cursor(self.file, self.data, self.position)


def json_object(file: str, raw: bytes | memoryview, what: str) -> dict[str, object]:
    """Parse a JSON object, or say that `file` should hold one."""
    with corrupt_unless_readable(file, f"{what} as a JSON object"):
        value = orjson.loads(raw)
    if not isinstance(value, dict):
        raise CorruptSegment(file, f"{what} as a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]


def encode_vbyte(number: int) -> bytes:
    """The bytes that `Cursor.vbyte` reads back."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F)
        number >>= 7
    out.append(number | 0x80)
    return bytes(out)
