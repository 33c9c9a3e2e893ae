"""Metrics, with and without rollup. Numbers to be added are multiples of 1/4, so that every order gives one sum."""

import random
from typing import Any

from tests.peer.catalogue.columns import START, WORDS, rows_of, times
from tests.peer.datasets import DataSet, Row, data_set, register
from tests.peer.granularity_oracle import DAY

COUNT: dict[str, Any] = {"type": "count", "name": "count"}
NUMBERS: list[dict[str, Any]] = [
    {"type": f"{kind}{verb}", "name": f"{kind}_{verb.lower()}", "fieldName": {"long": "n"}.get(kind, "x")}
    for kind in ("long", "double", "float")
    for verb in ("Sum", "Min", "Max")
]
UNIQUE: dict[str, Any] = {"type": "hyperUnique", "name": "users", "fieldName": "user"}


def visits(r: random.Random, count: int = 400, nulls: float = 0.1) -> list[Row]:
    """Rows of few distinct keys: tree, place; n an integer, x a multiple of 1/4, user a name."""

    def maybe(value: Any) -> Any:
        return None if r.random() < nulls else value

    return [
        (
            ms,
            {
                "tree": maybe(r.choice(WORDS[:4])),
                "place": r.choice(["north", "south"]),
                "n": maybe(r.randrange(-1000, 1000)),
                "x": maybe(r.randrange(-4000, 4000) / 4),
                "user": maybe(f"user{r.randrange(60)}"),
            },
        )
        for ms in times(count)
    ]


def rolled(rows: list[Row], metrics: list[dict[str, Any]], **more: Any) -> DataSet:
    settings: dict[str, Any] = {"dimensions": ["tree", "place"], "query_granularity": "HOUR", "rollup": True, **more}
    return DataSet(rows, metrics=metrics, **settings)


for _metric in (COUNT, *NUMBERS, UNIQUE):

    def _alone(r: random.Random, metric: dict[str, Any] = _metric) -> DataSet:
        return rolled(visits(r), [metric])

    register(f"rollup_with_{_metric['type']}", _alone)


@data_set
def rollup_with_every_metric(r: random.Random) -> DataSet:
    return rolled(visits(r, 1500), [UNIQUE, *reversed(NUMBERS), COUNT])


@data_set
def every_metric_without_rollup(r: random.Random) -> DataSet:
    return rolled(visits(r), [COUNT, *NUMBERS, UNIQUE], rollup=False, query_granularity="NONE")


@data_set
def metrics_of_nulls_only(_: random.Random) -> DataSet:
    return rolled(rows_of([{"tree": word, "n": None} for word in WORDS]), [COUNT, *NUMBERS, UNIQUE])


@data_set
def rollup_without_metrics_drops_equal_rows(r: random.Random) -> DataSet:
    return rolled(visits(r, nulls=0.5), [])


@data_set
def rollup_of_number_dimensions(r: random.Random) -> DataSet:
    return rolled(
        [(ms, {**record, "g": r.choice([None, 1, 2]), "h": r.choice([0.5, "NaN", None])}) for ms, record in visits(r)],
        [COUNT, NUMBERS[0]],
        dimensions=["tree", {"type": "long", "name": "g"}, {"type": "double", "name": "h"}],
    )


@data_set
def rollup_of_lists(r: random.Random) -> DataSet:
    lists: list[Any] = [[], None, [None], "ash", ["ash"], ["ash", "oak"], ["oak", "ash"], ["oak", "oak"]]
    return rolled(
        [(ms, {"tree": r.choice(lists), "n": 1}) for ms in times(300)], [COUNT, NUMBERS[0]], dimensions=["tree"]
    )


@data_set
def rollup_to_one_row(r: random.Random) -> DataSet:
    return rolled(visits(r), [COUNT, *NUMBERS, UNIQUE], dimensions=["nowhere"], query_granularity="DAY")


@data_set
def long_sums_wrap_around(_: random.Random) -> DataSet:
    return rolled([(START + i, {"n": 2**62}) for i in range(3)], NUMBERS[:3], dimensions=["tree"])


@data_set
def metric_inputs_that_arrive_as_text(r: random.Random) -> DataSet:
    odd = ["+5", "1,234", " 7 ", "1.9", "1.0", "abc", "", "true", True, "12", None, [1]]
    return rolled([(ms, {"tree": "oak", "n": r.choice(odd), "x": r.choice(odd)}) for ms in times(100)], NUMBERS)


@data_set
def metric_named_like_its_input(r: random.Random) -> DataSet:
    return rolled(visits(r), [{"type": "longSum", "name": "n", "fieldName": "n"}])


@data_set
def hyper_unique_of_lists(r: random.Random) -> DataSet:
    return rolled(
        [(ms, {"tree": "oak", "user": r.choice([[], None, "a", ["a", "b"], ["c"], ["ä", ""]])}) for ms in times(90)],
        [UNIQUE],
    )


@data_set
def hyper_unique_sparse_to_dense(r: random.Random) -> DataSet:
    rows = [(ms, {"tree": r.choice(WORDS), "user": f"u{r.randrange(4000)}"}) for ms in times(6000, DAY)]
    return rolled(rows, [UNIQUE], query_granularity="DAY")


@data_set
def hyper_unique_of_numbers(r: random.Random) -> DataSet:
    return rolled([(ms, {"tree": "oak", "user": r.randrange(50)}) for ms in times(200)], [UNIQUE])


@data_set
def rollup_over_many_spills(r: random.Random) -> DataSet:
    rows = visits(r, 3000)
    r.shuffle(rows)
    return rolled(rows, [COUNT, *NUMBERS, UNIQUE], tuning={"maxRowsInMemory": 100})


@data_set
def rollup_over_small_segments(r: random.Random) -> DataSet:
    rows = visits(r, 1000)
    r.shuffle(rows)
    return rolled(rows, [COUNT, NUMBERS[0]], tuning={"maxRowsPerSegment": 50})
