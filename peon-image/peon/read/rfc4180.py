"""
One line of CSV as Druid's parser splits it: the slow and exact way, also for quotes where RFC 4180 has none.

A field never goes on in the next line. OpenCSV: RFC4180Parser, with CSVReaderNullFieldIndicator.EMPTY_SEPARATORS
"""

from collections.abc import Iterable

_QUOTE = '"'


def split_csv_line(line: str, separator: str = ",") -> list[str | None]:
    """The fields of a line; a field of no characters is null, `""` is empty."""
    if _QUOTE not in line:
        # Java's splitter finds no field in an empty line, but the parser makes one of it.
        return [field or None for field in line.split(separator)]
    return [None if not field else _unquoted(field) for field in _fields(line, separator)]


def join_csv_line(fields: Iterable[str | None], separator: str = ",") -> str:
    """A line that every CSV parser splits into these fields."""
    return separator.join("" if field is None else f'"{field.replace(_QUOTE, _QUOTE * 2)}"' for field in fields)


def _fields(line: str, separator: str) -> list[str]:
    fields: list[str] = []
    position = 0
    while position < len(line):
        next_separator = line.find(separator, position)
        if next_separator < 0:
            fields.append(line[position:])
            return fields
        # A quote counts only where the field begins.
        end = _field_end(line, position, separator) if line[position] == _QUOTE else next_separator
        fields.append(line[position:end])
        position = end + 1
    if line.endswith(separator):
        fields.append("")
    return fields


def _field_end(line: str, start: int, separator: str) -> int:
    """Where a field ends that begins with a quote."""
    quote = line.find(_QUOTE, start + 1)
    inside = False
    while 0 <= quote < len(line) - 1:
        if not inside and line[quote + 1] == separator:
            return quote + 1
        while True:
            quote = line.find(_QUOTE, quote + 1)
            inside = not inside
            if not (0 <= quote < len(line) - 1 and line[quote + 1] == _QUOTE):
                break
    return len(line)


def _unquoted(field: str) -> str:
    if field.startswith(_QUOTE) and field.count(_QUOTE) > 1:
        field = field[1:]
        field = field[:-1] if field.endswith(_QUOTE) else field
    return field.replace(_QUOTE * 2, _QUOTE)
