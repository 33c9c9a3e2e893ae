"""Compressed input, opened by the ending of its name and read as a stream. Druid: CompressionUtils"""

import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

import cramjam
import pyarrow as pa

from druid_core.errors import TaskFailure

_SNAPPY_STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"

_SPOOL_BYTES = 16 << 20
"""How much of a zip archive is kept in memory before it goes to a temporary file; its directory is at its end."""


def is_compressed(path: str) -> bool:
    """Whether the ending says so."""
    return _ending(path) is not None


def decompressed(raw: BinaryIO, path: str, name: str) -> BinaryIO:
    """
    The plain bytes of `raw`, which is called `path` and, in messages, `name`. Memory does not grow with the size.

    Raises TaskFailure, here or in a later `read`, if the data are damaged or end too early.
    """
    ending = _ending(path)
    if ending is None:
        return raw
    kind, opener = _OPENERS[ending]
    with _failures_named(kind, name):
        plain = opener(raw)
    return cast("BinaryIO", io.BufferedReader(_Guarded(plain, raw, kind, name), 1 << 20))


def _ending(path: str) -> str | None:
    return next((ending for ending in _OPENERS if path.endswith(ending)), None)


class _Guarded(io.RawIOBase):
    """A decompressing stream whose errors say which input is damaged."""

    def __init__(self, plain: IO[bytes], raw: BinaryIO, kind: str, name: str) -> None:
        self._plain, self._raw, self._kind, self._name = plain, raw, kind, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _failures_named(self._kind, self._name):
            data = self._plain.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._plain.close()
            self._raw.close()
        super().close()


class _failures_named:  # noqa: N801  reads as a function in `with`
    """Turns a decompressor's errors into a TaskFailure."""

    def __init__(self, kind: str, name: str) -> None:
        self._kind, self._name = kind, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, EOFError) or (isinstance(error, OSError) and "runcated" in str(error)):
            raise TaskFailure(f"Cannot read [{self._name}]: truncated {self._kind} data") from error
        if isinstance(error, (OSError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, cramjam.DecompressionError)):
            raise TaskFailure(f"Cannot read [{self._name}]: damaged {self._kind} data ({error})") from error


class _SnappyFrames(io.RawIOBase):
    """Snappy's framing format, frame by frame; checksums are checked."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            header = self._exactly(4, may_end=True)
            if not header:
                return 0
            frame = header + self._exactly(int.from_bytes(header[1:], "little"))
            self._ready = bytes(cramjam.snappy.decompress(_SNAPPY_STREAM_IDENTIFIER + frame))
        taken = self._ready[: len(buffer)]
        self._ready = self._ready[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        data = self._raw.read(size)
        while len(data) < size:
            more = self._raw.read(size - len(data))
            if not more:
                if may_end and not data:
                    return b""
                raise EOFError("truncated")
            data += more
        return data


def _arrow(codec: str) -> Callable[[BinaryIO], IO[bytes]]:
    # Arrow reads gzip of several members and zstandard of several frames, and runs without the interpreter's lock.
    return lambda raw: cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(raw, "r"), codec))


def _first_zip_entry(raw: BinaryIO) -> IO[bytes]:
    if not raw.seekable():
        spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  closed with the archive
        shutil.copyfileobj(raw, spool, 1 << 20)
        raw = cast("BinaryIO", spool)
    archive = zipfile.ZipFile(raw)
    first = next((entry for entry in archive.infolist() if not entry.is_dir()), None)
    return io.BytesIO() if first is None else archive.open(first)


_OPENERS: dict[str, tuple[str, Callable[[BinaryIO], IO[bytes]]]] = {
    ".gz": ("gzip", _arrow("gzip")),
    ".bz2": ("bzip2", _arrow("bz2")),
    ".xz": ("xz", lzma.LZMAFile),
    ".sz": ("snappy", lambda raw: cast("IO[bytes]", _SnappyFrames(raw))),
    ".zst": ("zstandard", _arrow("zstd")),
    ".zip": ("zip", _first_zip_entry),
}
