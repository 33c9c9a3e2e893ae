"""
A run of fixed-width values cut into compressed blocks, the elements of a GenericIndexed.

All blocks but the last hold exactly as many values as the header says; the last one is short, not padded.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from peon.segment.compression import MAX_BLOCK_BYTES, Compression
from peon.segment.cursor import Cursor
from peon.segment.generic_indexed import IndexedBytes, IndexedWriter
from peon.segment.scratch import Stored
from peon.segment.smoosh import Smoosh
from peon.segment.workbench import Workbench

# Blocks that may wait for their compression: some for every thread, a few megabytes at most.
_MAX_IN_FLIGHT = 32


class BlockWriter:
    """Takes bytes of any length, compresses full blocks on the bench's threads and keeps them in order."""

    def __init__(self, bench: Workbench, compression: Compression, block_bytes: int) -> None:
        self._bench = bench
        self._compression = compression
        self._block_bytes = block_bytes
        self._pending = bytearray()
        self._in_flight: deque[Future[bytes]] = deque()
        self._stored = IndexedWriter(bench)
        self.size = 0

    def write(self, data: memoryview) -> None:
        """Append plain bytes. The bytes must not change afterwards: full blocks are compressed where they lie."""
        self.size += len(data)
        at = 0
        if self._pending:
            at = min(self._block_bytes - len(self._pending), len(data))
            self._pending += data[:at]
            if len(self._pending) < self._block_bytes:
                return
            self._compress(memoryview(bytes(self._pending)))
            self._pending.clear()
        while len(data) - at >= self._block_bytes:
            self._compress(data[at : at + self._block_bytes])
            at += self._block_bytes
        self._pending += data[at:]

    def write_block(self, block: bytes) -> None:
        """Append bytes that are a block of their own, for encodings that pad their blocks."""
        self.size += len(block)
        self._compress(memoryview(block))

    def blocks(self) -> Iterator[bytes]:
        """All that was written, block by block, expanded again."""
        self._end_last_block()
        last = self._stored.count - 1
        for index in range(last + 1):
            size = self._block_bytes if index < last else self.size - last * self._block_bytes
            yield self._compression.decompress(self._stored.element(index), size, "scratch")

    def finish(self, base_name: str) -> Stored:
        """The blocks as they lie in the segment."""
        self._end_last_block()
        return self._stored.finish(base_name)

    def _end_last_block(self) -> None:
        if self._pending:
            self._compress(memoryview(bytes(self._pending)))
            self._pending.clear()
        self._drain(0)

    def _compress(self, block: memoryview) -> None:
        self._in_flight.append(self._bench.pool.submit(self._compression.compress, block))
        self._drain(_MAX_IN_FLIGHT)

    def _drain(self, most: int) -> None:
        while len(self._in_flight) > most:
            self._stored.add(self._in_flight.popleft().result())


def read_blocks(
    cursor: Cursor, smoosh: Smoosh, compression: Compression, sizes: list[int] | NDArray[np.int64]
) -> bytes:
    """
    Expand the GenericIndexed of blocks at the cursor, end to end.

    sizes: bytes that each block must expand to
    """
    indexed = IndexedBytes.read(cursor, smoosh)
    if len(indexed) != len(sizes):
        raise cursor.corrupt(f"{len(sizes)} blocks, not {len(indexed)},")
    return b"".join(
        compression.decompress(indexed.element(index) or b"", int(size), cursor.file)
        for index, size in enumerate(sizes)
    )


def block_sizes(cursor: Cursor, count: int, per_block: int, width: int) -> list[int]:
    """
    How many bytes each block of `count` values of `width` bytes expands to, `per_block` values a block.

    Raises `CorruptSegment` when such blocks could not be.
    """
    if count and (per_block <= 0 or per_block * width > MAX_BLOCK_BYTES):
        raise cursor.corrupt(f"blocks of 1 to {MAX_BLOCK_BYTES // width} values, not {per_block},")
    # Every block takes some bytes of the file, so their number is bounded by it before a list of them is made.
    full, rest = divmod(count, per_block) if count else (0, 0)
    if full > cursor.remaining:
        raise cursor.corrupt(f"{full} blocks")
    return [per_block * width] * full + ([rest * width] if rest else [])


def read_compression(cursor: Cursor) -> Compression:
    """The compression byte at the cursor."""
    code = cursor.i8("a compression id")
    try:
        return Compression(code)
    except ValueError:
        raise cursor.corrupt(f"a compression id, not {code:#04x},") from None
