"""
Bytes on their way into a segment: in memory while they are few, in an unlinked file of the segment's folder once
they are many. A segment of millions of rows is so written in bounded memory.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Small enough that a hundred columns stay modest, large enough that an ordinary small segment never touches the disk.
_IN_MEMORY_BYTES = 1 << 20
_COPY_BYTES = 1 << 20


class Scratch:
    """An append-only run of bytes that can be read back anywhere."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; `data` is a run of plain bytes."""
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`. The next `write` appends as before."""
        self._file.seek(start)
        data = self._file.read(size)
        self._file.seek(self.size)
        return data

    def copy_to(self, out: BinaryIO, start: int, end: int) -> None:
        """Copy the bytes `[start, end)` into `out`."""
        self._file.seek(start)
        left = end - start
        while left > 0:
            data = self._file.read(min(left, _COPY_BYTES))
            out.write(data)
            left -= len(data)
        self._file.seek(self.size)

    def close(self) -> None:
        """Forget the bytes. Calling twice is calling once."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `[start, end)` of a scratch."""

    scratch: Scratch
    start: int
    end: int


Piece = bytes | Span
"""A part of an internal file: bytes, or bytes that wait in a scratch."""


def pieces_size(pieces: Sequence[Piece]) -> int:
    """How many bytes the pieces have together."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.end - piece.start for piece in pieces)


def write_pieces(pieces: Sequence[Piece], out: BinaryIO) -> None:
    """Write the pieces one after the other."""
    for piece in pieces:
        if isinstance(piece, bytes):
            out.write(piece)
        else:
            piece.scratch.copy_to(out, piece.start, piece.end)


@dataclass(frozen=True, slots=True)
class Stored:
    """A structure ready for its place: the pieces of its body, and internal files of its own beside it."""

    body: list[Piece]
    files: dict[str, list[Piece]]

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return pieces_size(self.body)

    def close(self) -> None:
        """Forget the scratch bytes, once they have been written."""
        for pieces in (self.body, *self.files.values()):
            for piece in pieces:
                if isinstance(piece, Span):
                    piece.scratch.close()

    @staticmethod
    def join(*parts: "Stored | bytes") -> "Stored":
        """The bodies end to end, the files together."""
        body: list[Piece] = []
        files: dict[str, list[Piece]] = {}
        for part in parts:
            if isinstance(part, bytes):
                body.append(part)
            else:
                body += part.body
                files |= part.files
        return Stored(body, files)
