"""
What the fast JSON parser returned, held against the lines it came from.

It takes some texts that Jackson refuses, and of two equal keys the wrong one. So a line has to prove that there was
nothing else in it: its members, with their keys and commas, are as long as the line. No member is ever counted longer
than it stands in the line, but for the few forms that are searched for here; so equal lengths prove every one of them.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from peon.arrow import compute as pc
from peon.read.json_document import JACKSON_LIMIT
from peon.read.tokens import of_distinct, string_buffers

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Members = dict[str, pa.StringArray]

_QUOTE = ord('"')


def _bytes_set(members: bytes) -> Bools:
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


_DIGIT = _bytes_set(b"0123456789")
_NUMBER = _bytes_set(b"-0123456789")
_LETTER = _bytes_set(b"NnIi")
_NESTED = _bytes_set(b"[{")

# How the JSON text of a value that is no string begins and ends, and what it looks like as a whole.
_FIRST_OF_OTHERS = _bytes_set(b"-0123456789[{tfNnIi")
_LAST_OF_OTHERS = _bytes_set(b"0123456789]}eEnNfFyY")
_OTHERS = (
    r"(?s)^(?:true|false|\[.*\]|\{.*\}"
    r"|-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|(?i:nan|inf|infinity)))$"
)


def all_strings(texts: pa.StringArray) -> bool:
    """
    Whether each of these texts was certainly a string in the JSON that it came from.

    The text of any other value is a number, a list, an object or a word; a string may look like one too.
    """
    offsets, data = string_buffers(texts)
    rows = np.flatnonzero(np.diff(offsets))
    begins, ends = offsets[:-1][rows], offsets[1:][rows]
    rows = rows[_FIRST_OF_OTHERS[data[begins]] & _LAST_OF_OTHERS[data[ends - 1]]]
    return not len(rows) or not pc.any(pc.match_substring_regex(texts.take(pa.array(rows)), _OTHERS)).as_py()


def unproven_rows(
    lines: pa.StringArray, lengths: npt.NDArray[np.int32], members: Members, texts: Collection[str]
) -> Rows:
    """
    The lines that may hold more than these members, or hold one in a form that Jackson sees differently.

    lengths: bytes of each line without its line end
    texts:   the members that are strings without their quotes; the others are JSON texts
    """
    missing = lengths - np.int32(1)  # the opening brace
    doubtful, nested = np.zeros(len(lengths), np.bool_), np.zeros(len(lengths), np.bool_)
    filled = np.zeros(len(lengths), np.bool_)
    for key, tokens in members.items():
        offsets, data = string_buffers(tokens)
        cost = np.diff(offsets) + np.int32(_key_bytes(key) + (2 if key in texts else 0))
        if tokens.null_count:
            valid = np.asarray(tokens.is_valid())
            cost *= valid
            filled |= valid
        else:
            filled[:] = True
        missing -= cost
        if key not in texts and len(data):
            _find_odd_tokens(tokens, offsets, data, doubtful, nested)
    _count_explicit_nulls(lines, members, np.flatnonzero((missing > 0) & ~doubtful & ~nested), missing, filled)
    # Nothing stands between the braces of an empty object; of others, a comma or the brace went with each member.
    missing[~filled] -= 1
    return np.flatnonzero(doubtful | (missing != 0))


def overlong_rows(members: Members, texts: Collection[str]) -> Rows:
    """Rows with a number of more digits, or a value of more levels, than Jackson may take."""
    rows: list[int] = []
    for key, tokens in members.items():
        if key in texts:
            continue
        offsets, data = string_buffers(tokens)
        for row in np.flatnonzero(np.diff(offsets) > JACKSON_LIMIT).tolist():
            first = int(data[offsets[row]])
            token = data[offsets[row] : offsets[row + 1]].tobytes()
            if _NUMBER[first] or (_NESTED[first] and token.count(b"[") + token.count(b"{") >= JACKSON_LIMIT):
                rows.append(row)
    return np.array(rows, np.int64)


def _key_bytes(key: str) -> int:
    """What stands around a value: `"key":` before it, and a comma or the closing brace behind it."""
    return len(orjson.dumps(key)) + 2


def _find_odd_tokens(
    tokens: pa.StringArray,
    offsets: npt.NDArray[np.int32],
    data: npt.NDArray[np.uint8],
    doubtful: Bools,
    nested: Bools,
) -> None:
    """Mark tokens that may be NaN, hold one, or be longer than what stood in the line; and those with objects in."""
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    kinds = np.bincount(first, minlength=256) > 0
    if kinds[_QUOTE] and int(kinds.sum()) == 1:
        return
    raw = data.tobytes()
    if (kinds & _LETTER).any():
        # Of JSON's own words only null begins so, and a null is no token.
        doubtful |= _LETTER[first]
    if kinds[ord("-")]:
        doubtful |= (first == ord("-")) & ~_DIGIT[data[np.minimum(offsets[:-1] + 1, len(data) - 1)]]
    if (kinds & _NUMBER).any() and b"." in raw:
        # An exponent was perhaps written out: 1e5 as 100000.0.
        doubtful |= _NUMBER[first] & np.asarray(pc.fill_null(pc.ends_with(tokens, "0.0"), False))
    if np.diff(offsets).max() > JACKSON_LIMIT:
        doubtful |= np.diff(offsets) > JACKSON_LIMIT
    if (kinds & _NESTED).any():
        inside = of_distinct(tokens, lambda distinct: pc.match_substring_regex(distinct, "(?i)nan|inf|0[.]0"))
        doubtful |= _NESTED[first] & np.asarray(pc.fill_null(inside, False))
        if b"{" in raw:
            nested |= np.asarray(pc.fill_null(pc.match_substring(tokens, "{"), False))


def _count_explicit_nulls(
    lines: pa.StringArray, members: Members, rows: Rows, missing: npt.NDArray[np.int32], filled: Bools
) -> None:
    """
    Take the members that are null in so many words off what is `missing` from `rows`, in which no object is nested.

    A key with its quotes and a null behind it can be nothing else after a comma or brace: inside a string its first
    quote would have a backslash before it.
    """
    for key, tokens in members.items():
        if not tokens.null_count or not len(rows):
            continue
        member = orjson.dumps(key) + b":null"
        candidates = rows[np.asarray(tokens.is_null())[rows] & (missing[rows] > len(member))]
        chosen = lines.take(pa.array(candidates))
        places = np.asarray(pc.find_substring(chosen, member))
        offsets, data = string_buffers(chosen)
        before = data[np.maximum(offsets[:-1] + places - 1, 0)] if len(candidates) else data
        found = candidates[(places > 0) & ((before == ord(",")) | (before == ord("{")))]
        missing[found] -= len(member) + 1
        filled[found] = True
        rows = rows[missing[rows] > 0]
