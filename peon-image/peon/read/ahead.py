"""Reading and building at the same time: while one batch is built, the next ones are read."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END = object()


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """
    The same items in the same order, each taken from `items` by a thread of its own before it is asked for.

    At most two are waiting at any time. What `items` raises is raised here, in its place. Leaving early ends the
    thread.
    """
    waiting: Queue[object] = Queue(maxsize=1)
    left = threading.Event()

    def read() -> None:
        last: object = _END
        try:
            for item in items:
                waiting.put(item)
                if left.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the other thread raises it
            last = _Failure(error)
        waiting.put(last)

    reader = threading.Thread(target=read, name="reader", daemon=True)
    reader.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        while reader.is_alive():
            # Whatever the thread is about to put would keep it waiting for ever.
            _drain(waiting)
            reader.join(0.05)


def map_in_turn(function: Callable[[Item], Result], items: Iterator[Item], hands: int) -> Iterator[Result]:
    """
    What `function` makes of the items, in their order; `hands` threads work on as many of them at a time.

    At most one more is taken from `items` than there are hands. What `items` raises is raised here, in its place.
    Leaving early waits for what has been begun.
    """
    with ThreadPoolExecutor(hands, thread_name_prefix="hand") as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for future in _begin(pool, function, items):
                begun.append(future)
                if len(begun) > hands:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterator[Item]
) -> Iterator[Future[Result]]:
    try:
        for item in items:
            yield pool.submit(function, item)
    except Exception as error:  # noqa: BLE001 - whatever it is, it waits for its turn
        failed: Future[Result] = Future()
        failed.set_exception(error)
        yield failed


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _drain(queue: "Queue[object]") -> None:
    while not queue.empty():
        queue.get_nowait()
