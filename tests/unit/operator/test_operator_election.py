"""Who leads: one of the replicas, and soon another when it dies."""

import asyncio
import threading
from typing import Any

from overlord_operator.cluster.errors import AlreadyExists, ClusterAway, Outdated, Vanished
from overlord_operator.lease import Election
from overlord_operator.settings import OperatorSettings
from tests.support.clock import Clock

Raw = dict[str, Any]
SETTINGS = OperatorSettings(overlord="http://o:8090", namespace="tasks")


class LeaseStore:
    """One Lease, with versions."""

    def __init__(self) -> None:
        self.lease: Raw | None = None
        self.version = 0
        self.is_away = False

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        self._answer()
        if self.lease is None:
            raise Vanished("no Lease")
        return {**self.lease, "spec": dict(self.lease["spec"]), "metadata": dict(self.lease["metadata"])}

    async def create(self, kind: str, namespace: str, raw_object: Raw) -> Raw:
        self._answer()
        if self.lease is not None:
            raise AlreadyExists("there is one")
        return self.store(raw_object)

    async def replace(self, kind: str, namespace: str, name: str, raw_object: Raw) -> Raw:
        self._answer()
        assert self.lease is not None
        if raw_object["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Outdated("another state")
        return self.store(raw_object)

    async def close(self) -> None:
        pass

    def store(self, raw_object: Raw) -> Raw:
        self.version += 1
        self.lease = {**raw_object, "metadata": {**raw_object["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    def _answer(self) -> None:
        if self.is_away:
            raise ClusterAway("away")


def _election(store: LeaseStore, identity: str, clock: Clock) -> Election:
    return Election(store, "tasks", "nemeton", identity, 10, 3.0, lambda _: None, clock)


async def test_a_lease_that_ran_out_for_a_moment_begins_a_new_term():
    store, clock = LeaseStore(), Clock()
    one = _election(store, "one", clock)
    await one.step()
    clock.now += 3
    await one.step()
    assert one.term == 1
    clock.now += 9
    assert not one.is_leader
    await one.step()
    assert one.is_leader
    assert one.term == 2


async def test_the_lease_is_renewed_while_the_operators_own_loop_is_busy():
    store, told = LeaseStore(), list[bool]()
    renewed = threading.Event()
    stored = store.store

    def store_and_tell(raw_object: Raw) -> Raw:
        kept = stored(raw_object)
        if store.version == 3:
            renewed.set()
        return kept

    store.store = store_and_tell
    leads = asyncio.Event()

    def on_change(is_leader: bool) -> None:
        told.append(is_leader)
        leads.set()

    election = Election(store, "tasks", "nemeton", "one", 10, 0.01, on_change)
    running = asyncio.create_task(election.run_apart())
    await asyncio.wait_for(leads.wait(), 20)
    assert renewed.wait(20), "nothing else has its turn on this loop meanwhile"
    assert election.is_leader
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert told == [True]


async def test_of_two_replicas_one_leads():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    await one.step()
    await two.step()
    assert (one.is_leader, two.is_leader) == (True, False)
    assert two.leader == "one"


async def test_a_leader_that_dies_is_followed_within_fifteen_seconds():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    await one.step()
    died = clock.now
    while not two.is_leader:
        await two.step()
        clock.now += 3.0
        assert clock.now - died <= 18, "the step that took it was within 15 s"
    assert not one.is_leader


async def test_a_leader_that_renews_is_never_followed():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    for _ in range(20):
        await one.step()
        await two.step()
        clock.now += 3.0
        assert not two.is_leader


async def test_a_leader_that_cannot_renew_stops_before_the_next_may_begin():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    await one.step()
    await two.step()
    seen = clock.now
    while not two.is_leader:
        assert clock.now - seen < 20
        clock.now += 0.25
        still_leads = one.is_leader
        await two.step()
        assert not (still_leads and two.is_leader)


async def test_a_leader_that_resigns_is_followed_at_once():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    await one.step()
    await one.resign()
    await two.step()
    assert (one.is_leader, two.is_leader) == (False, True)


async def test_a_follower_does_not_take_a_lease_that_was_renewed_while_it_looked():
    store, clock = LeaseStore(), Clock()
    one, two = _election(store, "one", clock), _election(store, "two", clock)
    await one.step()
    await two.step()
    clock.now += 11
    original = store.replace

    async def renewed_first(kind: str, namespace: str, name: str, raw_object: Raw) -> Raw:
        store.version += 1
        assert store.lease is not None
        store.lease["metadata"]["resourceVersion"] = str(store.version)
        return await original(kind, namespace, name, raw_object)

    store.replace = renewed_first  # pyright: ignore[reportAttributeAccessIssue]
    await two.step()
    assert not two.is_leader
