"""
Input columns as the values that a dimension or an aggregator stores.

The rules are Druid's, and they differ: a long dimension refuses `"1,234"`, a longSum takes it; `true` is 1 for a long
dimension and an error for every other number. Rules speak of single Python values, but are applied once per distinct
value of a batch; plain integers never pass through Python at all.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.java_text import as_double, float_text, java_text

LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StringValues:
    """
    A string dimension over the rows of a batch, each distinct row value held once.

    `codes[row]` names a row value: `texts[code]` (which may be null), unless `lists` has the code: then the row holds
    those values, none or several.
    """

    codes: npt.NDArray[np.int32]
    texts: pa.StringArray
    lists: dict[int, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers over the rows of a batch; `nulls` is None where there are none, and values are 0 under a null."""

    values: npt.NDArray[Any]  # int64, float64 or float32
    nulls: Bools | None

    def take(self, rows: npt.NDArray[np.int64] | slice) -> "Numbers":
        nulls = None if self.nulls is None else self.nulls[rows]
        return Numbers(self.values[rows], nulls if nulls is not None and nulls.any() else None)


@dataclass(frozen=True, slots=True)
class Faults:
    """Rows whose value could not be converted and became null, and what Druid says of each."""

    rows: npt.NDArray[np.int64]
    messages: Callable[[int], str]


class Refused(Exception):
    """A rule does not take the value. The text is Druid's message."""


NumberRule = Callable[[Any], float | None]
"""A Python value as JSON has it (str, int, float, bool, list, dict) to its number, or None; raises Refused."""


def string_values(column: RawColumn | None, rows: int, handling: str) -> StringValues:
    """
    A column under a string dimension.

    `handling` is the dimension's multiValueHandling: SORTED_ARRAY, SORTED_SET or ARRAY. Druid: StringDimensionIndexer
    """
    if column is None:
        return StringValues(np.zeros(rows, np.int32), pa.array([None], pa.string()), {})
    if column.encoding is Encoding.TEXT:
        codes, texts = _encoded(column.values)
        return StringValues(codes, cast("pa.StringArray", texts), {})
    codes, distinct = _encoded(column.values)
    texts, lists = _texts_of_tokens(distinct) if column.encoding is Encoding.TOKEN else _texts_of_typed(distinct)
    return _unified(codes, texts, {code: _handled(values, handling) for code, values in lists.items()})


def long_dimension(name: str) -> NumberRule:
    """Druid: DimensionHandlerUtils.convertObjectToLong"""

    def rule(value: Any) -> int | None:
        match value:
            case bool():
                return int(value)
            case int():
                return _saturated(value)
            case float():
                return _saturated(value)
            case str() if _INTEGER.fullmatch(value) and LONG_MIN <= int(value) <= LONG_MAX:
                return int(value)
            case str() if _DECIMAL.fullmatch(value) and float(value).is_integer() and abs(float(value)) < 1 << 63:
                return int(float(value))
            case list():
                raise Refused(_many_values(value, "long", name))
            case _:
                raise Refused(f"Could not convert value [{java_text(value)}] to long for dimension [{name}].")

    return rule


def double_dimension(name: str, kind: str = "double") -> NumberRule:
    """Druid: DimensionHandlerUtils.convertObjectToDouble, convertObjectToFloat"""

    def rule(value: Any) -> float | None:
        match value:
            case bool():
                pass
            case int() | float():
                return float(value)
            case str() if (number := _java_double(value)) is not None:
                return number
            case list():
                raise Refused(_many_values(value, kind, name))
            case _:
                pass
        raise Refused(f"Could not convert value [{java_text(value)}] to {kind} for dimension [{name}].")

    return rule


def metric_input(field: str) -> NumberRule:
    """A number for an aggregator, still as double or integer. Druid: Rows.objectToNumber"""

    def rule(value: Any) -> float | None:
        match value:
            case bool():
                raise Refused(f"Unknown type[class java.lang.Boolean] for field[{field}]")
            case int() | float():
                return value
            case str():
                text = value.strip().replace(",", "")
                if _INTEGER.fullmatch(text) and LONG_MIN <= int(text) <= LONG_MAX:
                    return int(text)
                number = _java_double(text)
                if number is None:
                    raise Refused(f"Unable to parse value[{value}] for field[{field}]")
                return number
            case list():
                raise Refused(f"Unknown type[class java.util.ArrayList] for field[{field}]")
            case _:
                raise Refused(f"Unknown type[class java.util.LinkedHashMap] for field[{field}]")

    return rule


def numbers(
    column: RawColumn | None, rows: int, rule: NumberRule, dtype: type[np.int64] | type[np.float64] | type[np.float32]
) -> tuple[Numbers, Faults | None]:
    """
    A column under a numeric dimension or aggregator: its numbers, and the rows that the rule refused.

    Integers saturate at the ends of a long and fractions are cut, as Java narrows them.
    """
    if column is None:
        return Numbers(np.zeros(rows, dtype), np.ones(rows, np.bool_)), None
    values = column.values
    if column.encoding is Encoding.TYPED and pa.types.is_float32(values.type):
        values = values.cast(pa.float64())
    if column.encoding is Encoding.TYPED and (pa.types.is_int64(values.type) or pa.types.is_float64(values.type)):
        nulls = _null_mask(values)
        plain = values if nulls is None else values.fill_null(0)
        return Numbers(_narrowed(plain.to_numpy(zero_copy_only=False), dtype), nulls), None
    codes, distinct = _encoded(values)
    return _by_distinct(codes, distinct, column.encoding, rule, dtype)


_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_JAVA_DOUBLE = re.compile(r"(?P<number>[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))[fFdD]?")


def _java_double(text: str) -> float | None:
    """Druid: com.google.common.primitives.Doubles.tryParse"""
    match = _JAVA_DOUBLE.fullmatch(text)
    return None if match is None else float(match["number"])


def _saturated(value: float) -> int:
    """Java's narrowing to long: NaN is 0, fractions are cut, what is too large is the nearest end."""
    if isinstance(value, float) and not abs(value) < 1 << 63:
        return 0 if value != value else LONG_MAX if value > 0 else LONG_MIN
    return max(LONG_MIN, min(LONG_MAX, int(value)))


def _many_values(value: list[Any], kind: str, name: str) -> str:
    return (
        f"Could not ingest value [{java_text(value)}] as {kind} for dimension [{name}]. "
        f"A {kind} column cannot have multiple values in the same row."
    )


def _encoded(values: pa.Array) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Row codes and the distinct values that they name; a null is a value of its own."""
    if pa.types.is_nested(values.type):
        return _encoded_lists(values)
    encoded = cast("pa.DictionaryArray", pc.dictionary_encode(values, null_encoding="encode"))
    return encoded.indices.to_numpy(zero_copy_only=False).copy(), encoded.dictionary


def _encoded_lists(values: pa.Array) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """Arrow does not encode nested types; lists come only from parquet and delimited cells."""
    known: dict[str, int] = {}
    firsts: list[Any] = []
    codes = np.empty(len(values), np.int32)
    for row, value in enumerate(values.to_pylist()):
        code = known.setdefault(repr(value), len(known))
        if code == len(firsts):
            firsts.append(value)
        codes[row] = code
    return codes, pa.array(firsts, values.type)


def _texts_of_tokens(tokens: pa.Array) -> tuple[pa.Array, dict[int, list[str | None]]]:
    """The text of each distinct JSON token, and the values of those that are lists of none or several."""
    plain = pc.and_(pc.starts_with(tokens, '"'), pc.invert(pc.match_substring(tokens, "\\")))
    plain = pc.fill_null(plain, False)
    texts = pc.if_else(plain, pc.utf8_slice_codeunits(tokens, 1, -1), None)
    others = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
    if len(others) == 0:
        return texts, {}
    values = [None if token is None else json.loads(token) for token in tokens.take(pa.array(others)).to_pylist()]
    return _placed(texts, others, values)


def _texts_of_typed(distinct: pa.Array) -> tuple[pa.Array, dict[int, list[str | None]]]:
    if pa.types.is_integer(distinct.type) or pa.types.is_boolean(distinct.type) or pa.types.is_string(distinct.type):
        return distinct.cast(pa.string()), {}
    values = distinct.to_pylist()
    if pa.types.is_float32(distinct.type):
        values = [None if value is None else float_text(value) for value in values]
    return _placed(pa.nulls(len(distinct), pa.string()), np.arange(len(distinct)), values)


def _placed(
    texts: pa.Array, places: npt.NDArray[np.int64], values: list[Any]
) -> tuple[pa.Array, dict[int, list[str | None]]]:
    """`texts` with the text of each value at its place, and the lists among them."""
    lists: dict[int, list[str | None]] = {}
    singles: list[str | None] = []
    for place, value in zip(places.tolist(), values, strict=True):
        if isinstance(value, list):
            items = [None if item is None else java_text(item) for item in cast("list[Any]", value)]
            if len(items) == 1:
                singles.append(items[0])
                continue
            lists[place] = items
            singles.append(None)
        else:
            singles.append(None if value is None else java_text(value))
    mask = np.zeros(len(texts), np.bool_)
    mask[places] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(singles, pa.string())), lists


def _handled(values: list[str | None], handling: str) -> tuple[str | None, ...]:
    """Druid: DimensionSchema.MultiValueHandling"""
    if handling == "ARRAY":
        return tuple(values)
    ordered = sorted(values, key=_utf16_nulls_first)
    return tuple(dict.fromkeys(ordered)) if handling == "SORTED_SET" else tuple(ordered)


def _utf16_nulls_first(text: str | None) -> tuple[bool, bytes]:
    return text is not None, b"" if text is None else text.encode("utf-16-be", "surrogatepass")


def _unified(codes: npt.NDArray[np.int32], texts: pa.Array, lists: dict[int, tuple[str | None, ...]]) -> StringValues:
    """Different tokens may stand for one text (`1` and `"1"`), and a set of one value is that value."""
    if any(len(values) == 1 for values in lists.values()):
        places = np.array([code for code, values in lists.items() if len(values) == 1])
        mask = np.zeros(len(texts), np.bool_)
        mask[places] = True
        single = [lists[place][0] for place in np.sort(places).tolist()]
        texts = pc.replace_with_mask(texts, pa.array(mask), pa.array(single, pa.string()))
        lists = {code: values for code, values in lists.items() if len(values) != 1}
    unified_codes, unified = _encoded(texts)
    if not lists and len(unified) == len(texts):
        return StringValues(codes, cast("pa.StringArray", texts), {})
    kept = dict[tuple[str | None, ...], int]()
    for code, values in lists.items():
        unified_codes[code] = kept.setdefault(values, len(unified) + len(kept))
    padded = pa.concat_arrays([unified, pa.nulls(len(kept), pa.string())])
    by_code = {code: values for values, code in kept.items()}
    return StringValues(unified_codes[codes], cast("pa.StringArray", padded), by_code)


def _by_distinct(
    codes: npt.NDArray[np.int32], distinct: pa.Array, encoding: Encoding, rule: NumberRule, dtype: type[Any]
) -> tuple[Numbers, Faults | None]:
    found = np.zeros(len(distinct), dtype)
    missing = _null_mask(distinct)
    nulls = np.zeros(len(distinct), np.bool_) if missing is None else missing.copy()
    left = ~nulls
    if pa.types.is_string(distinct.type):
        integers = pc.fill_null(pc.match_substring_regex(distinct, "^-?[0-9]{1,18}$"), False)
        mask = integers.to_numpy(zero_copy_only=False)
        found[mask] = distinct.filter(integers).cast(pa.int64()).to_numpy(zero_copy_only=False).astype(dtype)
        left &= ~mask
    messages: dict[int, str] = {}
    places = np.flatnonzero(left)
    for place, raw in zip(places.tolist(), distinct.take(pa.array(places)).to_pylist(), strict=True):
        try:
            number = rule(json.loads(raw) if encoding is Encoding.TOKEN else raw)
        except Refused as refusal:
            messages[place] = str(refusal)
            number = None
        if number is None:
            nulls[place] = True
        else:
            found[place] = _saturated(number) if dtype is np.int64 else as_double(number)
    row_nulls = nulls[codes] if nulls.any() else None
    result = Numbers(found[codes], row_nulls if row_nulls is not None and row_nulls.any() else None)
    if not messages:
        return result, None
    refused = np.zeros(len(distinct), np.bool_)
    refused[list(messages)] = True
    return result, Faults(np.flatnonzero(refused[codes]), lambda row: messages[int(codes[row])])


def _narrowed(values: npt.NDArray[Any], dtype: type[Any]) -> npt.NDArray[Any]:
    if dtype is np.int64 and values.dtype == np.float64:
        clean = np.nan_to_num(values, nan=0.0, posinf=2.0**63, neginf=-(2.0**63))
        inside = np.clip(clean, -(2.0**63), np.nextafter(2.0**63, 0)).astype(np.int64)
        return np.where(clean >= 2.0**63, np.int64(LONG_MAX), inside)
    return values.astype(dtype, copy=False)


def _null_mask(values: pa.Array) -> Bools | None:
    if values.null_count == 0:
        return None
    return values.is_null().to_numpy(zero_copy_only=False)
