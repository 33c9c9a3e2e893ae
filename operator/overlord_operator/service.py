"""
One replica of the operator: what it sees, whether it leads, and the loops that work while it does.

A follower sees everything and does nothing, so that it can lead at once.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from druid_core.errors import NemetonError
from druid_core.storage.task_logs import TaskLogs
from overlord_operator import names
from overlord_operator.apply.hands import Hands
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import PODS, Cluster
from overlord_operator.cluster.errors import ClusterAway, ClusterRefused, Outdated
from overlord_operator.druid_task.events import Storyteller
from overlord_operator.lease import Election
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.reconcile import Reconciler
from overlord_operator.runner.assignments import Runner
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import ReadReport, Report, SaveLog
from overlord_operator.storage_work import StorageWork
from overlord_operator.templates import Templates
from overlord_operator.work_queue import WorkQueue

_log = logging.getLogger(__name__)

_RELIST_PAUSE_SECONDS = 2.0


def clock_ms() -> int:
    """The wall clock. The API server's times are compared with it."""
    return time.time_ns() // 1_000_000


class Service:
    """All parts, put together."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        overlord: OverlordClient,
        logs: TaskLogs | None,
        lease_cluster: Cluster | None = None,
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        """
        `lease_cluster` is a line to the API server for the Lease alone, so that a renewal never waits behind other
        calls.
        """
        self.settings = settings
        self.cluster = cluster
        self.overlord = overlord
        self._lease_cluster = lease_cluster or cluster
        self._now_ms = now_ms
        identity = settings.identity or socket.gethostname()
        self.mirror = Mirror(settings.release)
        self.queue = WorkQueue(now_ms)
        self.reconciler = Reconciler(settings, self.mirror, now_ms)
        self.runner = Runner(settings, overlord, self.mirror, self.reconciler, self.queue)
        self.storage = StorageWork(
            logs, cluster, self.reconciler.memory, self.queue.poke, settings.log_patience_seconds
        )
        burst = 10 * settings.events_a_second
        storyteller = Storyteller(cluster, Budget(settings.events_a_second, burst), burst / 2, identity)
        templates = Templates(settings.pod_templates)
        self._hands = Hands(settings, cluster, overlord, self.mirror, templates.read, storyteller, self, logs)
        self.election = Election(
            self._lease_cluster,
            settings.namespace,
            f"{settings.release}-operator",
            identity,
            settings.lease_seconds,
            settings.renew_seconds,
            self._on_leadership,
        )
        self._leadership = asyncio.Event()
        self.has_listed = asyncio.Event()
        """Set once everything has been listed."""
        self.seen_at = time.monotonic()
        """When anything was last heard of the cluster."""
        self.beat_at = time.monotonic()
        """When the loops last had their turn."""

    # what steps need of the process around them

    def report_later(self, ref: Ref, step: Report) -> None:
        self.runner.report_later(ref, step)

    def save_log_later(self, ref: Ref, step: SaveLog) -> None:
        self.storage.save_log_later(ref, step)

    def read_report_later(self, ref: Ref, step: ReadReport) -> None:
        self.storage.read_report_later(ref, step)

    def look_again(self, ref: Ref, at_ms: int) -> None:
        self.queue.poke_at(ref, at_ms)

    def has_more_to_do(self) -> bool:
        return self.queue.backlog > self.settings.calls_in_flight

    # what is seen

    def see_task(self, kind: str | None, raw_task: Mapping[str, Any]) -> None:
        """A DruidTask as a watch tells of it; `kind` as there, None for one that was listed."""
        metadata = raw_task["metadata"]
        if kind == "DELETED":
            self._look(self.mirror.lose_task(metadata["namespace"], metadata["name"], metadata["uid"]))
        else:
            ref = self.mirror.see_task(dict(raw_task))
            self._look(ref)
            for stray in self.mirror.strays(ref) if ref is not None else ():
                self._look(stray)

    def see_pod(self, kind: str | None, raw_pod: Mapping[str, Any]) -> None:
        """A peon's pod, likewise."""
        metadata = raw_pod["metadata"]
        if kind == "DELETED":
            self._look(self.mirror.lose_pod(metadata["namespace"], metadata["name"], metadata["uid"]))
        else:
            self._look(self.mirror.see_pod(dict(raw_pod)))

    def _look(self, ref: Ref | None) -> None:
        self.seen_at = time.monotonic()
        if ref is not None and self.is_acting:
            self.queue.poke(ref)

    async def list_all(self) -> None:
        """List all DruidTasks and pods: what a watch missed is found, what is gone is dropped. Raises NemetonError."""
        tasks, pods = self.mirror.before_list()
        for namespace in self.settings.watched_namespaces or (None,):
            async for page in self.cluster.pages(names.DRUID_TASKS, namespace):
                for raw_task in page:
                    tasks.discard(raw_task["metadata"]["uid"])
                    self._look(self.mirror.see_task(raw_task))
            async for page in self.cluster.pages(PODS, namespace, f"{names.LABEL_PEON}=true"):
                for raw_pod in page:
                    pods.discard(raw_pod["metadata"]["uid"])
                    self._look(self.mirror.see_pod(raw_pod))
        for ref in self.mirror.lose_unlisted(tasks, pods):
            self._look(ref)
        self.mirror.is_complete = True
        self.has_listed.set()
        self.seen_at = time.monotonic()

    # leading

    @property
    def is_acting(self) -> bool:
        """Whether this replica may change anything now."""
        return self.election.is_leader

    def _on_leadership(self, is_leader: bool) -> None:
        if is_leader:
            self._leadership.set()
        else:
            self._leadership.clear()

    async def run(self) -> None:
        """Work until cancelled; watches are not among this."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self.election.run_apart(), name="election")
            loops.create_task(self._lead(), name="lead")
            loops.create_task(self._resync(), name="resync")
            loops.create_task(self._beat(), name="beat")

    async def stop(self) -> None:
        """Let another replica lead, and end. To be called when `run` has ended."""
        await self.storage.stop()
        await self.election.resign()
        await self.overlord.close()
        await self.cluster.close()
        if self._lease_cluster is not self.cluster:
            await self._lease_cluster.close()

    async def _lead(self) -> None:
        while True:
            await self._leadership.wait()
            term = self.election.term
            leading = asyncio.create_task(self._act(), name="acting")
            try:
                # The clock may end a term as well as a call: look often. What was to be done in between was left out:
                # the next term begins anew, even if it began at once.
                while self.election.is_leader and self.election.term == term and not leading.done():
                    await asyncio.wait([leading], timeout=0.5)
            finally:
                leading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await leading
                await self.storage.stop()
                self.runner.clear()
                self.queue.clear()
                self.reconciler.forget_all()

    async def _act(self) -> None:
        """The leader's work. Lists everything first: what the last leader did may not have been seen yet."""
        while True:
            try:
                await self.list_all()
                break
            except (ClusterAway, ClusterRefused, Outdated) as error:
                _log.warning("The cluster could not be listed: %s", error)
                await asyncio.sleep(_RELIST_PAUSE_SECONDS)
        for ref in self.mirror.refs():
            self.queue.poke(ref)
        _log.info("Taking care of %d DruidTasks and %d pods", len(self.mirror), self.mirror.pod_count)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self.runner.run(), name="runner")
            loops.create_task(self.queue.run_timers(), name="timers")
            for number in range(2 * self.settings.calls_in_flight):
                loops.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        while True:
            ref = await self.queue.take()
            try:
                await self.reconciler.reconcile(ref, self._hands, lambda: self.election.is_leader)
            except NemetonError as error:
                pause = self.queue.failed(ref)
                _log.warning("%s/%s is looked at again in %.1f s: %s", ref.namespace, ref.name, pause, error)
            except Exception:  # noqa: BLE001 - one task that nobody thought of must not hold up the others
                pause = self.queue.failed(ref)
                _log.exception("%s/%s is looked at again in %.1f s", ref.namespace, ref.name, pause)
            else:
                self.queue.done(ref)

    async def _resync(self) -> None:
        while True:
            was_complete = self.mirror.is_complete
            await asyncio.sleep(self.settings.resync_seconds if was_complete else _RELIST_PAUSE_SECONDS)
            if self.mirror.is_complete and not was_complete:
                continue  # who leads lists by itself; who stands by does so here, or would not be ready
            try:
                await self.list_all()
            except (ClusterAway, ClusterRefused, Outdated) as error:
                _log.warning("The cluster could not be listed: %s", error)

    async def _beat(self) -> None:
        while True:
            self.beat_at = time.monotonic()
            await asyncio.sleep(1.0)
