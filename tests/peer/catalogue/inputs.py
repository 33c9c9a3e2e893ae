"""Input formats, and the settings of how segments are built and encoded."""

import random
from typing import Any

from tests.peer.catalogue.columns import EVERY_TYPE, WORDS, rows_of, times
from tests.peer.datasets import DataSet, data_set, register


def _texts(r: random.Random, count: int = 80) -> list[dict[str, Any]]:
    """Rows as delimited text has them: everything a string."""
    return [
        {"tree": r.choice(WORDS), "n": str(r.randrange(100)), "x": str(r.randrange(400) / 4), "y": "0.5"}
        for _ in range(count)
    ]


@data_set
def csv_with_listed_columns(r: random.Random) -> DataSet:
    return DataSet(rows_of(_texts(r)), dimensions=EVERY_TYPE, encoding="csv")


@data_set
def csv_with_a_header(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(_texts(r)), dimensions=EVERY_TYPE, encoding="csv", format_options={"findColumnsFromHeader": True}
    )


@data_set
def csv_with_quotes_and_line_breaks(r: random.Random) -> DataSet:
    odd = ['say "oak"', "a,b", "ä", " blank ", "'single'"]
    return DataSet(rows_of([{"tree": r.choice(odd)} for _ in range(30)]), dimensions=["tree"], encoding="csv")


@data_set
def csv_with_lists(r: random.Random) -> DataSet:
    return DataSet(
        rows_of([{"trees": r.sample(WORDS, 2) if r.random() < 0.5 else "oak"} for _ in range(40)]),
        dimensions=["trees"],
        encoding="csv",
    )


@data_set
def csv_with_empty_fields(r: random.Random) -> DataSet:
    return DataSet(
        rows_of([{key: value if r.random() < 0.6 else None for key, value in row.items()} for row in _texts(r)]),
        dimensions=EVERY_TYPE,
        encoding="csv",
    )


@data_set
def tsv_with_listed_columns(r: random.Random) -> DataSet:
    return DataSet(rows_of(_texts(r)), dimensions=EVERY_TYPE, encoding="tsv")


@data_set
def tsv_with_a_header(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(_texts(r)), dimensions=EVERY_TYPE, encoding="tsv", format_options={"findColumnsFromHeader": True}
    )


@data_set
def json_in_gzip(r: random.Random) -> DataSet:
    return DataSet(rows_of(_texts(r)), dimensions=EVERY_TYPE, encoding="json.gz")


@data_set
def json_with_lines_that_are_none(r: random.Random) -> DataSet:
    noise = ["{broken", '{"time":"yesterday","tree":"oak"}', '{"tree":"no time"}', '["a","list"]', ""]
    return DataSet(rows_of(_texts(r)), dimensions=EVERY_TYPE, noise=noise)


@data_set
def json_flattened(r: random.Random) -> DataSet:
    seen = [{"tree": r.choice(WORDS), "deep": str(r.randrange(9)), "second": r.choice(WORDS)} for _ in range(50)]
    return DataSet(
        rows_of(seen),
        dimensions=["tree", "deep", "second"],
        written=[
            {"tree": row["tree"], "a": {"b": {"c": row["deep"]}}, "list": ["x", row["second"]], "extra": 1}
            for row in seen
        ],
        format_options={
            "flattenSpec": {
                "useFieldDiscovery": True,
                "fields": [
                    {"type": "path", "name": "deep", "expr": "$.a.b.c"},
                    {"type": "path", "name": "second", "expr": "$.list[1]"},
                ],
            }
        },
    )


@data_set
def json_flattened_without_discovery(r: random.Random) -> DataSet:
    """A listed dimension is read from the top level even then; only undiscovered, unlisted fields stay unseen."""
    seen = [{"kind": word, "tree": word} for word in (r.choice(WORDS) for _ in range(20))]
    return DataSet(
        rows_of(seen),
        dimensions=["kind", "tree"],
        written=[{"tree": row["kind"], "hidden": 1} for row in seen],
        format_options={
            "flattenSpec": {
                "useFieldDiscovery": False,
                "fields": [{"type": "root", "name": "time"}, {"type": "path", "name": "kind", "expr": "$.tree"}],
            }
        },
    )


@data_set
def parquet_of_every_type(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(
            [
                {
                    "tree": r.choice([*WORDS, None]),
                    "n": r.randrange(100),
                    "x": r.random(),
                    "y": 0.5,
                    "b": r.random() < 0.5,
                }
                for _ in range(200)
            ]
        ),
        dimensions=[*EVERY_TYPE, "b"],
        encoding="parquet",
    )


@data_set
def parquet_with_lists(r: random.Random) -> DataSet:
    return DataSet(
        rows_of([{"trees": r.sample(WORDS, r.randrange(0, 4))} for _ in range(50)]),
        dimensions=["trees"],
        encoding="parquet",
    )


def _mixed(r: random.Random, count: int) -> list[Any]:
    rows = [
        (
            ms,
            {"tree": r.choice(WORDS), "trees": r.sample(WORDS, r.randrange(4)), "n": r.choice([None, r.randrange(99)])},
        )
        for ms in times(count)
    ]
    r.shuffle(rows)
    return rows


MIXED: list[str | dict[str, Any]] = ["tree", "trees", {"type": "long", "name": "n"}]

BUILDS: dict[str, dict[str, Any]] = {
    "spilled_every_hundred_rows": {"maxRowsInMemory": 100},
    "segments_of_a_hundred_rows": {"maxRowsPerSegment": 100},
    "small_segments_and_spills": {"maxRowsPerSegment": 170, "maxRowsInMemory": 60},
    "three_hundred_rows_in_all_segments": {"maxTotalRows": 300},
    "dimensions_uncompressed": {"indexSpec": {"dimensionCompression": "uncompressed"}},
    "metrics_uncompressed": {"indexSpec": {"metricCompression": "uncompressed"}},
    "metrics_without_blocks": {"indexSpec": {"metricCompression": "none"}},
    "long_encoding_auto": {"indexSpec": {"longEncoding": "auto"}},
    "dictionaries_front_coded": {"indexSpec": {"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 4}}},
    "dictionaries_front_coded_the_old_way": {
        "indexSpec": {"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 16, "formatVersion": 0}}
    },
}

for _name, _tuning in BUILDS.items():

    def _built(r: random.Random, tuning: dict[str, Any] = _tuning) -> DataSet:
        return DataSet(_mixed(r, 1000), dimensions=MIXED, tuning=tuning, query_granularity="HOUR")

    register(_name, _built)


@data_set
def long_encoding_auto_by_table_and_delta(r: random.Random) -> DataSet:
    return DataSet(
        rows_of(
            [
                {"few": r.choice([5, 10**15]), "near": 10**12 + r.randrange(5000), "wide": r.randrange(-(2**63), 2**63)}
                for _ in range(3000)
            ]
        ),
        dimensions=[{"type": "long", "name": name} for name in ("few", "near", "wide")],
        tuning={"indexSpec": {"longEncoding": "auto"}},
    )
