"""
The loop that moves tasks on: stored, released, assigned, or failed with a dead runner. Druid: TaskQueue, TaskRunner

Every replica has one; a pass happens under an advisory transaction lock, so that only one replica is in it, and when
that replica dies the next pass of another goes on. A pass looks at rows alone, so it may be repeated at any time.
"""

import asyncio
import contextlib
import time

from druid_core.errors import Unavailable
from overlord import events
from overlord.db import hints
from overlord.db.pool import connection, transaction
from overlord.replica import Replica
from overlord.task.assign import assign_pending
from overlord.task.release import adopt_strays, release_ready
from overlord.task.settle import settle_silent
from overlord.task.waiting import Round

_PASS_KEY = 0x6E656D_70617373
"""One pass at a time in all replicas."""

PASS_PAUSE_SECONDS = 0.02
"""
The least time between two passes: a burst of hints is one pass, not a hundred. After a long one it is as long as the
pass was, up to the interval: with ten thousand tasks about, looking must not be all that is done.
"""

STRAYS_EVERY_MS = 10_000
"""How often rows that others inserted are looked for: it reads all active tasks, and is rarely needed."""


_LOOK = """
SELECT EXISTS (SELECT 1 FROM nemeton_attempts WHERE state = 'WAITING') AS waiting,
       EXISTS (SELECT 1 FROM nemeton_attempts WHERE state = 'PENDING')
           AND EXISTS (
               SELECT 1 FROM nemeton_slots AS runner
               WHERE last_seen_ms >= $1 AND capacity > (
                   SELECT count(*) FROM nemeton_attempts AS attempt
                   WHERE attempt.runner_id = runner.runner_id AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
               )
           ) AS assignable,
       EXISTS (
           SELECT 1 FROM nemeton_runners JOIN nemeton_attempts USING (runner_id)
           WHERE last_seen_ms < $1 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
       ) AS silent
"""
"""What there is to do, in one cheap statement: most hints lead to nothing."""


class TaskQueue:
    """The queue loop of one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._task: asyncio.Task[None] | None = None
        self._watching_since_ms = replica.clock_ms()
        self._last_pass_ms = self._watching_since_ms
        self._strays_at_ms = 0
        self._looks = Round()
        self._turned_at = time.monotonic()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="task queue")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def idle_seconds(self) -> float:
        """Since the loop last began to look, whatever it found: long only where it is stuck, or has ended."""
        return time.monotonic() - self._turned_at

    @property
    def has_ended(self) -> bool:
        """Whether nobody looks at the queue: never while the replica serves."""
        return self._task is None or self._task.done()

    async def advance(self) -> bool:
        """One pass; False when another replica is in one, and this one could not. Raises Unavailable."""
        replica = self._replica
        now_ms = replica.clock_ms()
        timeout_ms = replica.settings.runner_timeout_ms
        if now_ms - self._last_pass_ms > timeout_ms // 2:
            # while nobody could look (a machine asleep, Postgres away) no runner could be heard either
            self._watching_since_ms = now_ms
        self._last_pass_ms = now_ms
        strays_due = now_ms - self._strays_at_ms >= STRAYS_EVERY_MS
        async with connection(replica.pool) as held:
            look = await held.fetchrow(_LOOK, now_ms - timeout_ms)
        assert look is not None
        if not (strays_due or look["waiting"] or look["assignable"] or look["silent"]):
            return True
        async with transaction(replica.pool) as tx:
            if not await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", _PASS_KEY):
                return False
            if strays_due:
                await adopt_strays(replica)
                self._strays_at_ms = now_ms
            if look["waiting"] or strays_due:
                await release_ready(replica, self._looks)
            await assign_pending(tx, replica)
            watched_ms = now_ms - self._watching_since_ms
            if look["silent"] and watched_ms >= timeout_ms:
                await settle_silent(replica, now_ms, watched_ms)
        return True

    async def _run(self) -> None:
        interval = self._replica.settings.queue_interval_ms / 1000
        with self._replica.hints.waiting_for(hints.QUEUE) as hinted:
            while True:
                hinted.clear()
                self._turned_at = time.monotonic()
                began = asyncio.get_running_loop().time()
                try:
                    await self.advance()
                except Unavailable as error:
                    events.warning("the queue stands still", error=str(error))
                except Exception as error:  # noqa: BLE001
                    # the queue must outlive any one task and any one error
                    events.error("the queue pass failed, it is tried again", error)
                spent = asyncio.get_running_loop().time() - began
                await asyncio.sleep(max(PASS_PAUSE_SECONDS, min(interval, spent)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await hinted.wait()
