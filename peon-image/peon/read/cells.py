"""Cells of delimited text: strings, lists of them, and numbers where the format asks for that."""

import json
import re
from typing import Any, cast

import numpy as np
import pyarrow as pa

from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn

DEFAULT_LIST_DELIMITER = "\x01"
"""Druid: Parsers.DEFAULT_LIST_DELIMITER"""

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[dDfF]?", re.ASCII)
_INTEGER = re.compile(r"-?\d+", re.ASCII)
# Java takes these for octal; with an 8, a 9 or an exponent in them they are no numbers.
_OCTAL = re.compile(r"[+-]?0\d")
_ALL_OCTAL = re.compile(r"[+-]?[0-7]+", re.ASCII)
_PLAIN_INTEGER = r"^(?:0|-?[1-9][0-9]{0,17})$"


def cell_value(cell: str | None, list_delimiter: str, numbers: bool) -> Any:
    """What Druid makes of one cell. Druid: ParserUtils.getTransformationFunction"""
    if cell is None:
        return None
    if list_delimiter in cell:
        return [_number(item) if numbers else item for item in cell.split(list_delimiter)]
    return _number(cell) if numbers else cell


def cell_column(cells: pa.StringArray, list_delimiter: str, numbers: bool) -> RawColumn:
    """A column of cells; the same as `cell_value` for each, but each distinct cell is looked at once."""
    has_lists = pc.any(pc.match_substring(cells, list_delimiter)).as_py()
    if not has_lists and not numbers:
        return RawColumn(cells, Encoding.TEXT)
    if not has_lists and pc.all(pc.match_substring_regex(cells, _PLAIN_INTEGER)).as_py():
        return RawColumn(pc.cast(cells, pa.int64()), Encoding.TYPED)
    encoded = cast("pa.DictionaryArray", pc.dictionary_encode(cells, null_encoding="encode"))
    values = [cell_value(cell, list_delimiter, numbers) for cell in encoded.dictionary.to_pylist()]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} or kinds == {float}:
        return RawColumn(pc.take(pa.array(values), encoded.indices), Encoding.TYPED)
    if kinds <= {str}:
        return RawColumn(cells, Encoding.TEXT)
    tokens = pa.array([None if value is None else _token(value) for value in values], pa.string())
    return RawColumn(pc.take(tokens, encoded.indices), Encoding.TOKEN)


def _number(text: str) -> int | float | str:
    """Druid: ParserUtils.tryParseStringAsNumber"""
    if not _NUMBER.fullmatch(text) or ("." not in text and _OCTAL.match(text) and not _ALL_OCTAL.fullmatch(text)):
        return text
    if _INTEGER.fullmatch(text) and _LONG_MIN <= int(text) <= _LONG_MAX:
        return int(text)
    return float(text.rstrip("dDfF"))


def _token(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_token(item) for item in cast("list[Any]", value)) + "]"
    if isinstance(value, float) and np.isinf(value):
        return "1E400" if value > 0 else "-1E400"
    return json.dumps(value, ensure_ascii=False)
