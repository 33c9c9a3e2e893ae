"""Where Druid's Java peons and ours work for one Overlord of ours, on deep storage and logs that all share."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from httpx import AsyncClient

from overlord.db.pool import Connection
from peon.segment.read import SegmentReader
from tests.support.druid.install import DruidInstall
from tests.support.druid.peons import Hand, java_peons, our_peons
from tests.support.druid.segment_directory import segment_directory
from tests.support.overlord_process import running_overlord
from tests.support.postgres import TestPostgres

DAY = "2026-03-01T00:00:00.000Z/2026-03-02T00:00:00.000Z"
OTHER_DAY = "2026-03-02T00:00:00.000Z/2026-03-03T00:00:00.000Z"


@dataclass(frozen=True)
class PeonWorld:
    """Our Overlord, who talks to it, and what lies in its tables."""

    client: AsyncClient
    tables: Connection
    java: Hand
    ours: Hand
    folder: Path
    asked_of_coordinator: list[str]
    """Method and path of each call that Java peons made to the Coordinator."""

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

    async def older(self, data_source: str) -> list[dict[str, Any]]:
        """Of each interval the used segments that newer ones cover."""
        newest = await self.newest(data_source)
        return [each for each in await self.segments(data_source) if each not in newest]

    async def rows(self, data_source: str) -> list[tuple[str, int]]:
        """Tree and height of every row in the newest segments."""
        return sorted([pair for segment in await self.newest(data_source) for pair in rows_of(segment)])


@asynccontextmanager
async def peon_world(
    druid: DruidInstall,
    database: TestPostgres,
    folder: Path,
    *,
    runner_token: str | None = None,
    java: Mapping[str, str] | None = None,
    **settings: str,
) -> AsyncGenerator[PeonWorld]:
    """
    All of it, until the block ends. `java` are further properties of Java peons, `settings` those of the Overlord.

    With a `runner_token` the Overlord knows it, and the world's client shows it.
    """
    for each in ("deep", "task-logs"):
        (folder / each).mkdir()
    if runner_token is not None:
        settings |= {"runner_token": runner_token}
    url = await database.clone()
    tables = await asyncpg.connect(url)
    asked: list[str] = []
    try:
        async with (
            segment_directory(url, asked) as coordinator,
            running_overlord(
                url,
                folder,
                task_logs=(folder / "task-logs").as_uri(),
                local_input_paths=str(folder),
                druid_peon_task_types="index_parallel,compact",
                **settings,
            ) as client,
        ):
            stock = java_peons(druid, folder, {"druid.discovery.static.coordinator": coordinator, **(java or {})})
            if runner_token is not None:
                client.headers["Authorization"] = f"Bearer {runner_token}"
            async with (
                Hand(client, "java:8091", stock, folder / "java-tasks").at_work() as javas,
                Hand(client, "ours:8091", our_peons(folder), folder / "our-tasks").at_work() as ours,
            ):
                yield PeonWorld(client, tables, javas, ours, folder, asked)
    finally:
        await tables.close()
        await database.drop(url)


async def succeed(hand: Hand, raw_task: dict[str, Any]) -> str:
    """Runs the task on the runner; its id."""
    status = await hand.run(raw_task)
    assert status["statusCode"] == "SUCCESS", f"{status['errorMsg']}\n{hand.log(status['id'])[-6000:]}"
    return status["id"]


def rows_of(segment: dict[str, Any]) -> list[tuple[str, int]]:
    """Tree and height of every row in a segment, in its order."""
    with SegmentReader(Path(segment["loadSpec"]["path"])) as reader:
        return [(row["tree"], row["height"]) for row in reader.rows()]


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
