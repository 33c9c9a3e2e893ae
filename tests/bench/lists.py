"""What a list and a status take when there are many finished tasks; ours has pages beside, which Druid has not."""

import statistics
import time
from collections.abc import Callable

from tests.bench.client import TASKS, Client
from tests.bench.results import Book
from tests.bench.rivals import Nemeton, Rival
from tests.bench.serving import NOOP, NOOP_POLL_S

PAGE = 100
STATUSES = 200


def measure_lists(book: Book, rival: Rival, sizes: tuple[int, ...], repeats: int) -> None:
    """`sizes` ascend: tasks are added from one to the next. They are copies of one that ran."""
    client = Client(rival.url)
    there = 0
    for size in sizes:
        task_id, _ = client.run(NOOP, NOOP_POLL_S)
        there += 1
        rival.copy_finished_task(task_id, size - there)
        there = size
        some = f"{task_id}_{(size - len(sizes)) // 2:07}"
        lists = [_list_ms(client, there) for _ in range(repeats + 1)]
        book.note(f"GET /tasks, {size:,} finished", "ms", lists[1:])
        asked = [milliseconds(lambda some=some: client.status(some)) for _ in range(STATUSES)]
        book.note(f"GET task/{{id}}/status, {size:,} finished, p50", "ms", [statistics.median(asked)])
        book.note(f"GET task/{{id}}/status, {size:,} finished, p99", "ms", [p99(asked)])
        if isinstance(rival, Nemeton):
            for name, after in (("first page", ""), ("page in the middle", f"&after={some}")):
                path = f"{TASKS}/tasks?limit={PAGE}{after}"
                pages = [milliseconds(lambda path=path: client.ask("GET", path)) for _ in range(STATUSES)]
                book.note(f"GET /tasks, {name}, {size:,} finished, p99", "ms", [p99(pages)])
    client.close()


def _list_ms(client: Client, at_least: int) -> float:
    """How long GET /tasks takes; refuses an answer with fewer than `at_least` tasks."""
    began = time.perf_counter()
    raw = client.ask("GET", f"{TASKS}/tasks")
    elapsed_ms = (time.perf_counter() - began) * 1000
    listed = raw.count(b'"statusCode"')
    if listed < at_least:
        raise RuntimeError(f"{listed} tasks listed, {at_least} expected")
    return elapsed_ms


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def p99(values: list[float]) -> float:
    return sorted(values)[min(int(len(values) * 0.99), len(values) - 1)]
