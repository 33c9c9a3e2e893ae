"""
Stock Java peons of Apache Druid 37 against our Overlord: a real process on a real Postgres, deep storage and logs in
folders that all share. Druid's peons and ours take turns at the same datasources.

The Coordinator is asked for nothing: these peons load no broadcast datasources and no lookups.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.druid.install import DruidInstall
from tests.support.druid.peon_world import DAY, OTHER_DAY, PeonWorld, ingest, line, peon_world, succeed
from tests.support.druid.peons import V1
from tests.support.postgres import TestPostgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    druid: DruidInstall, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[PeonWorld]:
    async with peon_world(druid, database, tmp_path_factory.mktemp("java-peons")) as made:
        yield made


async def test_a_noop_of_java_ends_in_success_with_its_report_kept(world: PeonWorld) -> None:
    status = await world.java.run({"type": "noop", "id": "java-noop", "runTime": 1})
    assert status["statusCode"] == "SUCCESS", world.java.log("java-noop")[-3000:]
    assert status["location"]["port"] > 0


async def test_java_ingests_appends_and_overwrites_in_our_tables(world: PeonWorld) -> None:
    folder = world.write("first/a.json", line("oak", 1), line("elm", 2))
    first = await succeed(world.java, ingest("java_trees", folder))
    assert await world.rows("java_trees") == [("elm", 2), ("oak", 1)]
    folder = world.write("second/a.json", line("ash", 3))
    await succeed(world.java, ingest("java_trees", folder, append=True))
    assert await world.rows("java_trees") == [("ash", 3), ("elm", 2), ("oak", 1)]
    segments = await world.segments("java_trees")
    assert [each["shardSpec"]["partitionNum"] for each in segments] == [0, 1]
    folder = world.write("third/a.json", line("yew", 4))
    await succeed(world.java, ingest("java_trees", folder))
    assert await world.rows("java_trees") == [("yew", 4)]
    report = await world.client.get(f"{V1}/task/{first}/reports")
    assert report.json()["ingestionStatsAndErrors"]["payload"]["rowStats"]["buildSegments"]["processed"] == 2
    locked = await world.client.post(f"{V1}/lockedIntervals/v2", json=[{"datasource": "java_trees"}])
    assert locked.json() == {}


async def test_two_sub_tasks_of_java_publish_as_one(world: PeonWorld) -> None:
    world.write("parts/a.json", line("oak", 1))
    folder = world.write("parts/b.json", line("elm", 2), line("ash", 3, OTHER_DAY))
    task = ingest("java_forest", folder)
    task["spec"]["tuningConfig"] |= {
        "maxNumConcurrentSubTasks": 2,
        "splitHintSpec": {"type": "maxSize", "maxNumFiles": 1},
    }
    before = len(world.java.started)
    await succeed(world.java, task)
    assert Counter(each.type for each in world.java.started[before:]) == {
        "index_parallel": 1,
        "single_phase_sub_task": 2,
    }
    assert await world.rows("java_forest") == [("ash", 3), ("elm", 2), ("oak", 1)]
    assert len({each["version"] for each in await world.segments("java_forest") if each["interval"] == DAY}) == 1


async def test_java_reads_compacts_and_kills_what_our_peon_wrote(world: PeonWorld) -> None:
    folder = world.write("ours/a.json", line("oak", 1))
    await succeed(world.ours, ingest("our_trees", folder))
    folder = world.write("ours2/a.json", line("elm", 2))
    await succeed(world.ours, ingest("our_trees", folder, append=True))
    again = ingest("copied_trees", folder)
    again["spec"]["dataSchema"]["timestampSpec"] = {"column": "__time", "format": "millis"}
    again["spec"]["ioConfig"]["inputSource"] = {"type": "druid", "dataSource": "our_trees", "interval": DAY}
    del again["spec"]["ioConfig"]["inputFormat"]
    await succeed(world.java, again)
    assert await world.rows("copied_trees") == [("elm", 2), ("oak", 1)]

    compact = {
        "type": "compact",
        "dataSource": "our_trees",
        "ioConfig": {"type": "compact", "inputSpec": {"type": "interval", "interval": DAY}},
    }
    await succeed(world.java, compact)
    newest = await world.newest("our_trees")
    assert [each["shardSpec"]["partitions"] for each in newest] == [1]
    assert "lastCompactionState" in newest[0]
    assert await world.rows("our_trees") == [("elm", 2), ("oak", 1)]

    folders = [Path(each["loadSpec"]["path"]) for each in await world.segments("our_trees") if each not in newest]
    assert len(folders) == 2
    marked = await world.client.post(
        f"{V1}/datasources/our_trees/markUnused",
        json={"interval": DAY, "versions": sorted({each["version"] for each in await world.older("our_trees")})},
    )
    assert marked.json() == {"numChangedSegments": 2, "segmentStateChanged": True}
    await succeed(world.java, {"type": "kill", "dataSource": "our_trees", "interval": DAY})
    assert await world.tables.fetchval("SELECT count(*) FROM druid_segments WHERE datasource = 'our_trees'") == 1
    assert [each for each in folders if each.exists()] == []


async def test_our_peon_appends_overwrites_and_kills_what_java_wrote(
    world: PeonWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.write("javas/a.json", line("oak", 1))
    await succeed(world.java, ingest("shared_trees", folder))
    folder = world.write("javas2/a.json", line("elm", 2))
    await succeed(world.ours, ingest("shared_trees", folder, append=True))
    segments = await world.segments("shared_trees")
    assert len({each["version"] for each in segments}) == 1
    assert [each["shardSpec"]["partitionNum"] for each in segments] == [0, 1]
    rows = await world.rows("shared_trees")
    folder = world.write("again/a.json", *(line(tree, height + 10) for tree, height in rows))
    await succeed(world.ours, ingest("shared_trees", folder))
    assert await world.rows("shared_trees") == [("elm", 12), ("oak", 11)]
    versions = sorted({each["version"] for each in await world.older("shared_trees")})
    await world.client.post(f"{V1}/datasources/shared_trees/markUnused", json={"interval": DAY, "versions": versions})
    await succeed(world.ours, {"type": "kill", "dataSource": "shared_trees", "interval": DAY})
    assert await world.tables.fetchval("SELECT count(*) FROM druid_segments WHERE datasource = 'shared_trees'") == 1
    assert world.asked_of_coordinator == []
    with capsys.disabled():
        counts = dict(Counter(each.type for each in world.java.started))
        print(f"\npeons of Druid: {counts}; of ours: {len(world.ours.started)}")
