"""
Hints between replicas: "look again". A hint may be lost, so whoever waits for one also looks at intervals.

Postgres serialises the commits of all transactions that notify, so a transaction sends one hint at most a topic.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator

import asyncpg

from overlord import events
from overlord.db.away import DATABASE_AWAY, in_words
from overlord.db.pool import Connection, session_options

CHANNEL = "nemeton"

QUEUE = "queue"
"""Topic: a task came, ended or gave back a lock; a runner has slots."""

APPLICATION = "nemeton-overlord-hints"
"""The listening connection's own name in `pg_stat_activity`: it is of no pool, and idle by nature."""

PROBE_SECONDS = 5.0
"""How often the listening connection is asked whether it still is one."""

_TAKES_NO_WRITES = "SELECT current_setting('transaction_read_only')::bool"
"""True on a standby too. Who hints must write, so nothing is ever heard there."""


def of_runner(runner_id: str) -> str:
    """Topic: there are orders for this runner."""
    return f"runner:{runner_id}"


async def send(tx: Connection, *topics: str) -> None:
    """Hint at `topics` when the transaction commits."""
    for topic in dict.fromkeys(topics):
        # the limit of a NOTIFY payload is 8,000 bytes; a longer topic is only heard at the next interval
        if len(topic.encode()) < 8000:
            await tx.execute("SELECT pg_notify($1, $2)", CHANNEL, topic)


class Hints:
    """One listening connection of a replica, and those in it who wait for a topic."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self.are_heard = False
        """Whether somebody listens; while nobody does, whoever waits must look for himself."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="hints")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.contextmanager
    def waiting_for(self, topic: str) -> Generator[asyncio.Event]:
        """An event that is set at each hint at `topic` while the block runs; whoever waits clears it."""
        event = asyncio.Event()
        events = self._waiting.setdefault(topic, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                self._waiting.pop(topic, None)

    def wake(self, topic: str) -> None:
        """Hint inside this replica alone."""
        for event in self._waiting.get(topic, ()):
            event.set()

    def wake_all(self) -> None:
        for topic in list(self._waiting):
            self.wake(topic)

    async def _listen(self) -> None:
        while True:
            try:
                options = session_options(self._url)
                options["server_settings"] = options["server_settings"] | {"application_name": APPLICATION}
                connection = await asyncpg.connect(self._url, **options)
                lost = asyncio.Event()
                connection.add_termination_listener(_setter(lost))
                try:
                    await connection.add_listener(CHANNEL, self._hear)
                    self.are_heard = True
                    # hints sent while nobody listened are gone: everyone looks once
                    self.wake_all()
                    while not lost.is_set():
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(PROBE_SECONDS):
                                await lost.wait()
                        # one that was cut without a word would be silent for ever; so is a primary that is none now
                        if await connection.fetchval(_TAKES_NO_WRITES, timeout=PROBE_SECONDS):
                            events.warning("the database takes no writes, nobody hears hints")
                            break
                finally:
                    self.are_heard = False
                    connection.terminate()
            except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
                events.warning("the database is away, nobody hears hints", error=in_words(error))
            await asyncio.sleep(1)

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self.wake(str(payload))


def _setter(event: asyncio.Event) -> Callable[[object], None]:
    return lambda _: event.set()
