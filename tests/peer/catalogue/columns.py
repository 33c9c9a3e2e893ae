"""What may stand in a column: every type, null, empty, list, odd character and cardinality."""

import random
from typing import Any

from tests.peer.datasets import DataSet, Row, data_set, register
from tests.peer.granularity_oracle import DAY

START = 19_723 * DAY  # 2024-01-01
WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "oak", "pine", "yew"]
EVERY_TYPE: list[str | dict[str, Any]] = [
    "tree",
    {"type": "long", "name": "n"},
    {"type": "double", "name": "x"},
    {"type": "float", "name": "y"},
]


def times(count: int, span_ms: int = DAY) -> list[int]:
    """`count` times from START on, ascending, spread over `span_ms`."""
    return [START + i * span_ms // count for i in range(count)]


def rows_of(values: list[dict[str, Any]]) -> list[Row]:
    return list(zip(times(len(values)), values, strict=True))


def single(name: str, values: list[Any], **more: Any) -> DataSet:
    return DataSet(rows_of([{name: value} for value in values]), dimensions=[name], **more)


@data_set
def one_row(_: random.Random) -> DataSet:
    return DataSet(rows_of([{"tree": "oak", "n": 7, "x": 0.5, "y": 0.25}]), dimensions=EVERY_TYPE)


@data_set
def every_type(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(
            [
                {"tree": r.choice(WORDS), "n": r.randrange(-(10**12), 10**12), "x": r.uniform(-9, 9), "y": r.random()}
                for _ in range(500)
            ]
        ),
        dimensions=EVERY_TYPE,
    )


@data_set
def rows_out_of_order(r: random.Random) -> DataSet:
    made = rows_of([{"tree": r.choice(WORDS), "n": r.randrange(3)} for _ in range(300)])
    r.shuffle(made)
    return DataSet(made, dimensions=["tree", {"type": "long", "name": "n"}], query_granularity="HOUR")


@data_set
def nulls_in_every_type(r: random.Random) -> DataSet:
    def maybe(value: Any) -> Any:
        return value if r.random() < 0.6 else None

    return DataSet(
        rows_of(
            [
                {"tree": maybe(r.choice(WORDS)), "n": maybe(r.randrange(9)), "x": maybe(0.5), "y": maybe(r.random())}
                for _ in range(200)
            ]
        ),
        dimensions=EVERY_TYPE,
    )


@data_set
def fields_missing_here_and_there(r: random.Random) -> DataSet:
    full = [{"tree": r.choice(WORDS), "n": r.randrange(9), "x": 1.5, "y": 2.5} for _ in range(100)]
    return DataSet(rows_of([{k: v for k, v in row.items() if r.random() < 0.5} for row in full]), dimensions=EVERY_TYPE)


@data_set
def string_column_of_nulls_only(_: random.Random) -> DataSet:
    return DataSet(
        rows_of([{"tree": word, "never": None} for word in WORDS]), dimensions=["tree", "never", "nowhere", "n"]
    )


@data_set
def number_columns_of_nulls_only(_: random.Random) -> DataSet:
    return DataSet(rows_of([{"tree": word, "n": None} for word in WORDS]), dimensions=EVERY_TYPE)


@data_set
def every_column_null(_: random.Random) -> DataSet:
    return DataSet(rows_of([{"tree": None} for _ in range(5)]), dimensions=EVERY_TYPE)


@data_set
def empty_string_is_not_null(r: random.Random) -> DataSet:
    return single("tree", [r.choice(["", None, "oak"]) for _ in range(60)])


@data_set
def empty_string_alone(_: random.Random) -> DataSet:
    return single("tree", [""] * 4)


def _lists(r: random.Random) -> list[Any]:
    made = [[r.choice(WORDS) for _ in range(r.randrange(0, 5))] for _ in range(150)]
    return [each if len(each) != 1 or r.random() < 0.5 else each[0] for each in made]


for _handling in ("SORTED_ARRAY", "SORTED_SET", "ARRAY"):

    def _multi_value(r: random.Random, handling: str = _handling) -> DataSet:
        return DataSet(
            rows_of([{"trees": each, "n": r.randrange(3)} for each in _lists(r)]),
            dimensions=[{"type": "string", "name": "trees", "multiValueHandling": handling}, "n"],
        )

    register(f"multi_value_{_handling.lower()}", _multi_value)


@data_set
def lists_of_one_stay_single(r: random.Random) -> DataSet:
    return single("tree", [[r.choice(WORDS)] for _ in range(40)])


@data_set
def empty_lists_in_a_single_value_column(r: random.Random) -> DataSet:
    return single("tree", [r.choice([[], "oak", None, ["yew"]]) for _ in range(40)])


@data_set
def empty_lists_only(_: random.Random) -> DataSet:
    return single("tree", [[] for _ in range(4)])


@data_set
def nulls_inside_lists(r: random.Random) -> DataSet:
    return single("trees", [[r.choice([None, "", *WORDS]) for _ in range(r.randrange(2, 5))] for _ in range(80)])


@data_set
def lists_of_numbers_and_booleans(r: random.Random) -> DataSet:
    return single(
        "trees", [[r.choice([1, 2.5, True, False, "1"]) for _ in range(r.randrange(0, 4))] for _ in range(60)]
    )


@data_set
def many_values_in_many_rows(r: random.Random) -> DataSet:
    return single("trees", [[f"v{r.randrange(3000)}" for _ in range(r.randrange(0, 12))] for _ in range(9000)])


@data_set
def scalars_become_strings(_: random.Random) -> DataSet:
    return single("tree", [1, -5, 2.5, 1000.0, True, False, 10**18, 0.001, "oak", "1"])


@data_set
def non_ascii_characters(r: random.Random) -> DataSet:
    alphabet = "aäßñçøλж日本語한국어עברית€"
    return single("tree", ["".join(r.choice(alphabet) for _ in range(r.randrange(1, 6))) for _ in range(200)])


@data_set
def astral_characters_sort_by_utf16(r: random.Random) -> DataSet:
    alphabet = "\U0001f600\U0001d11e\U00020000\uff5e\ue000\ufffda\u00e9"
    values: list[Any] = ["".join(r.choice(alphabet) for _ in range(r.randrange(1, 4))) for _ in range(200)]
    values[::17] = [["\uff5e", "\U0001f600"]] * len(values[::17])
    return single("tree", values)


@data_set
def control_characters_and_quotes(r: random.Random) -> DataSet:
    alphabet = '\n\t\r\b\f"\\/\u0001\u007f\u0085\u2028 ,'
    return single("tree", ["".join(r.choice(alphabet) for _ in range(3)) for _ in range(100)])


@data_set
def strings_of_a_hundred_thousand_characters(_: random.Random) -> DataSet:
    return single("tree", ["é" * 100_000, "x" * 70_000, "short"])


for _ids in (1, 2, 255, 256, 257, 65_535, 65_536, 70_000):

    def _distinct(r: random.Random, ids: int = _ids) -> DataSet:
        values = [f"id{i:06d}" for i in range(ids)]
        r.shuffle(values)
        return single("tree", values)

    register(f"{_ids}_distinct_values", _distinct)


@data_set
def null_is_the_256th_value(_: random.Random) -> DataSet:
    return single("tree", [None, *(f"id{i:03d}" for i in range(255))])


@data_set
def longs_at_their_limits(r: random.Random) -> DataSet:
    limits = [2**63 - 1, -(2**63), 0, -1, 1, 2**31, -(2**31), 2**53 + 1]
    return DataSet(
        rows_of([{"n": r.choice(limits)} for _ in range(60)]),
        dimensions=[{"type": "long", "name": "n"}],
        query_granularity="DAY",
    )


@data_set
def doubles_at_their_limits(r: random.Random) -> DataSet:
    limits = ["NaN", "Infinity", "-Infinity", -0.0, 0.0, 1.7976931348623157e308, 5e-324, 0.1, 1e22, -1.5]
    return DataSet(
        rows_of([{"x": r.choice(limits)} for _ in range(60)]),
        dimensions=[{"type": "double", "name": "x"}],
        query_granularity="DAY",
    )


@data_set
def floats_at_their_limits(r: random.Random) -> DataSet:
    limits = ["NaN", "Infinity", 0.1, 3.4028234663852886e38, 1e-45, 1e39, -0.0, 0.0, 16777217, 1 / 3]
    return DataSet(
        rows_of([{"y": r.choice(limits)} for _ in range(60)]),
        dimensions=[{"type": "float", "name": "y"}],
        query_granularity="DAY",
    )


@data_set
def numbers_that_arrive_as_other_things(r: random.Random) -> DataSet:
    odd = ["+5", "1.0", "1e3", "2.7", 2.7, 2, True, "true", "abc", "0x10", "", " 7 ", "1,234", [1], [1, 2], None, "NaN"]
    return DataSet(
        rows_of([{"n": r.choice(odd), "x": r.choice(odd), "y": r.choice(odd)} for _ in range(200)]),
        dimensions=EVERY_TYPE[1:],
    )


@data_set
def dimension_without_bitmaps(r: random.Random) -> DataSet:
    return DataSet(
        rows_of([{"tree": r.choice(WORDS), "trees": r.sample(WORDS, 2)} for _ in range(50)]),
        dimensions=[
            {"type": "string", "name": "tree", "createBitmapIndex": False},
            {"type": "string", "name": "trees", "createBitmapIndex": False},
        ],
    )


@data_set
def several_blocks_of_every_type(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(
            [
                {"tree": r.choice(WORDS), "n": r.randrange(10**9), "x": r.random(), "y": r.choice([None, r.random()])}
                for _ in range(40_000)
            ]
        ),
        dimensions=EVERY_TYPE,
    )


@data_set
def two_hundred_columns(r: random.Random) -> DataSet:
    names = [f"c{i:03d}" for i in range(200)]
    return DataSet(
        rows_of([{name: r.choice([*WORDS, None]) for name in names} for _ in range(30)]), dimensions=[*names]
    )


@data_set
def column_names_of_all_kinds(_: random.Random) -> DataSet:
    names = ["Tree", "tree", "a b", "ä", "x.y", 'q"uote', "\U0001f600", "$", "__x"]
    return DataSet(rows_of([{name: f"{name}{i}" for name in names} for i in range(3)]), dimensions=[*names])


@data_set
def no_dimension_listed_takes_every_field_as_string(r: random.Random) -> DataSet:
    return DataSet(
        rows_of([{"tree": r.choice(WORDS), "n": r.randrange(5), "late": "x", "x": 1.5} for _ in range(30)]),
        metrics=[{"type": "longSum", "name": "sum", "fieldName": "n"}],
    )
