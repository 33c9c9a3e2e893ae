"""Distinct row values of string dimensions, united from several parts."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from peon.build.entries import Entries, unite
from peon.build.values import StringValues

text = st.text(alphabet="aZé\U0001f600～", max_size=2)
value = st.one_of(
    st.none(), text, st.lists(st.none() | text, max_size=3).map(tuple).filter(lambda items: len(items) != 1)
)
parts_of_rows = st.lists(st.lists(value, max_size=8), min_size=1, max_size=4).filter(any)


def _values(rows: list[Any]) -> StringValues:
    distinct = list(dict.fromkeys(rows))
    texts = pa.array([None if isinstance(item, tuple) else item for item in distinct], pa.string())
    lists: dict[int, tuple[str | None, ...]] = {
        code: item for code, item in enumerate(distinct) if isinstance(item, tuple)
    }
    return StringValues(np.array([distinct.index(item) for item in rows], np.int32), texts, lists)


def _as_list(item: Any) -> tuple[str | None, ...]:
    return item if isinstance(item, tuple) else (item,)


def _key(items: tuple[str | None, ...]) -> list[tuple[bool, bytes]]:
    return [(text is not None, (text or "").encode("utf-16-be")) for text in items or (None,)]


def _decoded(codes: Any, entries: Entries) -> list[tuple[str | None, ...]]:
    texts = entries.texts.to_pylist()
    if entries.lists is None:
        return [(texts[code],) for code in codes]
    offsets, ids = entries.lists.offsets, entries.lists.ids
    return [tuple(texts[text] for text in ids[offsets[code] : offsets[code + 1]]) for code in codes]


@given(parts_of_rows)
def test_united_rows_are_the_rows_that_came_in(parts: list[list[Any]]) -> None:
    codes, entries = unite([_values(rows) for rows in parts])
    assert _decoded(codes, entries) == [_as_list(item) for rows in parts for item in rows]


@given(parts_of_rows)
def test_only_several_texts_in_a_row_make_a_column_multi_valued(parts: list[list[Any]]) -> None:
    codes, entries = unite([_values(rows) for rows in parts])
    rows = [_as_list(item) for rows in parts for item in rows]
    assert entries.multi_value == any(len(items) > 1 for items in rows)
    if not entries.multi_value:
        texts = entries.texts.to_pylist()
        assert [texts[text] for text in entries.single_texts()[codes]] == [(items or (None,))[0] for items in rows]


@given(parts_of_rows)
def test_ranks_order_rows_as_druid_does(parts: list[list[Any]]) -> None:
    codes, entries = unite([_values(rows) for rows in parts])
    keys = [_key(items) for items in _decoded(codes, entries)]
    ranks = entries.ranks_of(codes).tolist()
    for left_key, left in zip(keys, ranks, strict=True):
        for right_key, right in zip(keys, ranks, strict=True):
            assert (left_key < right_key) == (left < right)


@given(parts_of_rows)
def test_the_dictionary_holds_what_rows_hold_in_utf16_order(parts: list[list[Any]]) -> None:
    _, entries = unite([_values(rows) for rows in parts])
    held = {text for rows in parts for item in rows for text in (_as_list(item) or (None,))}
    assert entries.texts.to_pylist() == sorted(held, key=lambda text: _key((text,)))


@given(parts_of_rows)
def test_entries_can_be_united_again_without_a_change(parts: list[list[Any]]) -> None:
    _, entries = unite([_values(rows) for rows in parts])
    codes, again = unite([entries.as_values()])
    assert codes.tolist() == list(range(len(entries)))
    assert again.texts.equals(entries.texts)


def test_values_that_no_row_holds_are_left_out() -> None:
    part = StringValues(np.array([1, 1], np.int32), pa.array(["unused", "b"]), {})
    codes, entries = unite([part])
    assert entries.texts.to_pylist() == ["b"]
    assert codes.tolist() == [0, 0]
