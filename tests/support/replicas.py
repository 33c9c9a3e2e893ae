"""Replicas of the Overlord as processes on one database, killed at will, and callers who go on with another one."""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from httpx import AsyncClient, Limits, Response, TransportError

from tests.support.ports import free_port

_ROOT = Path(__file__).parents[2]
_UP_SECONDS = 60
_AGAIN_SECONDS = 0.2
"""After a 503; its Retry-After is for people and schedulers who have time."""


@dataclass
class Replica:
    """One process, its log, and who waits for an answer of it."""

    name: str
    database_url: str
    log: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    under_way: set[int] = field(default_factory=set[int])
    in_service: bool = False

    def __post_init__(self) -> None:
        limits = Limits(max_connections=None, max_keepalive_connections=20)
        self.client = AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60, limits=limits)

    async def start(self) -> None:
        """Returns when it is ready."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT / "core"), str(_ROOT / "api")]),
            "NEMETON_DATABASE_URL": self.database_url,
            "NEMETON_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "overlord.server", env=environment, stderr=log
            )
        deadline = time.monotonic() + _UP_SECONDS
        while not await self._is_ready():
            assert self.process.returncode is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{self.name} did not come up"
            await asyncio.sleep(0.1)
        self.in_service = True

    async def _is_ready(self) -> bool:
        try:
            return (await self.client.get("/status/ready")).status_code == 200
        except TransportError:
            return False


class Replicas:
    """
    All replicas, and the one way to call them: a request goes to one of them, and where that one is killed under it, to
    another. `counts` says how often what happened.
    """

    def __init__(self, replicas: list[Replica]) -> None:
        self.all = replicas
        self.counts: Counter[str] = Counter()
        self.killed_at: list[float] = []
        self.unexplained: list[str] = []
        """Requests that got no answer of a replica that was alive."""
        self.refused_at: list[float] = []
        """When a request was answered 503."""
        self._numbers = iter(range(1 << 60))
        self._cut: set[int] = set()

    async def call(self, method: str, path: str, **request: Any) -> tuple[Response, bool]:
        """The answer, and whether the request was repeated because nobody knows what became of its first try."""
        in_doubt = False
        while True:
            replica = self._one()
            if replica is None:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            number = next(self._numbers)
            replica.under_way.add(number)
            self.counts["requests"] += 1
            try:
                answer = await replica.client.request(method, path, **request)
            except TransportError as error:
                if number in self._cut:
                    self.counts["cut by a kill"] += 1
                    in_doubt = True
                elif replica.in_service:
                    self.unexplained.append(f"{method} {path}: {error!r} of {replica.name}")
                else:
                    self.counts["came to a dead one"] += 1
                continue
            finally:
                replica.under_way.discard(number)
            if answer.status_code != 503:
                return answer, in_doubt
            self.counts["answered 503"] += 1
            self.refused_at.append(time.monotonic())
            in_doubt = True
            await asyncio.sleep(_AGAIN_SECONDS)

    async def kill(self, replica: Replica) -> None:
        """By SIGKILL. Whoever waits for its answer now is in flight."""
        assert replica.process is not None
        self._cut |= replica.under_way
        self.counts["kills"] += 1
        self.counts["in flight at kills"] += len(replica.under_way)
        replica.in_service = False
        self.killed_at.append(time.time())
        replica.process.kill()
        await replica.process.wait()

    def _one(self) -> Replica | None:
        serving = [replica for replica in self.all if replica.in_service]
        return random.choice(serving) if serving else None


@asynccontextmanager
async def running_replicas(urls: list[str], folder: Path) -> AsyncGenerator[Replicas]:
    """One replica a database URL, all ready; killed at the end of the block."""
    replicas = [Replica(f"replica-{n}", url, folder / f"replica-{n}.log") for n, url in enumerate(urls)]
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield Replicas(replicas)
    finally:
        for replica in replicas:
            await replica.client.aclose()
            if replica.process is not None and replica.process.returncode is None:
                replica.process.kill()
                await replica.process.wait()
