import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druid_core.errors import TaskFailure
from peon.read.decompress import decompressed, is_compressed


def _zip(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/", b"")
        file.writestr("first", data)
        file.writestr("second", b"not read")
    return archive.getvalue()


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".sz": lambda data: bytes(cramjam.snappy.compress(data)),
    ".zst": lambda data: bytes(cramjam.zstd.compress(data)),
    ".zip": _zip,
}
PLAIN = b"".join(b"line %d of some text\n" % i for i in range(20_000))


def _read(data: bytes, path: str) -> bytes:
    with decompressed(io.BytesIO(data), path, f"file:/{path}") as stream:
        return stream.read()


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_a_file_is_opened_by_its_ending(ending: str) -> None:
    assert is_compressed(f"a{ending}")
    assert _read(COMPRESSORS[ending](PLAIN), f"a{ending}") == PLAIN
    assert _read(COMPRESSORS[ending](b""), f"a{ending}") == b""


def test_any_other_ending_is_read_as_it_is() -> None:
    compressed = gzip.compress(PLAIN)
    assert _read(compressed, "a.json") == compressed


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".sz", ".zst"])
def test_parts_compressed_one_by_one_are_read_to_the_last(ending: str) -> None:
    parts = COMPRESSORS[ending](b"first\n") + COMPRESSORS[ending](b"second\n")
    assert _read(parts, f"a{ending}") == b"first\nsecond\n"


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_a_file_cut_short_ends_the_task_and_is_named(ending: str) -> None:
    data = COMPRESSORS[ending](PLAIN)
    with pytest.raises(TaskFailure, match=rf"file:/a\{ending}"):
        _read(data[: len(data) // 2], f"a{ending}")


def test_cut_gzip_is_called_truncated() -> None:
    with pytest.raises(TaskFailure, match="truncated gzip data"):
        _read(gzip.compress(PLAIN)[:-20], "a.gz")


@pytest.mark.parametrize("ending", COMPRESSORS)
def test_a_damaged_file_ends_the_task_and_is_named(ending: str) -> None:
    with pytest.raises(TaskFailure, match=rf"file:/a\{ending}"):
        _read(b"this was never compressed" * 10, f"a{ending}")


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(list(COMPRESSORS)))
def test_round_trip(data: bytes, ending: str) -> None:
    assert _read(COMPRESSORS[ending](data), f"a{ending}") == data
