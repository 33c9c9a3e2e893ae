"""
Peons of Druid and of ours that read what is stored as input: each what the other wrote, and both alike.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peon.segment.hyper_unique import estimate
from peon.segment.hyper_unique_bytes import from_bytes
from peon.segment.read import SegmentReader
from tests.support.druid.install import DruidInstall
from tests.support.druid.peon_world import DAY, PeonWorld, ingest, line, peon_world, succeed
from tests.support.druid.peons import V1
from tests.support.postgres import TestPostgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    druid: DruidInstall, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[PeonWorld]:
    async with peon_world(druid, database, tmp_path_factory.mktemp("segments-as-input")) as made:
        yield made


async def test_both_make_the_same_copy_of_what_the_other_wrote(world: PeonWorld) -> None:
    """Lists, nulls, numbers and sketches, of two segments, clipped to a part of a day, by peons of either kind."""
    hours = [f"2026-03-01T{hour:02}:15:00Z" for hour in range(4)]
    first = world.write(
        "grove/a.json",
        {"t": hours[0], "tree": "oak", "birds": ["owl", "jay"], "height": 3, "girth": 0.1, "bird": "owl"},
        {"t": hours[1], "tree": "oak", "birds": ["jay"], "height": None, "girth": None, "bird": ["jay", "owl"]},
        {"t": hours[1], "tree": None, "birds": None, "height": 2**53 + 1, "girth": -2.5, "bird": None},
    )
    second = world.write(
        "grove2/a.json",
        *({"t": hours[2], "tree": "elm", "birds": [], "height": each, "bird": f"bird {each}"} for each in range(300)),
        {"t": hours[3], "tree": "late", "height": 9},
    )
    await succeed(world.java, rolled("mixed_trees", {"baseDir": str(first)}))
    await succeed(world.ours, rolled("mixed_trees", {"baseDir": str(second)}, append=True))
    window = "2026-03-01T00:00:00.000Z/2026-03-01T03:00:00.000Z"
    await succeed(world.java, copied("copied_by_java", "mixed_trees", window))
    await succeed(world.ours, copied("copied_by_us", "mixed_trees", window))
    by_java, by_us = await tables_of(world, "copied_by_java"), await tables_of(world, "copied_by_us")
    assert by_us == by_java
    assert [(row["tree"], row["birds"], row["n"]) for row in by_us] == [
        (None, None, 1),
        ("elm", None, 300),
        ("oak", "jay", 1),
        ("oak", ["jay", "owl"], 1),
    ]
    unlike = {"type": "not", "field": {"type": "selector", "dimension": "birds", "value": "owl"}}
    high = {"type": "range", "column": "total", "matchValueType": "LONG", "lower": 1, "upper": 2**60}
    either = {"type": "or", "fields": [{"type": "null", "column": "tree"}, unlike]}
    early = {"type": "bound", "dimension": "tree", "upper": "f", "upperStrict": True}
    # Rows without a total are in neither.
    low = {"type": "bound", "dimension": "total", "upper": "9.5", "ordering": "numeric"}
    bounds = {"type": "or", "fields": [early, {"type": "not", "field": low}]}
    for name, wanted in {"unlike": unlike, "high": high, "either": either, "bounds": bounds}.items():
        for hand, who in ((world.java, "java"), (world.ours, "us")):
            task = copied(f"{name}_by_{who}", "mixed_trees", DAY)
            task["spec"]["ioConfig"]["inputSource"]["filter"] = wanted
            await succeed(hand, task)
        assert await tables_of(world, f"{name}_by_us") == await tables_of(world, f"{name}_by_java")
    await succeed(world.ours, copied("copied_back", "copied_by_java", DAY))
    await succeed(world.java, copied("copied_forth", "copied_by_us", DAY))
    assert await tables_of(world, "copied_back") == await tables_of(world, "copied_forth") == by_us


async def test_our_peon_replaces_what_java_wrote_by_a_copy_of_it(world: PeonWorld) -> None:
    folder = world.write("own/a.json", line("oak", 1), line("elm", 2))
    await succeed(world.java, ingest("own_trees", folder))
    again = ingest("own_trees", folder)
    again["spec"]["dataSchema"]["timestampSpec"] = {"column": "__time", "format": "millis"}
    again["spec"]["ioConfig"] = {
        "type": "index_parallel",
        "inputSource": {"type": "druid", "dataSource": "own_trees", "interval": DAY},
    }
    task = await succeed(world.ours, again)
    assert await world.rows("own_trees") == [("elm", 2), ("oak", 1)]
    [replaced] = await world.older("own_trees")
    report = await world.client.get(f"{V1}/task/{task}/reports")
    counts = report.json()["ingestionStatsAndErrors"]["payload"]["rowStats"]["buildSegments"]
    assert (counts["processed"], counts["processedBytes"]) == (2, replaced["size"])


async def tables_of(world: PeonWorld, data_source: str) -> list[dict[str, Any]]:
    """Every column of every row in the newest segments, of sketches what they estimate."""
    found: list[dict[str, Any]] = []
    for segment in await world.newest(data_source):
        with SegmentReader(Path(segment["loadSpec"]["path"])) as reader:
            estimates = estimate(from_bytes(reader.column("kinds"))).tolist()
            found += [row | {"kinds": kinds} for row, kinds in zip(reader.rows(), estimates, strict=True)]
    return found


def rolled(data_source: str, files: dict[str, Any], *, append: bool = False) -> dict[str, Any]:
    """Whole days rolled up by the hour, with a column of every kind."""
    task = ingest(data_source, Path(), append=append)
    task["spec"]["dataSchema"] |= {
        "dimensionsSpec": {"dimensions": ["tree", "birds", {"type": "double", "name": "girth"}]},
        "metricsSpec": [
            {"type": "count", "name": "n"},
            {"type": "longSum", "name": "total", "fieldName": "height"},
            {"type": "floatMax", "name": "most", "fieldName": "girth"},
            {"type": "hyperUnique", "name": "kinds", "fieldName": "bird"},
        ],
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "HOUR", "rollup": True},
    }
    task["spec"]["ioConfig"]["inputSource"] = {"type": "local", "filter": "*.json", **files}
    return task


def copied(data_source: str, read: str, interval: str) -> dict[str, Any]:
    """What is stored in an interval of another datasource, rolled up by the day."""
    task = rolled(data_source, {})
    task["spec"]["dataSchema"] |= {
        "timestampSpec": {"column": "__time", "format": "millis"},
        "dimensionsSpec": {"dimensions": ["tree", "birds"]},
        "metricsSpec": [
            {"type": "longSum", "name": "n", "fieldName": "n"},
            {"type": "longSum", "name": "total", "fieldName": "total"},
            {"type": "floatMax", "name": "most", "fieldName": "most"},
            {"type": "hyperUnique", "name": "kinds", "fieldName": "kinds"},
        ],
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "DAY", "rollup": True},
    }
    source = {"type": "druid", "dataSource": read, "interval": interval}
    task["spec"]["ioConfig"] = {"type": "index_parallel", "inputSource": source}
    return task
