"""Any replica does for any call: Druid's clients, who look for a leader, are content with each."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient

from overlord.settings import OverlordSettings
from tests.support.actions import Peon, start
from tests.support.overlord_calls import V1, replica, status

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


@pytest.fixture
async def three(settings: OverlordSettings) -> AsyncIterator[list[AsyncClient]]:
    shared = settings.model_copy(update={"public_url": "http://overlord.grove:8090"})
    async with replica(shared) as (_, one), replica(shared) as (_, two), replica(shared) as (_, last):
        yield [one, two, last]


async def test_each_replica_leads_and_names_the_one_address_of_all(three: list[AsyncClient]) -> None:
    for client in three:
        assert (await client.get(f"{V1}/leader")).text == "http://overlord.grove:8090"
        is_leader = await client.get(f"{V1}/isLeader")
        # a load balancer that asks each node sends to all of them; Druid's own answers 404 where it does not lead
        assert (is_leader.status_code, is_leader.json()) == (200, {"leader": True})


async def test_no_call_is_sent_on_to_another_replica(three: list[AsyncClient]) -> None:
    """Druid answers 307 where it does not lead. Druid: RedirectFilter, ServiceClientImpl"""
    for client in three:
        for path in ("leader", "isLeader", "tasks", "workers", "supervisor", "lockedIntervals", "nothing-here"):
            answer = await client.get(f"{V1}/{path}")
            assert not answer.is_redirect
            assert "location" not in answer.headers


async def test_what_one_replica_did_all_know_at_once(three: list[AsyncClient]) -> None:
    one, two, last = three
    peon = await start(one, "t1")
    assert [(await status(client, "t1"))["statusCode"] for client in three] == ["RUNNING"] * 3
    lock = await Peon(two, peon.task).lock(DAY)
    rival = await start(last, "t2")
    assert (await rival.perform("lockTryAcquire", lockType="EXCLUSIVE", interval=DAY)) is None
    assert (await Peon(last, peon.task).perform("lockList"))[0]["version"] == lock["version"]
    await Peon(last, peon.task).finish()
    assert [(await status(client, "t1"))["statusCode"] for client in three] == ["SUCCESS"] * 3
    assert (await Peon(one, rival.task).lock(DAY)) is not None
