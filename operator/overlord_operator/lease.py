"""
Which replica acts: leader election through one Lease of `coordination.k8s.io`.

The leader renews; a follower that sees no renewal for the Lease's whole duration, by its own clock, takes it. Nobody
compares clocks of two machines. A leader that cannot renew stops acting before its followers may take over.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from druid_core.errors import NemetonError
from overlord_operator.cluster.client import LEASES
from overlord_operator.cluster.errors import AlreadyExists, Outdated, Vanished

_log = logging.getLogger(__name__)

_MARGIN_SECONDS = 2.0
"""A leader stops so long before its Lease runs out: calls that it has begun may still take effect."""


class LeaseStore(Protocol):
    """What of the API server an election needs."""

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]: ...

    async def create(self, kind: str, namespace: str, raw_object: dict[str, Any]) -> dict[str, Any]: ...

    async def replace(self, kind: str, namespace: str, name: str, raw_object: dict[str, Any]) -> dict[str, Any]: ...

    async def close(self) -> None: ...


class Election:
    """
    One replica's part in the election.

    `is_leader` is true only while the Lease is surely ours. `on_change` is called, with it, when that changes.
    """

    def __init__(
        self,
        cluster: LeaseStore,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: int,
        renew_seconds: float,
        on_change: Callable[[bool], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._on_change = on_change
        self._monotonic = monotonic
        self._ours_until = float("-inf")
        self._was_leader = False
        self._seen: tuple[str | None, str | None] | None = None
        self._seen_at = float("-inf")
        self.leader: str | None = None
        """Who has the Lease, as far as this replica knows."""
        self.term = 0
        """Counts the times that this replica became leader, after however short a while of not being it."""

    @property
    def is_leader(self) -> bool:
        return self._monotonic() < self._ours_until

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            began = self._monotonic()
            try:
                # a call that takes longer than the Lease has left is of no use
                async with asyncio.timeout(max(self._renew_seconds, self._lease_seconds / 2)):
                    await self.step()
            except (NemetonError, TimeoutError) as error:
                _log.warning(
                    "The Lease [%s] could not be read or written: %s", self._name, error or "no answer in time"
                )
            self._note_change()
            spent = self._monotonic() - began
            await self._pause(max(0.1, self._renew_seconds - spent))

    async def run_apart(self) -> None:
        """
        `run` in a thread and on a loop of its own: however busy this loop is, the Lease is renewed in time.

        `on_change` is called in this loop.
        """
        here = asyncio.get_running_loop()
        tell, self._on_change = self._on_change, lambda leads: self._tell_in(here, tell, leads)
        apart: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = here.create_future()

        async def work() -> None:
            running = asyncio.create_task(self.run())
            here.call_soon_threadsafe(apart.set_result, (asyncio.get_running_loop(), running))
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await self._cluster.close()  # the connections of this loop, which ends here

        with ThreadPoolExecutor(1, thread_name_prefix="lease") as threads:
            thread = here.run_in_executor(threads, asyncio.run, work())
            try:
                await asyncio.shield(thread)
            finally:
                loop, running = await apart
                if not thread.done():
                    loop.call_soon_threadsafe(running.cancel)
                    await thread
                self._on_change = tell

    @staticmethod
    def _tell_in(loop: asyncio.AbstractEventLoop, tell: Callable[[bool], None], leads: bool) -> None:
        loop.call_soon_threadsafe(tell, leads)

    async def step(self) -> None:
        """Look at the Lease once; renew it, or take it where it is free. Raises NemetonError."""
        asked = self._monotonic()
        try:
            raw_lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except Vanished:
            with contextlib.suppress(AlreadyExists):
                await self._cluster.create(LEASES, self._namespace, self._written(None, transitions=0))
                self._take(asked)
            return
        spec = raw_lease.get("spec") or {}
        self.leader = spec.get("holderIdentity") or None
        if self.leader not in (None, self._identity) and not self._has_run_out(spec, asked):
            self._ours_until = float("-inf")
            return
        transitions = (spec.get("leaseTransitions") or 0) + (self.leader != self._identity)
        try:
            await self._cluster.replace(LEASES, self._namespace, self._name, self._written(raw_lease, transitions))
        except Outdated:
            # Somebody else wrote it in between. If it was ours it may no longer be.
            self._ours_until = float("-inf")
            return
        self._take(asked)

    async def resign(self) -> None:
        """Give the Lease up, so that the next leader need not wait for its end."""
        if not self.is_leader:
            return
        self._ours_until = float("-inf")
        self._note_change()
        try:
            async with asyncio.timeout(self._renew_seconds):
                raw_lease = await self._cluster.get(LEASES, self._namespace, self._name)
                if (raw_lease.get("spec") or {}).get("holderIdentity") != self._identity:
                    return
                raw_lease["spec"]["holderIdentity"] = ""
                await self._cluster.replace(LEASES, self._namespace, self._name, raw_lease)
        except (NemetonError, TimeoutError) as error:
            _log.info("The Lease [%s] was not given up: %s", self._name, error)

    def _take(self, asked: float) -> None:
        if not self.is_leader:
            self.term += 1
        # counted from before the call: its answer may have taken long
        self._ours_until = asked + self._lease_seconds - _MARGIN_SECONDS
        self.leader = self._identity

    def _has_run_out(self, spec: dict[str, Any], now: float) -> bool:
        seen = (spec.get("holderIdentity"), spec.get("renewTime"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
            return False
        return now - self._seen_at > (spec.get("leaseDurationSeconds") or self._lease_seconds)

    def _written(self, raw_lease: dict[str, Any] | None, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = raw_lease or {}
        spec: dict[str, Any] = dict(old.get("spec") or {})
        if spec.get("holderIdentity") != self._identity or "acquireTime" not in spec:
            spec["acquireTime"] = now
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        metadata = old.get("metadata") or {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _pause(self, seconds: float) -> None:
        """Sleep, and notice in time that the Lease is no longer ours."""
        left = self._ours_until - self._monotonic()
        if 0 < left < seconds:
            await asyncio.sleep(left)
            self._note_change()
            return
        await asyncio.sleep(seconds)

    def _note_change(self) -> None:
        if self.is_leader is not self._was_leader:
            self._was_leader = self.is_leader
            _log.info("This replica [%s] %s", self._identity, "leads" if self._was_leader else "no longer leads")
            self._on_change(self._was_leader)
