"""
Opens a segment, ours or Druid's, and gives its columns.

`SegmentReader(path)` takes a folder or an index.zip. Whatever is wrong with the files becomes a domain error
(`CorruptSegment`, `UnsupportedFormat`) that names the file and what it should have held.
"""

import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from peon.segment.auto_column import AutoNumbers, read_auto_column
from peon.segment.bitmap import deserialize
from peon.segment.columns import TIME_COLUMN, StringLists
from peon.segment.complex_column import read_complex
from peon.segment.cursor import Cursor, json_object
from peon.segment.descriptor import Descriptor
from peon.segment.errors import CorruptSegment, UnsupportedFormat
from peon.segment.metadata import INDEX_FILE, METADATA_FILE, IndexDrd, SegmentMetadata, read_metadata
from peon.segment.numeric import NumericArray, NumericKind, read_numeric
from peon.segment.smoosh import META, Smoosh
from peon.segment.string_column import StringData, decode, read_string_column
from peon.segment.write import FACTORY_FILE, VERSION, VERSION_FILE

_FILES_OF_A_SEGMENT = re.compile(r"version\.bin|factory\.json|meta\.smoosh|\d{5}\.smoosh")
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """
    A column in short.

    kind:        Druid's name of the type: STRING, LONG, DOUBLE, FLOAT, COMPLEX<hyperUnique>
    size_bytes:  in the segment, compressed, internal files of its own included
    cardinality: of the dictionary, null included; None without one
    """

    name: str
    kind: str
    size_bytes: int
    cardinality: int | None
    multi_value: bool
    has_nulls: bool


class SegmentReader:
    """An open segment. Columns are read when they are asked for, each anew."""

    def __init__(self, path: Path, scratch_dir: Path | None = None) -> None:
        """
        Open a folder or zip; a zip is unpacked below `scratch_dir`, by default the system's.

        Raises `CorruptSegment`, `UnsupportedFormat`.
        """
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        folder = path
        if not path.is_dir():
            self._unpacked = tempfile.TemporaryDirectory(prefix="segment", dir=scratch_dir)
            folder = Path(self._unpacked.name)
        try:
            if folder is not path:
                _unpack(path, folder)
            _check_version(folder)
            self._smoosh = Smoosh(folder)
            self._index = IndexDrd.read(self._smoosh.file(INDEX_FILE), self._smoosh)
        except BaseException:
            self._remove_unpacked()
            raise

    def close(self) -> None:
        """Let the files go; arrays that were read live on. Calling twice is calling once."""
        self._smoosh.close()
        self._remove_unpacked()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def interval(self) -> tuple[int, int]:
        """Start and end of the time chunk, milliseconds."""
        return self._index.interval

    @property
    def dimensions(self) -> list[str]:
        """The dimensions in order, null-only ones included."""
        return list(self._index.dimensions)

    @property
    def metrics(self) -> list[str]:
        """The metrics by name."""
        return self._index.metrics

    @property
    def names(self) -> list[str]:
        """All columns: `__time`, dimensions, metrics."""
        return [TIME_COLUMN, *self.dimensions, *self.metrics]

    @cached_property
    def metadata(self) -> SegmentMetadata | None:
        """The content of metadata.drd; None when the segment has none."""
        return read_metadata(self._smoosh.file(METADATA_FILE)) if METADATA_FILE in self._smoosh else None

    @cached_property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self.time_ms)

    @cached_property
    def time_ms(self) -> NDArray[np.int64]:
        """int64[rows], the time of each row."""
        values, _ = self._numbers(*self._open(TIME_COLUMN), NumericKind.LONG)
        return values.astype(np.int64, copy=False)

    def column(self, name: str) -> pa.Array:
        """
        A column as an Arrow array of `row_count` values.

        Strings: string (large_string beyond 2 GiB), lists of them when the column is multi-value, the list of a row
        without values being empty. Numbers: int64, double, float. Complex: large_binary. Nulls are null.
        Raises `CorruptSegment`, `UnsupportedFormat`, `KeyError` for a name that is not in `names`.
        """
        values = self.strings_or_values(name)
        return decode(values.dictionary, values.values) if isinstance(values, StringData) else values

    def strings_or_values(self, name: str) -> StringData | pa.Array:
        """A string column by its dictionary and ids, any other as `column` gives it. Raises as `column` does."""
        values = self._read(name)
        match values:
            case StringData():
                return values
            case AutoNumbers():
                return pa.array(values.values, mask=values.nulls)
            case pa.Array():
                return values
            case _:
                numbers, nulls = values
                return pa.array(numbers, mask=nulls)

    def strings(self, name: str) -> StringData | None:
        """A string column by its dictionary and ids, as compaction wants it; None for a column that has neither."""
        values = self._read(name)
        return values if isinstance(values, StringData) else None

    def complex_type(self, name: str) -> str | None:
        """The name of a complex column's type, as `hyperUnique`; None for a column of any other kind."""
        descriptor, _ = self._open(name)
        return str(descriptor.part.get("typeName")) if descriptor.part_type == "complex" else None

    def bitmap(self, name: str, value: str | float | None) -> NDArray[np.uint32] | None:
        """The rows that the column's index lists for a value; None when the column has no index."""
        values = self._read(name)
        if not isinstance(values, StringData | AutoNumbers) or values.bitmaps is None:
            return None
        key = pa.scalar(value, type=values.dictionary.type)
        is_it = values.dictionary.is_null() if value is None else pc.call_function("equal", [values.dictionary, key])
        found = np.flatnonzero(pc.fill_null(is_it, False).to_numpy(zero_copy_only=False))
        if not len(found):
            return np.zeros(0, dtype=np.uint32)
        return deserialize(values.bitmaps.element(int(found[0])) or b"", self.row_count, name)

    def columns(self) -> list[ColumnInfo]:
        """Every column in short, in the order of `names`."""
        return [self._info(name) for name in self.names]

    def rows(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The first rows as Druid's dump-segment shows them: a list of one value as the value, an empty one as null."""
        table = {name: self.column(name).slice(0, limit).to_pylist() for name in self.names}
        count = min(self.row_count, self.row_count if limit is None else limit)
        return [{name: _shown(values[row]) for name, values in table.items()} for row in range(count)]

    def _open(self, name: str) -> tuple[Descriptor, Cursor]:
        if name != TIME_COLUMN and name not in self._index.columns:
            raise KeyError(name)
        cursor = Cursor(name, self._smoosh.file(name))
        return Descriptor.read(cursor), cursor

    def _read(self, name: str) -> StringData | AutoNumbers | pa.Array | tuple[NumericArray, NDArray[np.bool_] | None]:
        descriptor, cursor = self._open(name)
        match descriptor.part_type:
            case "null":
                return pa.nulls(self._checked(name, descriptor.part.get("numRows")), pa.string())
            case "stringDictionary":
                strings = read_string_column(cursor, self._smoosh)
                self._checked(name, strings.rows)
                return strings
            case "complex":
                blobs = read_complex(cursor, self._smoosh)
                self._checked(name, len(blobs))
                return blobs
            case "nestedCommonFormat":
                auto = read_auto_column(cursor, self._smoosh, descriptor.part.get("logicalType"))
                self._checked(name, auto.rows if isinstance(auto, StringData) else len(auto.values))
                return auto
            case _:
                return self._numbers(descriptor, cursor, _numeric_kind(name, descriptor))

    def _numbers(
        self, descriptor: Descriptor, cursor: Cursor, kind: NumericKind
    ) -> tuple[NumericArray, NDArray[np.bool_] | None]:
        has_size = descriptor.part_type.endswith("V2")
        values, nulls = read_numeric(cursor, self._smoosh, kind, has_size=has_size)
        if nulls is not None:
            _check_roaring(cursor.file, descriptor)
        if cursor.file != TIME_COLUMN:
            self._checked(cursor.file, len(values))
        return values, nulls

    def _checked(self, name: str, rows: object) -> int:
        if rows != self.row_count:
            raise CorruptSegment(name, f"{self.row_count} rows as {TIME_COLUMN} has, not {rows}")
        return self.row_count

    def _info(self, name: str) -> ColumnInfo:
        descriptor, _ = self._open(name)
        values = self._read(name)
        kind = descriptor.value_type
        cardinality: int | None = None
        multi_value = False
        match values:
            case StringData():
                kind = "STRING"
                cardinality = len(values.dictionary)
                multi_value = isinstance(values.values, StringLists)
                has_nulls = values.dictionary.null_count > 0
            case AutoNumbers():
                kind = str(descriptor.part.get("logicalType"))
                cardinality = len(values.dictionary)
                has_nulls = bool(values.nulls.any())
            case pa.Array():
                if descriptor.part_type == "complex":
                    kind = f"COMPLEX<{descriptor.part.get('typeName')}>"
                has_nulls = values.null_count > 0
            case _:
                has_nulls = values[1] is not None
        return ColumnInfo(name, kind, self._size(name), cardinality, multi_value, has_nulls)

    def _size(self, name: str) -> int:
        columns = set(self.names) - {name}
        return sum(
            len(self._smoosh.file(file))
            for file in self._smoosh.names
            if file == name or (file.startswith(f"{name}.") and file not in columns)
        )

    def _remove_unpacked(self) -> None:
        if self._unpacked is not None:
            self._unpacked.cleanup()


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return None if not value else value[0] if len(value) == 1 else value  # pyright: ignore[reportUnknownVariableType]
    return value


def _numeric_kind(name: str, descriptor: Descriptor) -> NumericKind:
    try:
        return NumericKind(descriptor.part_type.removesuffix("V2").upper())
    except ValueError:
        raise UnsupportedFormat(f"column [{name}] has a part of type [{descriptor.part_type}]") from None


def _check_roaring(name: str, descriptor: Descriptor) -> None:
    serde: Any = descriptor.part.get("bitmapSerdeFactory")
    kind: Any = serde.get("type") if isinstance(serde, Mapping) else "concise"
    if kind != "roaring":
        raise UnsupportedFormat(f"column [{name}] has bitmaps of type [{kind}]")


def _check_version(folder: Path) -> None:
    try:
        version = (folder / VERSION_FILE).read_bytes()
    except OSError as problem:
        raise CorruptSegment(VERSION_FILE, "the format's version") from problem
    if version != VERSION:
        raise UnsupportedFormat(f"[{VERSION_FILE}] holds [{version[:16].hex()}], not version 9")
    if (folder / FACTORY_FILE).exists():
        factory = json_object(FACTORY_FILE, (folder / FACTORY_FILE).read_bytes(), "a segment factory")
        if factory.get("type") != "mMapSegmentFactory":
            raise UnsupportedFormat(f"[{FACTORY_FILE}] names the factory [{factory.get('type')}]")


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the flat files of an index.zip, none larger than it says."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if _FILES_OF_A_SEGMENT.fullmatch(entry.filename):
                    with archive.open(entry) as packed, (folder / entry.filename).open("wb") as out:
                        shutil.copyfileobj(packed, out, _COPY_BYTES)
    except FileNotFoundError as problem:
        raise CorruptSegment(path.name, "a folder or zip of a segment; there is none") from problem
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
    ) as problem:
        raise CorruptSegment(path.name, f"a zip of {META} and its chunks") from problem
