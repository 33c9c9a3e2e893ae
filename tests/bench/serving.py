"""The Overlord as a server: a noop's way through, and calls of one client or of several at a time."""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.client import TASKS, Client
from tests.bench.rivals import Rival

NOOP_POLL_S = 0.005
NOOP: dict[str, Any] = {"type": "noop", "runTime": 1}


@dataclass(frozen=True, slots=True)
class Calls:
    """Latencies of all calls in ms, ascending, and how many a second were answered."""

    latencies_ms: list[float]
    per_s: float

    def percentile(self, percent: float) -> float:
        return self.latencies_ms[min(int(len(self.latencies_ms) * percent / 100), len(self.latencies_ms) - 1)]


def named(clients: int) -> str:
    """So many clients, in words of the table."""
    return "1 client" if clients == 1 else f"{clients} clients"


def noop_seconds(rival: Rival) -> float:
    """From POST to the SUCCESS that a client sees who asks every 5 ms."""
    client = Client(rival.url)
    _, seconds = client.run(NOOP, NOOP_POLL_S)
    client.close()
    return seconds


def post_noops(rival: Rival, clients: int, each: int, headers: Mapping[str, str] | None = None) -> Calls:
    """
    `clients` connections post `each` noops, one after the other. The worker is switched off meanwhile, so that nothing
    but accepting tasks is measured. The tasks are left behind: for a rival that is stopped next.
    """
    with idle(rival):
        return at_once(rival.url, clients, each, lambda client, *_: client.submit(NOOP), headers)


def at_once(
    url: str,
    clients: int,
    each: int,
    ask: Callable[[Client, int, int], object],
    headers: Mapping[str, str] | None = None,
) -> Calls:
    """`ask` with a connection, its number and the number of the call: `each` times on each of so many connections."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    gate = threading.Barrier(clients + 1)

    def work(worker: int) -> None:
        client = Client(url, headers)
        client.ask("GET", f"{TASKS}/isLeader")  # the connection is up before the clock runs
        gate.wait()
        for number in range(each):
            began = time.perf_counter()
            ask(client, worker, number)
            latencies[worker].append((time.perf_counter() - began) * 1000)
        client.close()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(clients)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    merged = sorted(latency for some in latencies for latency in some)
    if len(merged) != clients * each:
        raise RuntimeError(f"only {len(merged)} of {clients * each} calls were answered")
    return Calls(merged, len(merged) / elapsed)


@contextmanager
def idle(rival: Rival) -> Generator[None]:
    """The worker takes no task inside."""
    _switch(rival, "disable")
    try:
        yield
    finally:
        _switch(rival, "enable")


def _switch(rival: Rival, verb: str) -> None:
    client = Client(rival.worker_url)
    client.ask("POST", f"/druid/worker/v1/{verb}")
    client.close()
    time.sleep(1)  # the Overlord hears of it
