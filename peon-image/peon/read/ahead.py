"""Reading and building at the same time: while one batch is built, the next one is read."""

import threading
from collections.abc import Iterator
from queue import Queue
from typing import TypeVar

Item = TypeVar("Item")

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


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _drain(queue: "Queue[object]") -> None:
    while not queue.empty():
        queue.get_nowait()
