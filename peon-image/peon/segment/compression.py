"""
How a block of a column is compressed.

A reader of Druid decompresses into a buffer of 64 KiB, so no block may ever expand to more.
"""

from enum import Enum

import cramjam
import lz4.block
import pyarrow as pa

from peon.segment.errors import CorruptSegment, UnsupportedFormat

MAX_BLOCK_BYTES = 65536
"""What a block may expand to. Druid: CompressedPools.BUFFER_SIZE."""

# High compression at level 9 gives the very bytes of Druid; Arrow's build of it is faster than that of the lz4 package.
# Druid: LZ4Factory.highCompressor()
_LZ4_HIGH = pa.Codec("lz4_raw", compression_level=9)


class Compression(Enum):
    """A compression strategy, its value the byte on disk. Druid: CompressionStrategy."""

    LZF = 0x00  # old segments only: read, not written
    LZ4 = 0x01  # the default: raw LZ4 blocks, no frame, no size prefix
    ZSTD = 0x02
    UNCOMPRESSED = 0xFF  # blocks, each stored as it is
    NONE = 0xFE  # no blocks at all; numeric columns only

    @property
    def json_name(self) -> str:
        """The name in an index spec."""
        return self.name.lower()

    @staticmethod
    def from_json(name: str) -> "Compression":
        """The strategy of an index spec's name; upper and lower case alike. Raises `UnsupportedFormat`."""
        try:
            return Compression[name.upper()]
        except KeyError:
            raise UnsupportedFormat(f"compression [{name}]") from None

    def compress(self, block: bytes | memoryview) -> bytes:
        """Compress one block of at most 64 KiB."""
        match self:
            case Compression.LZ4:
                return _LZ4_HIGH.compress(block, asbytes=True)
            case Compression.ZSTD:
                return bytes(memoryview(cramjam.zstd.compress(block, 3)))
            case Compression.UNCOMPRESSED | Compression.NONE:
                return bytes(block)
            case Compression.LZF:
                raise UnsupportedFormat("compression [lzf] is read but not written; use lz4")

    def decompress(self, block: bytes | memoryview, size: int, file: str) -> bytes:
        """Expand one block that must hold `size` bytes, at most 64 KiB. Raises `CorruptSegment`, naming `file`."""
        expected = f"a block of {size} bytes compressed with {self.json_name}"
        if size > MAX_BLOCK_BYTES:
            raise CorruptSegment(file, f"blocks of at most {MAX_BLOCK_BYTES} bytes, not {size}")
        data = self._expand(block, size, file, expected)
        if len(data) != size:
            raise CorruptSegment(file, expected)
        return data

    def decompress_any(self, block: bytes | memoryview, file: str) -> bytes:
        """Expand one block of at most 64 KiB whose size nothing tells. Raises `CorruptSegment`, naming `file`."""
        expected = f"a block of at most {MAX_BLOCK_BYTES} bytes compressed with {self.json_name}"
        return self._expand(block, MAX_BLOCK_BYTES, file, expected)

    def _expand(self, block: bytes | memoryview, limit: int, file: str, expected: str) -> bytes:
        try:
            match self:
                case Compression.LZ4:
                    return lz4.block.decompress(block, uncompressed_size=limit) if limit else b""
                case Compression.ZSTD:
                    room = bytearray(limit)
                    return bytes(room[: cramjam.zstd.decompress_into(block, room)])
                case Compression.LZF:
                    return _expand_lzf(bytes(block), limit)
                case Compression.UNCOMPRESSED | Compression.NONE:
                    return bytes(block)
        except (lz4.block.LZ4BlockError, cramjam.DecompressionError, ValueError, IndexError) as problem:
            raise CorruptSegment(file, expected) from problem


def _expand_lzf(block: bytes, size: int) -> bytes:
    """Expand chunks `ZV`, type, lengths, data. Druid: com.ning.compress.lzf.LZFDecoder."""
    out = bytearray()
    at = 0
    while at < len(block):
        if block[at : at + 2] != b"ZV" or len(out) > size:
            raise ValueError("not an LZF chunk")
        stored = int.from_bytes(block[at + 3 : at + 5], "big")
        if block[at + 2] == 0:
            out += block[at + 5 : at + 5 + stored]
            at += 5 + stored
        else:
            _expand_lzf_chunk(block[at + 7 : at + 7 + stored], out, size)
            at += 7 + stored
    return bytes(out)


def _expand_lzf_chunk(chunk: bytes, out: bytearray, size: int) -> None:
    start = len(out)
    at = 0
    while at < len(chunk):
        control = chunk[at]
        at += 1
        if control < 32:  # a run of control + 1 literal bytes
            out += chunk[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5  # a copy of what came before
        if length == 7:
            length += chunk[at]
            at += 1
        source = len(out) - ((control & 31) << 8) - chunk[at] - 1
        at += 1
        if source < start or len(out) > size:
            raise ValueError("a copy from before the chunk")
        for step in range(length + 2):
            out.append(out[source + step])
