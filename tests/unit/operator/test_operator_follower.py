"""A replica that stands by: it sees all, does nothing, and is as ready as the leader."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from overlord_operator import service
from overlord_operator.cluster.client import LEASES
from overlord_operator.cluster.errors import ClusterAway
from overlord_operator.health import HealthServer
from overlord_operator.names import DRUID_TASKS
from overlord_operator.service import Service
from overlord_operator.settings import OperatorSettings
from tests.support.operator_cluster import FakeCluster, Raw
from tests.support.operator_overlord import FakeOverlord

SETTINGS = OperatorSettings(overlord="http://overlord:8090", namespace="tasks", identity="operator-1")
LEASE = {
    "metadata": {"name": "nemeton-operator", "namespace": "tasks"},
    "spec": {"holderIdentity": "operator-0", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 3600},
}


class _Cluster(FakeCluster):
    """One whose lists fail a few times first."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.put(LEASES, LEASE)
        self.put(DRUID_TASKS, {"metadata": {"name": "mine"}, "spec": {"task": {"type": "noop"}}})

    async def pages(self, kind: str, namespace: str | None, label_selector: str = "") -> AsyncIterator[list[Raw]]:
        if self.failures > 0:
            self.failures -= 1
            raise ClusterAway("The API server does not answer.")
        async for page in super().pages(kind, namespace, label_selector):
            yield page


async def _ready(port: int) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status


@pytest.mark.parametrize("failures", [0, 3])
async def test_a_follower_lists_the_cluster_and_is_ready_without_ever_leading(
    monkeypatch: pytest.MonkeyPatch, failures: int
):
    monkeypatch.setattr(service, "_RELIST_PAUSE_SECONDS", 0.01)
    cluster = _Cluster(failures)
    given: Any = cluster
    overlord: Any = FakeOverlord()
    follower = Service(SETTINGS, given, overlord, None)
    health = HealthServer(follower)
    port = await health.start("127.0.0.1", 0)
    try:
        assert await _ready(port) == 503
        working = asyncio.create_task(follower.run())
        try:
            async with asyncio.timeout(20):
                await follower.has_listed.wait()
            assert await _ready(port) == 200
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    finally:
        await health.stop()
    assert len(follower.mirror) == 1
    assert not follower.is_acting
    assert cluster.writes == []
    assert cluster.failures == 0
