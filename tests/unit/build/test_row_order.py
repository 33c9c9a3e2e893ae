"""The order of rows."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peon.build.row_order import double_keys, long_keys, pack, rank_key, runs, sort

longs = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-3, 3)
row = st.tuples(
    longs, st.none() | longs, st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1.0]), st.integers(0, 4)
)


def _double_order(value: float | None) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    return (1, math.isnan(value), 0.0 if math.isnan(value) else value, math.copysign(1, value) if value == 0 else 0)


def _plain_key(values: tuple[int, int | None, float | None, int]) -> tuple[Any, ...]:
    time, long, double, rank = values
    return time, long is not None, long or 0, _double_order(double), rank


def _words(rows: list[tuple[int, int | None, float | None, int]]) -> Any:
    times, long, double, ranks = zip(*rows, strict=True)
    nulls = [np.array([value is None for value in column]) for column in (long, double)]
    return pack(
        [
            *long_keys(np.array(times, np.int64), None),
            *long_keys(np.array([value or 0 for value in long], np.int64), nulls[0]),
            *double_keys(
                np.array([value or 0.0 if value is None else value for value in double], np.float64), nulls[1]
            ),
            rank_key(np.array(ranks, np.int32), 5),
        ]
    )


@given(st.lists(row, min_size=1, max_size=60))
def test_packed_keys_sort_as_python_sorts_the_rows_and_ties_stay_in_their_order(
    rows: list[tuple[int, int | None, float | None, int]],
) -> None:
    order = sort(_words(rows))
    expected = sorted(range(len(rows)), key=lambda index: _plain_key(rows[index]))
    assert (list(range(len(rows))) if order is None else order.tolist()) == expected


@given(st.lists(row, min_size=1, max_size=60))
def test_runs_begin_where_the_key_changes(rows: list[tuple[int, int | None, float | None, int]]) -> None:
    ordered = sorted(rows, key=_plain_key)
    keys = [_plain_key(values) for values in ordered]
    expected = [index for index, key in enumerate(keys) if index == 0 or key != keys[index - 1]]
    assert runs(_words(ordered)).tolist() == expected


def test_rows_in_order_are_left_alone() -> None:
    assert sort(pack(long_keys(np.array([1, 5, 9]), None))) is None


def test_narrow_columns_share_a_word() -> None:
    keys = [*long_keys(np.array([0, 86_400_000]), None), *(rank_key(np.array([0, 3], np.int32), 4) for _ in range(10))]
    assert len(pack(keys)) == 1
