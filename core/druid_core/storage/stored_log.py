"""A log as readers see it: one run of bytes, whatever objects it lies in."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from druid_core.storage.object_store import ObjectStore

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LogPiece:
    """An object of `size` bytes, or, where `path` is None, a few bytes that stand in none."""

    path: str | None
    size: int
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredLog:
    """
    Pieces one after the other.

    What it names may be replaced by something longer, or be tidied away, once it has been made: reads raise NotFound
    then, and who reads looks anew. StorageError where the storage refuses.
    """

    store: ObjectStore
    pieces: tuple[LogPiece, ...] = ()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(piece.size for piece in self.pieces)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Bytes `start` up to but not including `end` (None: all the rest), as many of them as there are."""
        end = self.size if end is None else min(end, self.size)
        found: list[bytes] = []
        piece_ends = accumulate(piece.size for piece in self.pieces)
        for piece, piece_end in zip(self.pieces, piece_ends, strict=True):
            piece_start = piece_end - piece.size
            first, last = max(start, piece_start) - piece_start, min(end, piece_end) - piece_start
            if first >= last:
                continue
            if piece.path is None:
                found.append(piece.text[first:last])
            else:
                found.append(self.store.get(piece.path, first, last))
        return b"".join(found)

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces of at most 1 MiB."""
        for start in range(0, self.size, _CHUNK_BYTES):
            yield self.read(start, start + _CHUNK_BYTES)
