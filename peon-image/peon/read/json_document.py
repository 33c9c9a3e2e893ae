"""
One line of JSON as Druid's parser takes it: the slow and exact way, for lines that the fast way does not understand.

Where Jackson differs from other parsers: what follows the first value of a line is ignored; NaN and Infinity are
refused; of two equal keys the last one counts, at the place of the first; half a surrogate pair becomes `?`; a byte
order mark is skipped. Druid: JsonLineReader, with the settings of its DefaultObjectMapper
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, cast

JACKSON_LIMIT = 1000
"""The most digits of a number, and the most levels of a value. Jackson: StreamReadConstraints"""

BEYOND_DOUBLE = 10**400
"""Stands for a number such as 1E400, which no double can hold and for which JSON has no other word."""

_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")
# A number at the root needs a space after it; true, false and null must not run on as a word.
_ROOT_NUMBER = re.compile(r"[-\d]")
_ROOT_WORD = re.compile(r"[tfn]")


class Unreadable(Exception):
    """The line is not JSON for Jackson."""


def read_document(line: bytes) -> Any:
    """The first JSON value of a line, as Python's own types. Raises Unreadable."""
    text, is_cut = _decode(line.removeprefix(_BOM))
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        document, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    follows = text[end : end + 1] or ("\ufffd" if is_cut else " ")
    if (_ROOT_NUMBER.match(text, start) and follows not in _SPACE) or (
        _ROOT_WORD.match(text, start) and (follows.isalnum() or follows in "_$")
    ):
        raise Unreadable("a scalar runs into what follows it")
    return _mended(document) if "\\u" in text or _SURROGATE.search(text) else document


def read_record(line: bytes) -> dict[str, Any]:
    """The members of a line's object; none if the line holds another kind of value. Raises Unreadable."""
    document = read_document(line)
    return document if isinstance(document, dict) else {}


def write_record(record: Mapping[str, Any]) -> str:
    """An object as JSON text that every parser reads alike."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _decode(line: bytes) -> tuple[str, bool]:
    """The text of a line up to the first byte that is no UTF-8, and whether there is one."""
    try:
        # Jackson lets surrogates pass that were encoded on their own.
        return line.decode("utf-8", "surrogatepass"), False
    except UnicodeDecodeError as error:
        return line[: error.start].decode("utf-8", "surrogatepass"), True


def _mended(value: Any) -> Any:
    """The value with pairs of surrogates joined and single ones replaced. Druid: JSONFlattenerMaker.charsetFix"""
    if isinstance(value, str):
        if not _SURROGATE.search(value):
            return value
        joined = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return joined.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_mended(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_mended(key): _mended(member) for key, member in cast("dict[str, Any]", value).items()}
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int:
    _check_length(digits)
    return int(digits)


def _fraction(digits: str) -> float | int:
    _check_length(digits)
    value = float(digits)
    if math.isinf(value):
        return BEYOND_DOUBLE if value > 0 else -BEYOND_DOUBLE
    return value


def _check_length(digits: str) -> None:
    if len(digits) > JACKSON_LIMIT:
        raise ValueError("a number of too many digits")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_whole_number, parse_float=_fraction)
