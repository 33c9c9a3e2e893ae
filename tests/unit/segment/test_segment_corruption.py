"""Files that are not what they should be end in an error that names them, never in another exception or a hang."""

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from druid_core.errors import NemetonError
from peon.segment.compression import Compression
from peon.segment.errors import CorruptSegment, UnsupportedFormat
from peon.segment.hyper_unique_bytes import from_bytes
from peon.segment.index_spec import FrontCoded, IndexSpec, LongEncoding
from peon.segment.numeric import NumericKind
from peon.segment.read import SegmentReader
from tests.support.segments import StringValue, Table, segment_of, write_segment

SPECS = {
    "default": IndexSpec(),
    "small": IndexSpec(
        metric_compression=Compression.NONE,
        dimension_compression=Compression.UNCOMPRESSED,
        long_encoding=LongEncoding.AUTO,
        front_coded=FrontCoded(),
    ),
    "zstd": IndexSpec(Compression.ZSTD, Compression.ZSTD, LongEncoding.AUTO, FrontCoded(2, 0)),
}


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small segments, one an index spec, their chunk's bytes to be damaged."""
    folder = tmp_path_factory.mktemp("segments")
    rows = 30
    lists: list[StringValue] = [list[str | None]([f"v{row % 3}", f"v{row % 4}"][: row % 3]) for row in range(rows)]
    table = Table(
        time_ms=list(range(rows)),
        strings={
            "single": [None if row % 5 == 0 else f"value {row % 7}" for row in range(rows)],
            "lists": lists,
            "nothing": [None] * rows,
        },
        numbers={
            "long": (NumericKind.LONG, [None if row % 4 == 0 else row * row for row in range(rows)]),
            "double": (NumericKind.DOUBLE, [row / 3 for row in range(rows)]),
        },
        blobs={"sketch": [None if row % 3 else bytes(row) for row in range(rows)]},
    )
    for name, spec in SPECS.items():
        write_segment(
            folder / name, *segment_of(table), index_spec=spec, max_indexed_bytes=300 if name == "zstd" else 1 << 20
        )
    return {name: folder / name for name in SPECS}


def read_everything(path: Path) -> None:
    with SegmentReader(path) as segment:
        for name in segment.names:
            assert len(segment.column(name)) == segment.row_count
            segment.bitmap(name, None)
        segment.columns()
        segment.rows()
        assert repr(segment.metadata)


damages = st.lists(
    st.tuples(st.floats(0, 0.999), st.integers(0, 255) | st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])), max_size=4
)


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(["00000.smoosh"] * 6 + ["meta.smoosh", "version.bin", "factory.json"]),
    damage=damages,
    keep=st.just(1.0) | st.floats(0, 1),
)
def test_damage_anywhere_ends_in_an_error_of_ours_or_in_other_values(
    segments: dict[str, Path], tmp_path: Path, spec: str, file: str, damage: list[tuple[float, int]], keep: float
) -> None:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(segments[spec], folder)
    data = bytearray((folder / file).read_bytes())
    for at, byte in damage:
        data[int(at * len(data))] = byte
    (folder / file).write_bytes(data[: int(keep * len(data))])
    try:
        read_everything(folder)
    except NemetonError as problem:
        if "[" not in str(problem):
            pytest.fail(f"the error names no file: {problem}")


@pytest.mark.parametrize("spec", SPECS)
def test_every_truncation_of_a_column_is_noticed(segments: dict[str, Path], tmp_path: Path, spec: str) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(segments[spec], folder)
    whole = (folder / "meta.smoosh").read_text()
    for line in whole.splitlines()[1:]:
        name, chunk, start, end = line.rsplit(",", 3)
        for size in {0, 1, 5, (int(end) - int(start)) // 2, int(end) - int(start) - 1}:
            cut = f"{name},{chunk},{start},{int(start) + size}"
            (folder / "meta.smoosh").write_text(whole.replace(line, cut))
            with pytest.raises(CorruptSegment):
                read_everything(folder)


def column_start(folder: Path, name: str) -> int:
    """Where the body of a column begins in the chunk."""
    for line in (folder / "meta.smoosh").read_text().splitlines()[1:]:
        entry = line.split(",")
        if entry[0] == name:
            start = int(entry[2])
            (size,) = struct.unpack_from(">i", (folder / "00000.smoosh").read_bytes(), start)
            return start + 4 + size
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "at", "raw", "expected"),
    [
        ("long", 0, b"\x7f\xff\xff\xff", r"\[long\] should hold the values \(2147483647 bytes"),
        ("long", 0, b"\xff\xff\xff\xff", r"\[long\] should hold the values \(-1 bytes"),
        ("double", 5, b"\x7f\xff\xff\xff", r"\[double\] should hold 262143 blocks"),
        ("double", 9, b"\x7f\xff\xff\xff", r"\[double\] should hold blocks of 1 to 8192 values, not 2147483647"),
        ("double", 13, b"\x07", r"\[double\] should hold a compression id, not 0x07"),
        ("single", 0, b"\x09", r"\[single\] should hold a string column of version 0 to 3, not 9"),
        ("single", 5, b"\x03", r"\[single\] should hold a GenericIndexed of version 1 or 2, not 3"),
        ("sketch", 6, b"\x7f\xff\xff\xff", r"\[sketch\] should hold the offsets of a GenericIndexed"),
    ],
)
def test_a_lying_header_is_told_from_the_bytes_there_are(
    segments: dict[str, Path], tmp_path: Path, name: str, at: int, raw: bytes, expected: str
) -> None:
    folder = tmp_path / "lying"
    shutil.copytree(segments["default"], folder)
    data = bytearray((folder / "00000.smoosh").read_bytes())
    start = column_start(folder, name) + at
    data[start : start + len(raw)] = raw
    (folder / "00000.smoosh").write_bytes(data)
    with SegmentReader(folder) as segment, pytest.raises(CorruptSegment, match=expected) as corrupt:
        segment.column(name)
    assert corrupt.value.file == name


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return act


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        (remove("version.bin"), CorruptSegment, "version.bin"),
        (remove("meta.smoosh"), CorruptSegment, "meta.smoosh"),
        (remove("00000.smoosh"), CorruptSegment, "00000.smoosh"),
        (overwrite("version.bin", b"\0\0\0\x0a"), UnsupportedFormat, "not version 9"),
        (overwrite("factory.json", b'{"type":"other"}'), UnsupportedFormat, "other"),
        (overwrite("factory.json", b"[]"), CorruptSegment, "factory.json"),
        (overwrite("meta.smoosh", b"v2,1,1\n"), CorruptSegment, "a first line"),
        (overwrite("meta.smoosh", b"v1,2147483647,1\nx,0,0\n"), CorruptSegment, "not \\[x,0,0\\]"),
        (overwrite("meta.smoosh", b"v1,2147483647,1\nx,0,0,999999\n"), CorruptSegment, "\\[x\\] at bytes 0 to 999999"),
        (overwrite("meta.smoosh", b"v1,2147483647,1\nx,0,0,9\n"), CorruptSegment, "index.drd"),
    ],
)
def test_a_file_that_is_missing_or_another_is_named(
    segments: dict[str, Path], tmp_path: Path, act: Callable[[Path], None], kind: type[Exception], text: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(segments["default"], folder)
    act(folder)
    with pytest.raises(kind, match=text):
        SegmentReader(folder)


def test_a_segment_without_factory_or_metadata_opens(segments: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(segments["default"], folder)
    (folder / "factory.json").unlink()
    meta = (folder / "meta.smoosh").read_text().splitlines(keepends=True)
    (folder / "meta.smoosh").write_text("".join(line for line in meta if not line.startswith("metadata.drd")))
    with SegmentReader(folder) as segment:
        assert segment.metadata is None
        assert segment.row_count == 30


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04" + bytes(40)])
def test_a_zip_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.zip").write_bytes(content)
    with pytest.raises(CorruptSegment, match=r"index\.zip"):
        SegmentReader(tmp_path / "index.zip")
    with pytest.raises(CorruptSegment, match="there is none"):
        SegmentReader(tmp_path / "nowhere")


def test_a_zip_writes_nothing_beside_a_segments_own_files(segments: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "index.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in segments["default"].iterdir():
            archive.write(file, file.name)
        archive.writestr("../escaped", "x")
        archive.writestr("sub/version.bin", "x")
    read_everything(path)
    assert not (tmp_path.parent / "escaped").exists()
    damaged = bytearray(path.read_bytes())
    damaged[60:80] = bytes(20)
    path.write_bytes(damaged)
    with pytest.raises(NemetonError):
        read_everything(path)


def test_a_column_that_is_not_there_is_a_key_error(segments: dict[str, Path]) -> None:
    with SegmentReader(segments["default"]) as segment, pytest.raises(KeyError):
        segment.column("absent")


def test_an_unknown_part_is_refused_and_the_other_columns_stay_readable(
    segments: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "future"
    shutil.copytree(segments["default"], folder)
    data = (folder / "00000.smoosh").read_bytes()
    assert data.count(b'"doubleV2"') == 1
    (folder / "00000.smoosh").write_bytes(data.replace(b'"doubleV2"', b'"doubleV3"'))
    with SegmentReader(folder) as segment:
        with pytest.raises(UnsupportedFormat, match=r"doublev3|doubleV3"):
            segment.column("double")
        assert segment.column("long").null_count == 8


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=40) | st.binary(max_size=12).map(lambda tail: b"\x01\x00\x00\x02\x00\x00\x00" + tail))
def test_any_bytes_are_a_collector_or_refused(raw: bytes) -> None:
    try:
        collectors = from_bytes(pa.array([raw], pa.binary()))
    except CorruptSegment:
        return
    assert len(collectors) == 1
    assert np.all(collectors.values <= 15)


def test_deeply_nested_json_is_refused(segments: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    shutil.copytree(segments["default"], folder)
    (folder / "factory.json").write_bytes(b"[" * 100_000)
    with pytest.raises(CorruptSegment, match="factory"):
        SegmentReader(folder)
    assert json.loads((segments["default"] / "factory.json").read_bytes()) == {"type": "mMapSegmentFactory"}
