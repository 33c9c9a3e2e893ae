"""`nemeton segment dump`: what is in a segment, for a person or as JSON lines."""

import sys
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import orjson
from rich.console import Console
from rich.table import Table

from druid_core.errors import NotFound
from druid_core.instant import format_instant
from peon.segment.read import ColumnInfo, SegmentReader

LONGEST_CELL = 40
"""A value longer than this many characters is cut in the table; `--json` shows it whole."""


def dump(path: Path, limit: int, as_json: bool) -> None:
    """
    Prints the segment in a folder or `index.zip`, and its first `limit` rows. A folder that holds one `index/` or
    `index.zip` will do too.

    Raises NotFound where no segment is, CorruptSegment or UnsupportedFormat where it cannot be read.
    """
    with SegmentReader(_segment_at(path)) as segment:
        columns, rows = segment.columns(), segment.rows(limit)
        if as_json:
            _print_json_lines(segment, columns, rows)
            return
        console = Console(highlight=False)
        start, end = (format_instant(instant) for instant in segment.interval)
        size = sum(column.size_bytes for column in columns)
        rollup = segment.metadata is not None and segment.metadata.rollup
        console.print(
            f"[bold]{segment.row_count:,} rows[/], {start}/{end}, {len(columns)} columns, {size:,} bytes",
            soft_wrap=True,
        )
        console.print("rolled up" if rollup else "not rolled up")
        console.print()
        console.print(_column_table(columns, size))
        if rows:
            console.print()
            _print_rows(console, rows)


def _segment_at(path: Path) -> Path:
    if not path.exists():
        raise NotFound(f"there is nothing at {path}")
    for candidate in (path, path / "index", path / "index.zip"):
        # One of the two files will do: a segment that lost the other is a segment, and its reader says what is missing.
        if any((candidate / name).exists() for name in ("version.bin", "meta.smoosh")):
            return candidate
        if candidate.is_file() and is_zipfile(candidate):
            return candidate
    raise NotFound(f"no segment at {path}: expected index.zip, or a folder with version.bin and meta.smoosh")


def _column_table(columns: list[ColumnInfo], size: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("column")
    table.add_column("type")
    for name in ("values", "bytes", "share"):
        table.add_column(name, justify="right")
    for column in columns:
        several = " (several a row)" if column.multi_value else ""
        distinct = "" if column.cardinality is None else f"{column.cardinality:,}"
        share = f"{100 * column.size_bytes / max(size, 1):.1f} %"
        table.add_row(column.name, f"{column.kind}{several}", distinct, f"{column.size_bytes:,}", share)
    return table


def _print_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    """Rows as blocks of `name value`: a segment has more columns than a terminal is wide."""
    width = max(len(name) for name in rows[0])
    for row in rows:
        shown = {name: _text(name, value) for name, value in row.items() if value is not None}
        first, *others = (f"[dim]{name:<{width}}[/] {text}" for name, text in shown.items())
        console.print(f"- {first}", soft_wrap=True)
        for line in others:
            console.print(f"  {line}", soft_wrap=True)


def _print_json_lines(segment: SegmentReader, columns: list[ColumnInfo], rows: list[dict[str, Any]]) -> None:
    head: dict[str, Any] = {
        "interval": "/".join(format_instant(instant) for instant in segment.interval),
        "rows": segment.row_count,
        "dimensions": segment.dimensions,
        "metrics": segment.metrics,
        "columns": {
            column.name: {
                "type": column.kind,
                "size": column.size_bytes,
                "cardinality": column.cardinality,
                "hasMultipleValues": column.multi_value,
                "hasNulls": column.has_nulls,
            }
            for column in columns
        },
    }
    for line in (head, *rows):
        sys.stdout.buffer.write(orjson.dumps(line, default=_raw, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _text(name: str, value: object) -> str:
    from rich.markup import escape

    text = format_instant(value) if name == "__time" and isinstance(value, int) else str(_raw(value))
    return escape(text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…")


def _raw(value: object) -> object:
    """A complex value has no JSON of its own: its length stands for it."""
    return f"({len(value)} bytes)" if isinstance(value, bytes) else value
