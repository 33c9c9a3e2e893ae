"""The Overlord as a server: a noop's way through, posts from one client and from eight, and the long task list."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.bench.client import TASKS, Client
from tests.bench.rivals import Rival
from tests.support.druid.cluster import DruidCluster

NOOP_POLL_S = 0.005
NOOP: dict[str, Any] = {"type": "noop", "runTime": 1}


@dataclass(frozen=True, slots=True)
class Posts:
    """Latencies of all posts in ms, ascending, and how many tasks a second were accepted."""

    latencies_ms: list[float]
    tasks_per_s: float

    def percentile(self, percent: float) -> float:
        return self.latencies_ms[min(int(len(self.latencies_ms) * percent / 100), len(self.latencies_ms) - 1)]


def noop_seconds(rival: Rival) -> float:
    """From POST to the SUCCESS that a client sees who asks every 5 ms."""
    client = Client(rival.url)
    _, seconds = client.run(NOOP, NOOP_POLL_S)
    client.close()
    return seconds


def post_noops(rival: Rival, clients: int, each: int) -> Posts:
    """
    `clients` connections post `each` noops, one after the other. The worker is switched off meanwhile, so that nothing
    but accepting tasks is measured. The tasks are left behind: for a rival that is stopped next.
    """
    latencies: list[list[float]] = [[] for _ in range(clients)]
    gate = threading.Barrier(clients + 1)

    def work(number: int) -> None:
        client = Client(rival.url)
        client.ask("GET", f"{TASKS}/isLeader")  # the connection is up before the clock runs
        gate.wait()
        for _ in range(each):
            began = time.perf_counter()
            client.submit(NOOP)
            latencies[number].append((time.perf_counter() - began) * 1000)
        client.close()

    with _Idle(rival):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        gate.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
    merged = sorted(latency for some in latencies for latency in some)
    if len(merged) != clients * each:
        raise RuntimeError(f"only {len(merged)} of {clients * each} posts were answered")
    return Posts(merged, len(merged) / elapsed)


def finish_tasks(rival: Rival, count: int, clients: int = 8) -> None:
    """
    Makes `count` finished tasks. Ours are posted and shut down. Druid's are copies of one, put into its tables: a task
    that is shut down while pending stays with its runner, which starts it later all the same.
    """
    if isinstance(rival, DruidCluster):
        client = Client(rival.url)
        task_id, _ = client.run(NOOP, NOOP_POLL_S)
        client.close()
        rival.copy_finished_task(task_id, count)
        return

    def work(share: int) -> None:
        client = Client(rival.url)
        for _ in range(share):
            client.shut_down(client.submit(NOOP))
        client.close()

    with _Idle(rival):
        threads = [threading.Thread(target=work, args=(count // clients,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def list_tasks_ms(rival: Rival, at_least: int) -> float:
    """How long GET /tasks takes; refuses an answer with fewer than `at_least` tasks."""
    client = Client(rival.url)
    client.ask("GET", f"{TASKS}/isLeader")
    began = time.perf_counter()
    raw = client.ask("GET", f"{TASKS}/tasks")
    elapsed_ms = (time.perf_counter() - began) * 1000
    client.close()
    listed = raw.count(b'"statusCode"')
    if listed < at_least:
        raise RuntimeError(f"{listed} tasks listed, {at_least} expected")
    return elapsed_ms


class _Idle:
    """Context manager: the worker takes no task inside."""

    def __init__(self, rival: Rival) -> None:
        self._url = rival.worker_url

    def __enter__(self) -> None:
        self._switch("disable")
        time.sleep(1)  # the Overlord hears of it

    def __exit__(self, *error: object) -> None:
        self._switch("enable")
        time.sleep(1)

    def _switch(self, verb: str) -> None:
        client = Client(self._url)
        client.ask("POST", f"/druid/worker/v1/{verb}")
        client.close()
