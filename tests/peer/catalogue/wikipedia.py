"""Apache Druid's own tutorial set: 39,244 edits to Wikipedia on 2015-09-12."""

import gzip
import json
import random
from datetime import datetime
from pathlib import Path

from tests.peer.datasets import DataSet, Row, data_set
from tests.peer.granularity_oracle import to_ms

FILE = Path(__file__).parents[3] / "examples" / "wikiticker-2015-09-12-sampled.json.gz"
STRINGS = [
    *("channel", "cityName", "comment", "countryIsoCode", "countryName", "isAnonymous", "isMinor", "isNew", "isRobot"),
    *("isUnpatrolled", "namespace", "page", "regionIsoCode", "regionName", "user"),
]
NUMBERS = ["added", "deleted", "delta"]


def edits() -> list[Row]:
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [(to_ms(datetime.fromisoformat(record.pop("time"))), record) for record in records]


@data_set
def wikipedia_edits(_: random.Random) -> DataSet:
    return DataSet(edits(), dimensions=[*STRINGS, *({"type": "long", "name": name} for name in NUMBERS)])


@data_set
def wikipedia_edits_by_minute(_: random.Random) -> DataSet:
    return DataSet(
        edits(),
        dimensions=["channel", "countryName", "namespace", "isRobot"],
        metrics=[
            {"type": "count", "name": "edits"},
            *({"type": "longSum", "name": f"sum_{name}", "fieldName": name} for name in NUMBERS),
            {"type": "hyperUnique", "name": "users", "fieldName": "user"},
        ],
        segment_granularity="SIX_HOUR",
        query_granularity="MINUTE",
        rollup=True,
    )
