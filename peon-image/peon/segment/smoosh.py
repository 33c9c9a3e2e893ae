"""
Internal files, laid end to end into chunks of bounded size, and the text index that finds them.

    meta.smoosh   v1,2147483647,1            version, largest chunk, number of chunks
                  __time,0,0,100227          name, chunk, start, end; sorted by name
    00000.smoosh  the bytes

Druid: FileSmoosher, SmooshedFileMapper.
"""

import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from peon.segment.errors import CorruptSegment, SegmentTooLarge, UnsupportedFormat
from peon.segment.scratch import Piece, pieces_size, write_pieces
from peon.segment.string_order import utf16_key

MAX_CHUNK_BYTES = 2147483647
"""Integer.MAX_VALUE: a chunk is mapped into one Java buffer."""

META = "meta.smoosh"


def chunk_name(chunk: int) -> str:
    """The file of a chunk: `00000.smoosh`."""
    return f"{chunk:05d}.smoosh"


class SmooshWriter:
    """Writes internal files into the chunks of a folder, one after the other."""

    def __init__(self, folder: Path, max_chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        self._folder = folder
        self._max_chunk_bytes = max_chunk_bytes
        self._entries: dict[str, str] = {}
        self._chunks = 0
        self._out: BinaryIO | None = None
        self._position = 0

    def add(self, name: str, pieces: Sequence[Piece]) -> None:
        """
        Write one internal file; a new chunk starts when it does not fit into what is left of this one.

        Raises `SegmentTooLarge` when it is larger than a chunk, `UnsupportedFormat` when the name is taken or cannot
        stand in the index.
        """
        if name in self._entries or "," in name or "\n" in name:
            raise UnsupportedFormat(f"two internal files, or a comma in the name [{name}]")
        size = pieces_size(pieces)
        if size > self._max_chunk_bytes:
            raise SegmentTooLarge(name, size, self._max_chunk_bytes)
        out = self._out
        if out is None or self._position + size > self._max_chunk_bytes:
            out = self._next_chunk()
        write_pieces(pieces, out)
        self._entries[name] = f"{name},{self._chunks - 1},{self._position},{self._position + size}\n"
        self._position += size

    def finish(self) -> None:
        """Close the last chunk and write the index."""
        self.close()
        lines = [self._entries[name] for name in sorted(self._entries, key=utf16_key)]
        head = f"v1,{self._max_chunk_bytes},{self._chunks}\n"
        (self._folder / META).write_bytes((head + "".join(lines)).encode())

    def close(self) -> None:
        """Close the open chunk. Calling twice is calling once."""
        if self._out is not None:
            self._out.close()
            self._out = None

    def _next_chunk(self) -> BinaryIO:
        self.close()
        out = (self._folder / chunk_name(self._chunks)).open("wb")
        self._out = out
        self._chunks += 1
        self._position = 0
        return out


class Smoosh:
    """The internal files of a segment's folder, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self._maps: list[mmap.mmap] = []
        meta = _read_file(folder / META)
        self._files: Mapping[str, memoryview] = self._slices(folder, meta)

    @property
    def names(self) -> list[str]:
        """The internal files, in the order of the index."""
        return list(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def file(self, name: str) -> memoryview:
        """The bytes of an internal file. Raises `CorruptSegment` when there is none."""
        try:
            return self._files[name]
        except KeyError:
            raise CorruptSegment(META, f"an entry for the internal file [{name}]") from None

    def close(self) -> None:
        """Let the mapping go; what was read from it may live on and keeps it alive."""
        self._files = {}
        self._maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _slices(self, folder: Path, meta: bytes) -> dict[str, memoryview]:
        try:
            lines = meta.decode().split("\n")
        except UnicodeDecodeError as problem:
            raise CorruptSegment(META, "UTF-8 text") from problem
        # Short numbers only: nobody gets to make us parse a number of a million digits.
        head = re.fullmatch(r"v1,\d{1,10},(\d{1,5})", lines[0])
        if head is None:
            raise CorruptSegment(META, "a first line `v1,<max chunk size>,<number of chunks>`")
        if lines[-1] != "":
            raise CorruptSegment(META, "a line end after its last line")
        chunks = [self._map(folder / chunk_name(chunk)) for chunk in range(int(head[1]))]
        files: dict[str, memoryview] = {}
        for line in lines[1:-1]:
            entry = re.fullmatch(r"(.+),(\d{1,5}),(\d{1,10}),(\d{1,10})", line)
            if entry is None:
                raise CorruptSegment(META, f"lines `<name>,<chunk>,<start>,<end>`, not [{line[:80]}]")
            chunk, start, end = int(entry[2]), int(entry[3]), int(entry[4])
            if chunk >= len(chunks) or not start <= end <= len(chunks[chunk]):
                raise CorruptSegment(chunk_name(chunk), f"[{entry[1]}] at bytes {start} to {end}")
            files[entry[1]] = chunks[chunk][start:end]
        return files

    def _map(self, path: Path) -> memoryview:
        try:
            with path.open("rb") as chunk:
                if path.stat().st_size == 0:  # an empty file cannot be mapped
                    return memoryview(b"")
                mapped = mmap.mmap(chunk.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as problem:
            raise CorruptSegment(path.name, "a chunk of internal files") from problem
        self._maps.append(mapped)
        return memoryview(mapped)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise CorruptSegment(path.name, "the index of the internal files") from problem
