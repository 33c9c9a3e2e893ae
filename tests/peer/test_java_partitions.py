"""
Perfect rollup by stock Java peons of Apache Druid 37 under our Overlord: every sub-task of `forceGuaranteedRollup`, a
process each. What they hand each other goes through deep storage.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peon.segment.read import SegmentReader
from tests.support.druid.install import DruidInstall
from tests.support.druid.peon_world import DAY, OTHER_DAY, PeonWorld, ingest, line, peon_world, succeed
from tests.support.druid.peons import V1
from tests.support.postgres import TestPostgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

TREES = [f"tree-{number:02}" for number in range(20)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    druid: DruidInstall, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[PeonWorld]:
    async with peon_world(druid, database, tmp_path_factory.mktemp("java-partitions")) as made:
        yield made


@pytest.fixture(scope="module")
def two_files(world: PeonWorld) -> Path:
    """Every tree in both files, on the first day; some of them on a second, in one."""
    world.write("two/a.json", *(wood(tree, 1) for tree in TREES), *(wood(tree, 5, OTHER_DAY) for tree in TREES[:4]))
    return world.write("two/b.json", *(wood(tree, 10) for tree in TREES))


async def test_peons_count_then_hash_then_merge(world: PeonWorld, two_files: Path) -> None:
    before = len(world.java.started)
    task = rolled_up("hashed_trees", two_files, {"type": "hashed", "targetRowsPerSegment": 5})
    await succeed(world.java, task)
    assert kinds(world, before).keys() == {
        "index_parallel",
        "partial_dimension_cardinality",
        "partial_index_generate",
        "partial_index_generic_merge",
    }
    assert kinds(world, before)["partial_dimension_cardinality"] == 2
    assert kinds(world, before)["partial_index_generate"] == 2
    segments = await world.segments("hashed_trees")
    assert {each["shardSpec"]["type"] for each in segments} == {"hashed"}
    first_day = [each["shardSpec"] for each in segments if each["interval"] == DAY]
    assert len(first_day) == 4
    assert sorted(each["partitionNum"] for each in first_day) == [0, 1, 2, 3]
    await check_rollup(world, "hashed_trees")
    await check_nothing_is_held(world, "hashed_trees")


@pytest.mark.parametrize(
    "partitions",
    [
        {"type": "single_dim", "partitionDimension": "tree", "targetRowsPerSegment": 5},
        {"type": "range", "partitionDimensions": ["wood", "tree"], "targetRowsPerSegment": 5},
    ],
    ids=["by one dimension", "by two dimensions"],
)
async def test_peons_sample_then_cut_into_ranges_then_merge(
    world: PeonWorld, two_files: Path, partitions: dict[str, Any]
) -> None:
    before = len(world.java.started)
    data_source = f"trees_by_{partitions['type']}"
    await succeed(world.java, rolled_up(data_source, two_files, partitions))
    assert kinds(world, before).keys() == {
        "index_parallel",
        "partial_dimension_distribution",
        "partial_range_index_generate",
        "partial_index_generic_merge",
    }
    segments = await world.segments(data_source)
    first_day = [each["shardSpec"] for each in segments if each["interval"] == DAY]
    assert len(first_day) > 2
    assert {each["type"] for each in first_day} == {"single" if partitions["type"] == "single_dim" else "range"}
    assert [each["start"] for each in first_day].count(None) == 1
    assert all(left["end"] == right["start"] for left, right in pairwise(first_day))
    await check_rollup(world, data_source)
    await check_nothing_is_held(world, data_source)


async def test_our_peon_appends_to_the_shards_of_java_which_compacts_them_into_ranges(
    world: PeonWorld, two_files: Path
) -> None:
    before = len(world.java.started)
    three = rolled_up("grown", two_files, {"type": "hashed", "numShards": 3, "partitionDimensions": ["tree"]})
    three["spec"]["dataSchema"]["granularitySpec"] |= {"intervals": [DAY, OTHER_DAY]}
    await succeed(world.java, three)
    # nothing is left to be counted first
    assert kinds(world, before).keys() == {"index_parallel", "partial_index_generate", "partial_index_generic_merge"}
    first_day = [each["shardSpec"] for each in await world.segments("grown") if each["interval"] == DAY]
    assert {(each["numBuckets"], *each["partitionDimensions"]) for each in first_day} == {(3, "tree")}
    await check_rollup(world, "grown")

    more = rolled_up("grown", world.write("more/a.json", wood("tree-00", 100)), {"type": "dynamic"})
    more["spec"]["ioConfig"]["appendToExisting"] = True
    more["spec"]["tuningConfig"] |= {"forceGuaranteedRollup": False}
    await succeed(world.ours, more)
    grown = [each for each in await world.segments("grown") if each["interval"] == DAY]
    appended = grown[-1]["shardSpec"]
    assert (appended["type"], appended["partitionNum"]) == ("numbered", len(first_day))

    before = len(world.java.started)
    compact: dict[str, Any] = {
        "type": "compact",
        "dataSource": "grown",
        "ioConfig": {"type": "compact", "inputSpec": {"type": "interval", "interval": DAY}},
        "tuningConfig": tuning({"type": "range", "partitionDimensions": ["tree"], "targetRowsPerSegment": 10}),
    }
    del compact["tuningConfig"]["splitHintSpec"]
    assert world.asked_of_coordinator == []
    await succeed(world.java, compact)
    assert kinds(world, before).keys() == {
        "compact",
        "partial_dimension_distribution",
        "partial_range_index_generate",
        "partial_index_generic_merge",
    }
    # sub-tasks are told which segments to read, and ask where they lie
    metadata = "GET /druid/coordinator/v1/metadata/datasources/grown/segments/"
    assert set(world.asked_of_coordinator) == {f"{metadata}{each['identifier']}" for each in grown}
    compacted = [each for each in await world.newest("grown") if each["interval"] == DAY]
    assert {each["shardSpec"]["type"] for each in compacted} == {"single"}, "what Druid makes of one dimension"
    sums = {tree: (height, count) for segment in compacted for tree, height, count in rolled(segment)}
    assert sums == dict.fromkeys(TREES, (11, 2)) | {"tree-00": (111, 3)}


def rolled_up(data_source: str, folder: Path, partitions: dict[str, Any]) -> dict[str, Any]:
    """Trees of a day in one row each, their heights added up; two peons at a time, a file each."""
    task = ingest(data_source, folder)
    schema = task["spec"]["dataSchema"]
    schema["dimensionsSpec"] = {"dimensions": ["tree", "wood"]}
    schema["metricsSpec"] = [
        {"type": "count", "name": "count"},
        {"type": "longSum", "name": "height", "fieldName": "height"},
    ]
    schema["granularitySpec"] |= {"rollup": True}
    task["spec"]["tuningConfig"] = tuning(partitions)
    return task


def tuning(partitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "index_parallel",
        "forceGuaranteedRollup": True,
        "partitionsSpec": partitions,
        "maxNumConcurrentSubTasks": 2,
        "totalNumMergeTasks": 2,
        "splitHintSpec": {"type": "maxSize", "maxNumFiles": 1},
    }


def kinds(world: PeonWorld, before: int) -> Counter[str]:
    """The types of the tasks that Java peons were started for since then."""
    return Counter(each.type for each in world.java.started[before:])


async def check_rollup(world: PeonWorld, data_source: str) -> None:
    """Each tree of a day in exactly one row, whichever files it was in; shards without rows are not there."""
    found: dict[str, list[tuple[str, int, int]]] = {DAY: [], OTHER_DAY: []}
    for segment in await world.segments(data_source):
        rows = rolled(segment)
        assert rows
        found[segment["interval"]] += rows
    assert sorted(found[DAY]) == [(tree, 11, 2) for tree in TREES]
    assert sorted(found[OTHER_DAY]) == [(tree, 5, 1) for tree in TREES[:4]]


async def check_nothing_is_held(world: PeonWorld, data_source: str) -> None:
    locked = await world.client.post(f"{V1}/lockedIntervals/v2", json=[{"datasource": data_source}])
    assert locked.json() == {}
    statuses = await world.client.get(f"{V1}/tasks", params={"datasource": data_source})
    assert {each["status"] for each in statuses.json()} == {"SUCCESS"}


def rolled(segment: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Tree, added heights and count of each row."""
    with SegmentReader(Path(segment["loadSpec"]["path"])) as reader:
        return [(row["tree"], row["height"], row["count"]) for row in reader.rows()]


def wood(tree: str, height: int, day: str = DAY) -> dict[str, Any]:
    return line(tree, height, day) | {"wood": "soft" if int(tree[-2:]) % 2 else "hard"}
