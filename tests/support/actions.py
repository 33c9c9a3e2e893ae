"""A task and its peon's words, spoken to an Overlord in process; for tests of locks, segments and task actions."""

from dataclasses import dataclass
from typing import Any

from httpx import AsyncClient, Response

from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import NumberedShardSpec, ShardSpec

ACTION = "/druid/indexer/v1/action"


@dataclass(frozen=True)
class Peon:
    """Speaks for one task, as a Java peon does: no token, the whole task in each call."""

    overlord: AsyncClient
    task: dict[str, Any]

    @property
    def id(self) -> str:
        return self.task["id"]

    async def send(self, type: str, headers: dict[str, str] | None = None, **fields: Any) -> Response:
        body = {"task": self.task, "action": {"type": type, **fields}}
        return await self.overlord.post(ACTION, json=body, headers=headers)

    async def perform(self, type: str, **fields: Any) -> Any:
        """The result of an action that must be answered."""
        response = await self.send(type, **fields)
        assert response.status_code == 200, response.text
        assert set(response.json()) == {"result"}
        return response.json()["result"]

    async def lock(self, interval: str, lock_type: str = "EXCLUSIVE") -> Any:
        return await self.perform("lockTryAcquire", lockType=lock_type, interval=interval)

    async def publish(self, *segments: DataSegment, **fields: Any) -> Any:
        wires = [segment.to_wire() for segment in segments]
        return await self.perform("segmentTransactionalInsert", segments=wires, **fields)

    async def finish(self) -> None:
        await self.perform("updateStatus", statusFull={"id": self.id, "status": "SUCCESS", "duration": 1})


async def start(
    overlord: AsyncClient, id: str, data_source: str = "web", *, group: str | None = None, priority: int = 50
) -> Peon:
    """Submit a noop that lives until it is told to end: no runner is there to take it."""
    task = {
        "type": "noop",
        "id": id,
        "groupId": group or id,
        "dataSource": data_source,
        "context": {"priority": priority},
    }
    response = await overlord.post("/druid/indexer/v1/task", json=task)
    assert response.status_code == 200, response.text
    return Peon(overlord, task)


def segment(
    interval: str,
    version: str,
    number: int = 0,
    core: int = 1,
    *,
    data_source: str = "web",
    shard_spec: ShardSpec | None = None,
) -> DataSegment:
    """A segment as a peon publishes it."""
    return DataSegment(
        data_source=data_source,
        interval=Interval.parse(interval),
        version=version,
        load_spec={"type": "local", "path": f"/deep/{data_source}/{version}/{number}/index/"},
        dimensions=["page", "user"],
        metrics=["count"],
        shard_spec=shard_spec or NumberedShardSpec(partition_num=number, partitions=core),
        size=7628,
        total_rows=24,
    )
