"""Text input in stretches that end where a line ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.report.meters import RowMeters

CHUNK_BYTES = 16 << 20
"""
What is parsed at once. Large enough that the fixed cost of a parse (some milliseconds) vanishes and every core gets
its share; small enough that a chunk with its columns, some six times its size, stays under 100 MiB.
"""

_LF, _CR = 10, 13


@dataclass(frozen=True, slots=True)
class LineChunk:
    """
    Whole lines. `data` holds them with their line ends, `ends` where each line stops before its own line end, and
    `first_line` is the number of the first one in the entity, from 1. Druid: FastLineIterator
    """

    data: bytes
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    first_line: int

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, index: int) -> bytes:
        """A line without its line end."""
        return self.data[self.starts[index] : self.ends[index]]

    def text(self, index: int) -> str:
        """A line for people to read: what is not UTF-8 in it becomes U+FFFD."""
        return self.line(index).decode("utf-8", "replace")

    def since(self, row: int) -> "LineChunk":
        """The lines from `row` on."""
        start = int(self.starts[row]) if row < len(self) else len(self.data)
        return LineChunk(
            self.data[start:],
            self.starts[row:] - np.int32(start),
            self.ends[row:] - np.int32(start),
            self.first_line + row,
        )

    def array(self) -> pa.StringArray:
        """The lines with their line ends as an Arrow array over the very bytes of the chunk."""
        offsets = np.append(self.starts, np.int32(len(self.data)))
        return pa.StringArray.from_buffers(len(self), pa.py_buffer(offsets), pa.py_buffer(self.data))


def line_chunks(stream: BinaryIO, meters: RowMeters, chunk_bytes: int = CHUNK_BYTES) -> Iterator[LineChunk]:
    """
    Cut a stream into chunks of about `chunk_bytes`, or of one line if that is longer.

    Counts the bytes that it hands out. The last line needs no line end.
    """
    first_line = 1
    while data := stream.read(chunk_bytes):
        if not data.endswith(b"\n"):
            data += stream.readline()
        meters.processed_bytes(len(data))
        chunk = split_lines(data, first_line)
        first_line += len(chunk)
        yield chunk


def split_lines(data: bytes, first_line: int = 1) -> LineChunk:
    """Find the lines of `data`."""
    values = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(values == _LF).astype(np.int32)
    ends = feeds.copy() if data.endswith(b"\n") else np.append(feeds, np.int32(len(data)))
    starts = np.zeros(len(ends), np.int32)
    starts[1:] = ends[:-1] + 1
    if b"\r" in data:
        # A return belongs to the line end only before a feed.
        ends[: len(feeds)] -= ((feeds > starts[: len(feeds)]) & (values[np.maximum(feeds - 1, 0)] == _CR)).astype(
            np.int32
        )
    return LineChunk(data, starts, ends, first_line)
