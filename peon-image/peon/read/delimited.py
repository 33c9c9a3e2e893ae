"""
csv and tsv: whole chunks split at once by Arrow's parser, odd lines rewritten so that it splits them as Druid does.

Odd are lines with quotes where RFC 4180 has none, lone carriage returns, and too few or too many fields. A byte order
mark before the first line is skipped (Druid would take it for a part of the first field).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from druid_core.errors import TaskFailure
from druid_core.spec.input import CsvFormat, TsvFormat
from peon.arrow import compute as pc
from peon.read.cells import DEFAULT_LIST_DELIMITER, cell_column, cell_value
from peon.read.event import event_text
from peon.read.fields import FieldSelection
from peon.read.lines import LineChunk, split_lines
from peon.read.records import RecordBatch
from peon.read.rfc4180 import join_csv_line, split_csv_line

_BOM = b"\xef\xbb\xbf"

# Fields without quotes, or in quotes with every quote inside them doubled.
_WELL_FORMED = r'^(?:[^",]*|"(?:[^"]|"")*")(?:,(?:[^",]*|"(?:[^"]|"")*"))*\r?\n?$'

_STAND_INS = bytes(range(1, 32)) + b"\x7f"
"""Bytes that may stand for a delimiter of several characters, if the data have none of them."""


def delimited_batches(chunks: Iterator[LineChunk], lines: "DelimitedLines", name: str) -> Iterator[RecordBatch]:
    """The records of one entity, called `name`, after its header. Raises TaskFailure for a header that is none."""
    for chunk in chunks:
        rows = lines.after_header(_in_utf8(_without_bom(chunk)), name)
        if len(rows):
            yield lines.parse(rows)


class DelimitedLines:
    """The parser of one entity. Druid: DelimitedValueReader"""

    def __init__(self, format: CsvFormat | TsvFormat, fields: FieldSelection, time_column: str) -> None:  # noqa: A002
        self._format = format
        self._fields = fields
        self._time_column = time_column
        self._is_csv = isinstance(format, CsvFormat)
        self._list_delimiter = format.list_delimiter or DEFAULT_LIST_DELIMITER
        self._lines_to_skip = max(format.skip_header_rows, 0)
        self._columns = None if format.find_columns_from_header else _column_names(list(format.columns))

    def after_header(self, chunk: LineChunk, name: str) -> LineChunk:
        """The chunk without what belongs to the header, whose columns are taken in."""
        skipped = min(self._lines_to_skip, len(chunk))
        self._lines_to_skip -= skipped
        if self._columns is None and skipped < len(chunk):
            try:
                self._columns = _column_names(self._split(chunk.text(skipped)))
            except TaskFailure as error:
                raise TaskFailure(f"{error} in the header of [{name}]") from error
            skipped += 1
        return chunk.since(skipped) if skipped else chunk

    def parse(self, chunk: LineChunk) -> RecordBatch:
        """The records of a chunk that has no header."""
        names = self._columns or []
        found = [name for name in names if self._fields.wants(name) and name not in self._fields.names]
        wanted = [name for name in dict.fromkeys([*self._fields.names, *found]) if name in names]
        needed = [*wanted, self._time_column] if self._time_column in names else wanted
        cells = self._cells(chunk, {name: names.index(name) for name in needed}, len(names))
        columns = {
            name: cell_column(cells[name], self._list_delimiter, self._format.try_parse_numbers) for name in cells
        }
        return RecordBatch(
            rows=len(chunk),
            columns={name: columns[name] for name in wanted},
            time=columns.get(self._time_column),
            event_text=lambda row: self._event(chunk.text(row)),
            lines=np.arange(len(chunk)) + chunk.first_line,
            empty_counts=True,
        )

    def _event(self, line: str) -> str:
        """A record in a message: the fields that it has."""
        values = (cell_value(cell, self._list_delimiter, self._format.try_parse_numbers) for cell in self._split(line))
        return event_text(dict(zip(self._columns or [], values, strict=False)))

    def _split(self, line: str) -> list[str | None]:
        if self._is_csv:
            return split_csv_line(line)
        return [cell or None for cell in line.split(self._format.separator)]

    def _cells(self, chunk: LineChunk, places: Mapping[str, int], width: int) -> dict[str, pa.StringArray]:
        """The texts of the columns at `places`, of lines that should have `width` fields."""
        data = self._splittable(chunk)
        if data is not None:
            table = data.table(sorted(set(places.values())), width, self._split)
            if table is not None and table.num_rows == len(chunk):
                return {name: _whole(table.column(str(place))) for name, place in places.items()}
        rows = [self._split(chunk.text(row)) for row in range(len(chunk))]
        return {
            name: pa.array([row[place] if place < len(row) else None for row in rows], pa.string())
            for name, place in places.items()
        }

    def _splittable(self, chunk: LineChunk) -> "_Splittable | None":
        """The chunk as Arrow can split it; None if that cannot be."""
        inner_returns = _lines_with_returns(chunk)
        if not self._is_csv:
            delimiter = self._format.separator.encode()
            if inner_returns:
                return None
            if len(delimiter) == 1 and delimiter.isascii():
                return _Splittable(chunk, delimiter.decode(), {}, quotes=False)
            free = next((byte for byte in _STAND_INS if bytes([byte]) not in chunk.data and byte not in b"\r\n"), None)
            if free is None:
                return None
            data = chunk.data.replace(delimiter, bytes([free]))
            return _Splittable(split_lines(data, chunk.first_line), chr(free), {}, quotes=False, original=chunk)
        odd = set(inner_returns)
        if b'"' in chunk.data:
            well_formed = pc.match_substring_regex(chunk.array(), _WELL_FORMED)
            odd.update(np.flatnonzero(~np.asarray(well_formed)).tolist())
        mended = {row: join_csv_line(split_csv_line(chunk.text(row))) for row in sorted(odd)}
        return _Splittable(chunk, ",", mended, quotes=True)


@dataclass(frozen=True, slots=True)
class _Splittable:
    """Lines for Arrow's parser; `mended` has other texts for some of them, `original` the lines to split by hand."""

    chunk: LineChunk
    delimiter: str
    mended: Mapping[int, str]
    quotes: bool
    original: LineChunk | None = None

    def table(self, places: list[int], width: int, split: Any) -> pa.Table | None:
        """The columns at `places`, called by their numbers; None if Arrow does not split the lines as they are."""
        try:
            return self._read(places, width, self.mended, None)
        except pa.ArrowInvalid:
            pass
        misfits: list[int] = []

        def note(row: Any) -> str:
            misfits.append(row.number)
            return "skip"

        try:
            self._read(places, width, self.mended, note)
            mended = dict(self.mended) | {row - 1: self._fitted(row - 1, width, split) for row in misfits}
            return self._read(places, width, mended, None)
        except pa.ArrowInvalid:
            return None

    def _fitted(self, row: int, width: int, split: Any) -> str:
        """The line with as many fields as there should be."""
        fields: list[str | None] = split((self.original or self.chunk).text(row))[:width]
        fields += [None] * (width - len(fields))
        return join_csv_line(fields) if self.quotes else self.delimiter.join(field or "" for field in fields)

    def _read(self, places: list[int], width: int, mended: Mapping[int, str], misfit: Any) -> pa.Table:
        data = _with_lines(self.chunk, mended)
        if not data.endswith(b"\n"):
            # Without a line end, Arrow takes an empty last field for a quoted one.
            data += b"\n"
        names = [str(place) for place in range(width)]
        return pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # Row numbers are known only where one thread reads.
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, block_size=max(len(data) + 1, 16), use_threads=misfit is None
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quotes else False,
                double_quote=self.quotes,
                newlines_in_values=self.quotes,
                ignore_empty_lines=False,
                invalid_row_handler=misfit,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[str(place) for place in places],
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )


def _column_names(header: list[str | None] | list[str]) -> list[str]:
    """Druid: TextReader.findOrCreateInputRowSignature"""
    names = [name or f"column_{place}" for place, name in enumerate(header, 1)]
    doubled = list(dict.fromkeys(name for name in names if names.count(name) > 1))
    if doubled:
        raise TaskFailure(f"Duplicate column entries found : [{', '.join(doubled)}]")
    return names


def _lines_with_returns(chunk: LineChunk) -> list[int]:
    """Lines with a carriage return that is not part of their end; Arrow would end a line there."""
    if b"\r" not in chunk.data:
        return []
    returns = np.flatnonzero(np.frombuffer(chunk.data, np.uint8) == ord("\r"))
    rows = np.searchsorted(chunk.starts, returns, side="right") - 1
    return np.unique(rows[returns < chunk.ends[rows]]).tolist()


def _with_lines(chunk: LineChunk, mended: Mapping[int, str]) -> bytes:
    if not mended:
        return chunk.data
    pieces: list[bytes] = []
    position = 0
    for row, text in sorted(mended.items()):
        pieces += [chunk.data[position : chunk.starts[row]], text.encode()]
        position = int(chunk.ends[row])
    return b"".join([*pieces, chunk.data[position:]])


def _without_bom(chunk: LineChunk) -> LineChunk:
    if chunk.first_line > 1 or not chunk.data.startswith(_BOM):
        return chunk
    return split_lines(chunk.data[len(_BOM) :], chunk.first_line)


def _in_utf8(chunk: LineChunk) -> LineChunk:
    """The chunk with U+FFFD in place of what is not UTF-8."""
    try:
        chunk.data.decode()
    except UnicodeDecodeError:
        return split_lines(chunk.data.decode("utf-8", "replace").encode(), chunk.first_line)
    return chunk


def _whole(column: pa.ChunkedArray) -> Any:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(column.chunks)
