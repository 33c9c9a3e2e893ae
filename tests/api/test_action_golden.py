"""The calls of Java's peons, replayed: our Overlord answers them as Apache Druid's did, key for key."""

import json
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from druid_core.segment import DataSegment
from overlord.db.pool import Pool, transaction
from overlord.segment import store
from tests.support.actions import ACTION

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden/task-actions/calls.json").read_text())


class Replay:
    """Sends what was recorded. A version that Druid's clock gave is replaced, from then on, by the one of ours."""

    def __init__(self, overlord: AsyncClient) -> None:
        self._overlord = overlord
        self._versions: dict[str, str] = {}

    async def run(self, name: str) -> None:
        task = GOLDEN[name]["task"]
        submitted = await self._overlord.post("/druid/indexer/v1/task", json=task)
        assert submitted.status_code == 200, submitted.text
        for call in GOLDEN[name]["calls"]:
            kind = call["action"]["type"]
            response = await self._overlord.post(ACTION, json={"task": task, "action": self._ours(call["action"])})
            assert response.status_code == 200, (name, kind, response.text)
            if kind == "lockTryAcquire":
                self._versions[call["answer"]["result"]["version"]] = response.json()["result"]["version"]
            assert json.dumps(response.json()) == json.dumps(self._ours(call["answer"])), (name, kind)

    def _ours(self, recorded: Any) -> Any:
        text = json.dumps(recorded)
        for theirs, ours in self._versions.items():
            text = text.replace(theirs, ours)
        return json.loads(text)


async def status_of(overlord: AsyncClient, name: str) -> str:
    task_id = GOLDEN[name]["task"]["id"]
    return (await overlord.get(f"/druid/indexer/v1/task/{task_id}/status")).json()["status"]["statusCode"]


@pytest.mark.route("POST /druid/indexer/v1/action", "same")
async def test_an_overwriting_and_an_appending_java_peon_are_answered_as_by_druid(
    overlord: AsyncClient, pool: Pool
) -> None:
    replay = Replay(overlord)
    await replay.run("overwrite")
    await replay.run("append")
    assert await status_of(overlord, "overwrite") == await status_of(overlord, "append") == "SUCCESS"
    numbers = [
        json.loads(row["payload"])["shardSpec"]
        for row in await pool.fetch("SELECT payload FROM druid_segments WHERE used ORDER BY id")
    ]
    assert numbers == [{"type": "numbered", "partitionNum": number, "partitions": 1} for number in (0, 1)]


@pytest.mark.route("POST /druid/indexer/v1/action", "same")
async def test_a_killing_java_peon_is_answered_as_by_druid(overlord: AsyncClient, pool: Pool) -> None:
    calls = {call["action"]["type"]: call for call in GOLDEN["kill"]["calls"]}
    (doomed,) = calls["segmentListUnused"]["answer"]["result"]
    async with transaction(pool) as tx:
        await store.insert(tx, "earlier", [DataSegment.model_validate(doomed)], set(), 0)
    await Replay(overlord).run("kill")
    assert await status_of(overlord, "kill") == "SUCCESS"
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 0
