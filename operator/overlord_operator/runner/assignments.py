"""
The operator as a runner: it follows the Overlord's orders, says what it has, and reports what it sees.

Orders are repeated until they show in what the operator says it has, so that nothing here needs to survive a restart.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from druid_core.errors import Unavailable
from druid_core.runner import OPERATOR, PODS_CATEGORY, Explanation, PendingReason, RunnerAnnouncement, RunnerOrders
from overlord_operator import names
from overlord_operator.druid_task.present import place_words
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.reconcile import Reconciler
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import Report
from overlord_operator.work_queue import WorkQueue

_log = logging.getLogger(__name__)

_POLL_SECONDS = 20
"""Of a long poll: short enough for any proxy's patience."""
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
"""After orders that asked for nothing new, so that an Overlord that repeats itself is not asked without pause."""
_GATHER_SECONDS = 0.25
"""For more new pods, before the Overlord is told of the first."""
_GATHER_SHARE = 20.0
"""It takes at least so many times as long as telling did: comparing ten thousand attempts is not free."""
_TOGETHER_SECONDS = 0.25
"""
After so many orders as come in a flood, before the next are asked for: each answer repeats what is not begun yet, so
that orders taken one by one would cost the square of their number.
"""
_FLOOD_ORDERS = 50
"""An answer with so many is one; after fewer the pause is as much shorter, so that a single task never waits."""
_REPORTS_TOGETHER_SECONDS = 0.05
"""After a report, before the next: a call and a transaction for each pod would cost more than what they tell."""
_REPORTS_AT_ONCE = 500
_EXPLAINED_AT_ONCE = 2000
"""Ids a question: the Overlord answers them in one statement."""


class Runner:
    """The line to the Overlord, as long as this replica leads."""

    def __init__(
        self,
        settings: OperatorSettings,
        overlord: OverlordClient,
        mirror: Mirror,
        reconciler: Reconciler,
        queue: WorkQueue,
    ) -> None:
        self._settings = settings
        self._overlord = overlord
        self._mirror = mirror
        self._reconciler = reconciler
        self._queue = queue
        self._version = version("nemeton")
        self._unreported: dict[tuple[str, int], tuple[Ref, Report]] = {}
        self._has_news = asyncio.Event()
        self.overlord_is_away = False
        self._gather_seconds = _GATHER_SECONDS

    async def run(self) -> None:
        """Work until cancelled. To be begun only when the mirror is complete: what is not listed counts as gone."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._follow(), name="orders")
            loops.create_task(self._announce(), name="announce")
            loops.create_task(self._report(), name="report")
            loops.create_task(self._explain(), name="explain")

    def clear(self) -> None:
        """Another replica leads: what was not reported yet is its to say."""
        self._unreported.clear()

    def report_later(self, ref: Ref, step: Report) -> None:
        """Report soon, together with others; a later report of the same attempt takes the place of an earlier one."""
        self._unreported[step.report.task_id, step.report.attempt] = (ref, step)
        self._has_news.set()

    async def _follow(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            asked = time.monotonic()
            try:
                orders = await self._next_orders()
            except Unavailable as error:
                self._note_absence(error)
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
            else:
                self._note_presence()
                wait_seconds = _FIRST_WAIT_SECONDS
                if self.obey(orders):
                    await asyncio.sleep(_TOGETHER_SECONDS * min(1.0, len(orders.start) / _FLOOD_ORDERS))
                elif time.monotonic() - asked < _PAUSE_SECONDS:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _next_orders(self) -> RunnerOrders:
        """
        By long poll, until there is a pod of which this poll does not tell: the Overlord has orders and outcomes only
        for what it is told of. Then what the poll was about to answer is asked for again.
        """
        self._mirror.held_more.clear()
        poll = asyncio.create_task(self._overlord.next_orders(self._announcement(), self._attempts(), _POLL_SECONDS))
        more = asyncio.create_task(self._mirror.held_more.wait())
        try:
            await asyncio.wait([poll, more], return_when=asyncio.FIRST_COMPLETED)
            if not poll.done():
                await asyncio.wait([poll], timeout=self._gather_seconds)
            if poll.done():
                return poll.result()
        finally:
            more.cancel()
            poll.cancel()
            await asyncio.gather(more, poll, return_exceptions=True)
        began = time.monotonic()
        orders = await self._overlord.announce(self._announcement(), self._attempts())
        self._gather_seconds = max(_GATHER_SECONDS, min(_POLL_SECONDS, _GATHER_SHARE * (time.monotonic() - began)))
        return orders

    async def _announce(self) -> None:
        while True:
            try:
                self.obey(await self._overlord.announce(self._announcement(), self._attempts()))
                self._note_presence()
            except Unavailable as error:
                self._note_absence(error)
            await asyncio.sleep(self._settings.heartbeat_seconds)

    def _announcement(self) -> RunnerAnnouncement:
        return RunnerAnnouncement(
            runner_id=self._settings.release,
            kind=OPERATOR,
            host=self._settings.release,
            ip="",
            version=self._version,
            category=PODS_CATEGORY,
            capacity=self._settings.capacity,
            enabled=True,
        )

    def _attempts(self) -> list[dict[str, Any]]:
        """What is not settled yet: the pods that our finalizer is on."""
        return [{"taskId": pod.task_id, "attempt": pod.attempt} for pod in self._mirror.held_pods()]

    def obey(self, orders: RunnerOrders) -> bool:
        """Note what is asked, and have the tasks looked at of which it is news; whether there was any."""
        self._reconciler.execution = orders.execution
        news: set[Ref] = set()
        for assignment in orders.start:
            ref = self.ref_of(assignment.task_id)
            if ref is None:
                continue
            memory = self._reconciler.memory(ref)
            if memory.assignment != assignment:
                memory.assignment = assignment
                news.add(ref)
        for order in orders.stop:
            for ref in self._refs_with(order.task_id):
                memory = self._reconciler.memory(ref)
                if order.attempt not in memory.stops:
                    memory.stops |= {order.attempt}
                    news.add(ref)
        for order in orders.forget:
            for ref in self._refs_with(order.task_id):
                memory = self._reconciler.memory(ref)
                if order.attempt not in memory.forgotten:
                    memory.forgotten |= {order.attempt}
                    news.add(ref)
        for outcome in orders.outcomes:
            for ref in self._refs_with(outcome.task_id):
                memory = self._reconciler.memory(ref)
                if memory.outcomes.get(outcome.attempt) != outcome:
                    memory.outcomes[outcome.attempt] = outcome
                    news.add(ref)
        for ref in news:
            self._queue.poke(ref)
        return bool(news)

    def ref_of(self, task_id: str) -> Ref | None:
        """
        The DruidTask that an assignment is for; one that is to be made, for a task that came by REST.

        None where several name the task and none of them is known to be the accepted one: the order will come again.
        """
        refs = self._mirror.of_task_id(task_id)
        if not refs:
            return Ref(self._settings.rest_namespace, names.job_name(task_id))
        if len(refs) == 1:
            return next(iter(refs))
        accepted = [ref for ref in refs if self._reconciler.has_submitted(ref)]
        return accepted[0] if len(accepted) == 1 else None

    def _refs_with(self, task_id: str) -> Iterable[Ref]:
        """Whom an order about a task is for: those who look after its pods, or will."""
        refs = self._mirror.of_pods(task_id)
        if refs:
            return refs
        ref = self.ref_of(task_id)
        return [ref] if ref is not None else []

    async def _report(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            keys = list(self._unreported)[:_REPORTS_AT_ONCE]
            batch = {key: self._unreported.pop(key) for key in keys}
            if not batch:
                continue
            try:
                await self._overlord.report([step.report for _, step in batch.values()])
            except Unavailable as error:
                self._note_absence(error)
                self._unreported = {**batch, **self._unreported}
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
            else:
                wait_seconds = _FIRST_WAIT_SECONDS
                for ref, step in batch.values():
                    self._reconciler.memory(ref).note_told(step.report)
                await asyncio.sleep(_REPORTS_TOGETHER_SECONDS)
            if self._unreported:
                self._has_news.set()

    async def _explain(self) -> None:
        while True:
            await asyncio.sleep(max(self._settings.explain_seconds, len(self._reconciler.waiting) / 1000))
            try:
                await self.explain_once()
            except Unavailable as error:
                self._note_absence(error)

    async def explain_once(self) -> None:
        """
        Ask why tasks wait, all of them that do, and how some ended whose status may not be true: after a start these
        are all that are finished, and they have time. Raises Unavailable.
        """
        waiting = list(self._reconciler.waiting.items())
        waiting += itertools.islice(self._reconciler.doubtful.items(), _EXPLAINED_AT_ONCE)
        for start in range(0, len(waiting), _EXPLAINED_AT_ONCE):
            some = waiting[start : start + _EXPLAINED_AT_ONCE]
            answers = await self._overlord.explain([task_id for _, task_id in some])
            for ref, task_id in some:
                self._take_explanation(ref, answers.get(task_id))

    def _take_explanation(self, ref: Ref, explanation: Explanation | None) -> None:
        if ref not in self._reconciler.waiting and ref not in self._reconciler.doubtful:
            return
        memory = self._reconciler.memory(ref)
        is_unknown = explanation is None
        if is_unknown == memory.is_unknown and _gist(explanation) == _gist(memory.explanation):
            return
        memory.explanation = explanation
        memory.is_unknown = is_unknown
        self._queue.poke(ref)

    def _note_absence(self, error: Unavailable) -> None:
        if not self.overlord_is_away:
            self.overlord_is_away = True
            _log.warning("%s; trying again until it does, pods go on", error)

    def _note_presence(self) -> None:
        if self.overlord_is_away:
            self.overlord_is_away = False
            _log.info("The Overlord answers again")


def _gist(explanation: Explanation | None) -> object:
    """What of an explanation is worth a new status."""
    if explanation is None:
        return None
    words = place_words(explanation.place) if explanation.reason is PendingReason.NO_SLOT else explanation.message
    return explanation.reason, words, explanation.attempt, explanation.status.status
