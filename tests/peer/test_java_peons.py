"""
Stock Java peons of Apache Druid 37 against our Overlord: a real process on a real Postgres, deep storage and logs in
folders that all share. Druid's peons and ours take turns at the same datasources.

No Coordinator is there: such a peon asks it for nothing when it loads no broadcast datasources and no lookups.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import pytest_asyncio
from httpx import AsyncClient

from overlord.db.pool import Connection
from peon.segment.read import SegmentReader
from tests.support.druid.install import DruidInstall
from tests.support.druid.peons import V1, Hand, java_peons, our_peons
from tests.support.overlord_process import running_overlord
from tests.support.postgres import TestPostgres, running_postgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

DAY = "2026-03-01T00:00:00.000Z/2026-03-02T00:00:00.000Z"
OTHER_DAY = "2026-03-02T00:00:00.000Z/2026-03-03T00:00:00.000Z"


@dataclass(frozen=True)
class World:
    """Our Overlord, who talks to it, and what lies in its tables."""

    client: AsyncClient
    tables: Connection
    java: Hand
    ours: Hand
    folder: Path

    def write(self, name: str, *lines: dict[str, Any]) -> Path:
        """A folder of input with one file more."""
        file = self.folder / "input" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        return file.parent

    async def segments(self, data_source: str) -> list[dict[str, Any]]:
        """The used segments, as their rows have them, newest version last."""
        rows = await self.tables.fetch(
            "SELECT payload FROM druid_segments WHERE datasource = $1 AND used ORDER BY start, version, id", data_source
        )
        return [orjson.loads(row["payload"]) for row in rows]

    async def newest(self, data_source: str) -> list[dict[str, Any]]:
        """Of each interval the used segments of the newest version."""
        found = await self.segments(data_source)
        newest = {each["interval"]: each["version"] for each in found}
        return [each for each in found if newest[each["interval"]] == each["version"]]

    async def rows(self, data_source: str) -> list[tuple[str, int]]:
        """Tree and height of every row in the newest segments."""
        found: list[tuple[str, int]] = []
        for segment in await self.newest(data_source):
            with SegmentReader(Path(segment["loadSpec"]["path"])) as reader:
                found += [(row["tree"], row["height"]) for row in reader.rows()]
        return sorted(found)


@pytest.fixture(scope="module")
def database() -> Iterator[TestPostgres]:
    with running_postgres() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    druid: DruidInstall, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[World]:
    folder = tmp_path_factory.mktemp("java-peons")
    for each in ("deep", "task-logs"):
        (folder / each).mkdir()
    url = await database.clone()
    tables = await asyncpg.connect(url)
    try:
        async with (
            running_overlord(
                url,
                folder,
                task_logs=(folder / "task-logs").as_uri(),
                local_input_paths=str(folder),
                druid_peon_task_types="index_parallel,compact",
            ) as client,
            Hand(client, "java:8091", java_peons(druid, folder), folder / "java-tasks").at_work() as java,
            Hand(client, "ours:8091", our_peons(folder), folder / "our-tasks").at_work() as ours,
        ):
            yield World(client, tables, java, ours, folder)
    finally:
        await tables.close()
        await database.drop(url)


async def test_a_noop_of_java_ends_in_success_with_its_report_kept(world: World) -> None:
    status = await world.java.run({"type": "noop", "id": "java-noop", "runTime": 1})
    assert status["statusCode"] == "SUCCESS", world.java.log("java-noop")[-3000:]
    assert status["location"]["port"] > 0


async def test_java_ingests_appends_and_overwrites_in_our_tables(world: World) -> None:
    folder = world.write("first/a.json", line("oak", 1), line("elm", 2))
    first = await succeed(world, world.java, ingest("java_trees", folder))
    assert await world.rows("java_trees") == [("elm", 2), ("oak", 1)]
    folder = world.write("second/a.json", line("ash", 3))
    await succeed(world, world.java, ingest("java_trees", folder, append=True))
    assert await world.rows("java_trees") == [("ash", 3), ("elm", 2), ("oak", 1)]
    segments = await world.segments("java_trees")
    assert [each["shardSpec"]["partitionNum"] for each in segments] == [0, 1]
    folder = world.write("third/a.json", line("yew", 4))
    await succeed(world, world.java, ingest("java_trees", folder))
    assert await world.rows("java_trees") == [("yew", 4)]
    report = await world.client.get(f"{V1}/task/{first}/reports")
    assert report.json()["ingestionStatsAndErrors"]["payload"]["rowStats"]["buildSegments"]["processed"] == 2
    locked = await world.client.post(f"{V1}/lockedIntervals/v2", json=[{"datasource": "java_trees"}])
    assert locked.json() == {}


async def test_two_sub_tasks_of_java_publish_as_one(world: World) -> None:
    world.write("parts/a.json", line("oak", 1))
    folder = world.write("parts/b.json", line("elm", 2), line("ash", 3, OTHER_DAY))
    task = ingest("java_forest", folder)
    task["spec"]["tuningConfig"] |= {
        "maxNumConcurrentSubTasks": 2,
        "splitHintSpec": {"type": "maxSize", "maxNumFiles": 1},
    }
    before = len(world.java.started)
    await succeed(world, world.java, task)
    assert Counter(each.type for each in world.java.started[before:]) == {
        "index_parallel": 1,
        "single_phase_sub_task": 2,
    }
    assert await world.rows("java_forest") == [("ash", 3), ("elm", 2), ("oak", 1)]
    assert len({each["version"] for each in await world.segments("java_forest") if each["interval"] == DAY}) == 1


async def test_java_reads_compacts_and_kills_what_our_peon_wrote(world: World) -> None:
    folder = world.write("ours/a.json", line("oak", 1))
    await succeed(world, world.ours, ingest("our_trees", folder))
    folder = world.write("ours2/a.json", line("elm", 2))
    await succeed(world, world.ours, ingest("our_trees", folder, append=True))
    again = ingest("copied_trees", folder)
    again["spec"]["dataSchema"]["timestampSpec"] = {"column": "__time", "format": "millis"}
    again["spec"]["ioConfig"]["inputSource"] = {"type": "druid", "dataSource": "our_trees", "interval": DAY}
    del again["spec"]["ioConfig"]["inputFormat"]
    await succeed(world, world.java, again)
    assert await world.rows("copied_trees") == [("elm", 2), ("oak", 1)]

    compact = {
        "type": "compact",
        "dataSource": "our_trees",
        "ioConfig": {"type": "compact", "inputSpec": {"type": "interval", "interval": DAY}},
    }
    await succeed(world, world.java, compact)
    newest = await world.newest("our_trees")
    assert [each["shardSpec"]["partitions"] for each in newest] == [1]
    assert "lastCompactionState" in newest[0]
    assert await world.rows("our_trees") == [("elm", 2), ("oak", 1)]

    folders = [Path(each["loadSpec"]["path"]) for each in await world.segments("our_trees") if each not in newest]
    assert len(folders) == 2
    marked = await world.client.post(
        f"{V1}/datasources/our_trees/markUnused",
        json={"interval": DAY, "versions": sorted({each["version"] for each in await old(world, "our_trees")})},
    )
    assert marked.json() == {"numChangedSegments": 2, "segmentStateChanged": True}
    await succeed(world, world.java, {"type": "kill", "dataSource": "our_trees", "interval": DAY})
    assert await world.tables.fetchval("SELECT count(*) FROM druid_segments WHERE datasource = 'our_trees'") == 1
    assert [each for each in folders if each.exists()] == []


async def test_our_peon_appends_overwrites_and_kills_what_java_wrote(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.write("javas/a.json", line("oak", 1))
    await succeed(world, world.java, ingest("shared_trees", folder))
    folder = world.write("javas2/a.json", line("elm", 2))
    await succeed(world, world.ours, ingest("shared_trees", folder, append=True))
    segments = await world.segments("shared_trees")
    assert len({each["version"] for each in segments}) == 1
    assert [each["shardSpec"]["partitionNum"] for each in segments] == [0, 1]
    rows = await world.rows("shared_trees")
    folder = world.write("again/a.json", *(line(tree, height + 10) for tree, height in rows))
    await succeed(world, world.ours, ingest("shared_trees", folder))
    assert await world.rows("shared_trees") == [("elm", 12), ("oak", 11)]
    versions = sorted({each["version"] for each in await old(world, "shared_trees")})
    await world.client.post(f"{V1}/datasources/shared_trees/markUnused", json={"interval": DAY, "versions": versions})
    await succeed(world, world.ours, {"type": "kill", "dataSource": "shared_trees", "interval": DAY})
    assert await world.tables.fetchval("SELECT count(*) FROM druid_segments WHERE datasource = 'shared_trees'") == 1
    with capsys.disabled():
        counts = dict(Counter(each.type for each in world.java.started))
        print(f"\npeons of Druid: {counts}; of ours: {len(world.ours.started)}")


async def old(world: World, data_source: str) -> list[dict[str, Any]]:
    newest = await world.newest(data_source)
    return [each for each in await world.segments(data_source) if each not in newest]


async def succeed(world: World, hand: Hand, raw_task: dict[str, Any]) -> str:
    """Runs the task on the runner; its id."""
    status = await hand.run(raw_task)
    assert status["statusCode"] == "SUCCESS", f"{status['errorMsg']}\n{hand.log(status['id'])[-6000:]}"
    return status["id"]


def line(tree: str, height: int, day: str = DAY) -> dict[str, Any]:
    return {"t": day.partition("/")[0], "tree": tree, "height": height}


def ingest(data_source: str, folder: Path, *, append: bool = False) -> dict[str, Any]:
    """Whole days of small trees, from all files of a folder."""
    return {
        "type": "index_parallel",
        "spec": {
            "dataSchema": {
                "dataSource": data_source,
                "timestampSpec": {"column": "t", "format": "iso"},
                "dimensionsSpec": {"dimensions": ["tree", {"type": "long", "name": "height"}]},
                "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": False},
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputSource": {"type": "local", "baseDir": str(folder), "filter": "*.json"},
                "inputFormat": {"type": "json"},
                "appendToExisting": append,
            },
            "tuningConfig": {"type": "index_parallel"},
        },
    }
