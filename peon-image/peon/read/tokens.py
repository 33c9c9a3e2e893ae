"""
Columns of JSON tokens, made into what the builder handles fastest without losing what a value was.

All strings become TEXT, all whole numbers, all fractions or all booleans TYPED; anything mixed stays TOKEN.
"""

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.java_text import as_double

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_QUOTE = ord('"')
_DIGIT_OR_MINUS = np.zeros(256, np.bool_)
_DIGIT_OR_MINUS[list(b"-0123456789")] = True

# Whole numbers that may not fit 64 bits. To Jackson these are doubles (JSONFlattenerMaker.convertJsonNode).
_LONG_WHOLE_NUMBER = r"^-?\d{19,}$"
_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1


def token_column(tokens: pa.StringArray) -> RawColumn:
    """A column of JSON texts, null where the value is null or absent, in the encoding that fits it best."""
    present = tokens.drop_null() if tokens.null_count else tokens
    offsets, data = string_buffers(cast("pa.StringArray", present))
    if not len(present):
        return RawColumn(tokens, Encoding.TOKEN)
    first = data[offsets[:-1]]
    if first[0] == _QUOTE and bool((first == _QUOTE).all()):
        return RawColumn(_texts(tokens), Encoding.TEXT)
    if _DIGIT_OR_MINUS[first].all():
        return _numbers(tokens, data[offsets[0] : offsets[-1]].tobytes())
    if bool(((first == ord("t")) | (first == ord("f"))).all()):
        return RawColumn(pc.equal(tokens, "true"), Encoding.TYPED)
    return RawColumn(_large_as_doubles(tokens), Encoding.TOKEN)


def flat_only(tokens: pa.StringArray) -> pa.StringArray:
    """The tokens without objects and without arrays that hold any nesting. Druid: JSONFlattenerMaker.isFlatList"""
    nested = pc.fill_null(pc.match_substring_regex(tokens, r"^(?:\{|\[.*[\[{])"), fill_value=False)
    if not pc.any(nested).as_py():
        return tokens
    objects = np.asarray(nested)
    for row in np.flatnonzero(objects):
        # A bracket inside a string does not make an array deep.
        value = json.loads(tokens[int(row)].as_py())
        objects[row] = isinstance(value, dict) or any(isinstance(item, dict | list) for item in value)
    return pc.if_else(pa.array(objects), pa.scalar(None, pa.string()), tokens)


def of_distinct(texts: pa.StringArray, of: Callable[[pa.StringArray], pa.Array]) -> pa.Array:
    """What `of` says of each text, asked once for each distinct one; null where the text is."""
    encoded = cast("pa.DictionaryArray", pc.dictionary_encode(texts))
    return pc.take(of(cast("pa.StringArray", encoded.dictionary)), encoded.indices)


def value_at(column: RawColumn, row: int) -> Any:
    """One value of a column as Python's own type."""
    value = column.values[row].as_py()
    return json.loads(value) if column.encoding is Encoding.TOKEN and value is not None else value


def string_buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.int32], Bytes]:
    """The offsets and bytes of a string array, as they lie in memory; offsets start where the array starts."""
    _, offsets, data = texts.buffers()
    if offsets is None or not len(texts):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return ends, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _texts(tokens: pa.StringArray) -> pa.StringArray:
    """The strings that quoted tokens stand for."""
    offsets, data = string_buffers(tokens)
    start, end = int(offsets[0]), int(offsets[-1])
    data = data[start:end]
    if b"\\" in data.tobytes():
        return _decoded(tokens)
    starts, ends = offsets[:-1] - start, offsets[1:] - start
    valid = np.ones(len(tokens), np.bool_) if not tokens.null_count else np.asarray(tokens.is_valid())
    kept = np.ones(len(data), np.bool_)
    kept[starts[valid]] = False
    kept[ends[valid] - 1] = False
    # Every value lost its two quotes; so each offset moves by two for every value before it.
    shrunk = offsets - start
    shrunk[1:] -= 2 * np.cumsum(valid, dtype=np.int32)
    validity = None if not tokens.null_count else pa.array(valid).buffers()[1]
    return pa.StringArray.from_buffers(
        len(tokens), pa.py_buffer(shrunk), pa.py_buffer(data[kept]), validity, tokens.null_count
    )


def _decoded(tokens: pa.StringArray) -> pa.StringArray:
    """As `_texts`, for columns with escapes in them: those values are decoded, each distinct one once."""
    escaped = pc.fill_null(pc.match_substring(tokens, "\\"), fill_value=False)
    distinct = pc.dictionary_encode(pc.filter(tokens, escaped))
    texts = pa.array([json.loads(token) for token in distinct.dictionary.to_pylist()], pa.string())
    plain = _texts(cast("pa.StringArray", pc.if_else(escaped, '""', tokens)))
    return pc.replace_with_mask(plain, escaped, pc.take(texts, distinct.indices))


def _numbers(tokens: pa.StringArray, text: bytes) -> RawColumn:
    try:
        if b"." not in text and b"e" not in text and b"E" not in text:
            return RawColumn(pc.cast(tokens, pa.int64()), Encoding.TYPED)
        if pc.all(pc.match_substring_regex(tokens, "[.eE]")).as_py():
            return RawColumn(pc.cast(tokens, pa.float64()), Encoding.TYPED)
    except pa.ArrowInvalid:
        pass  # a number of more than 64 bits
    return RawColumn(_large_as_doubles(tokens), Encoding.TOKEN)


def _large_as_doubles(tokens: pa.StringArray) -> pa.StringArray:
    """Whole numbers beyond 64 bits, written as the doubles that they are to Druid."""
    large = of_distinct(tokens, lambda distinct: pc.match_substring_regex(distinct, _LONG_WHOLE_NUMBER))
    large = pc.fill_null(large, fill_value=False)
    if not pc.any(large).as_py():
        return tokens
    texts = [
        token if _LONG_MIN <= int(token) <= _LONG_MAX else _double_token(as_double(int(token)))
        for token in pc.filter(tokens, large).to_pylist()
    ]
    return pc.replace_with_mask(tokens, large, pa.array(texts, pa.string()))


def _double_token(value: float) -> str:
    return "1E400" if value == float("inf") else "-1E400" if value == float("-inf") else repr(value)
