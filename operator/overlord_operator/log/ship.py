"""
The log of an attempt, made safe: stored whole, so that its pod may go.

A pod's keeper stores the log itself. What is done here is for pods that were killed with their keepers, or lost with
their nodes.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, ParamSpec, TypeVar

from druid_core.errors import NotFound
from druid_core.storage.stored_log import StoredLog
from druid_core.storage.task_logs import TaskLogs

_AT_ONCE = 8
"""Calls to the storage: each holds a thread, and with an upload some 20 MiB."""
_IN_MEMORY_BYTES = 1 << 20
"""Of a kubelet's log; what is more waits on disk."""
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 1 << 10
"""By so much of the end of the parts the kubelet's log is recognised as their continuation."""
_SEARCHED_BYTES = 4 << 20
"""How far from its end the kubelet's log is searched for that; a peon's last second is a small part of it."""

FetchPodLog = Callable[[BinaryIO], Awaitable[bool]]
"""Writes what the kubelet has of the container's output; False where there is none."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

_threads = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="log")


async def make_safe(logs: TaskLogs, task_id: str, attempt: int, fetch_pod_log: FetchPodLog, why: str = "") -> bool:
    """
    Have an attempt's log stored whole, once its pod has ended; whether it is.

    False: it is just being stored by another; ask again. The log is what the keeper left in parts, or what the kubelet
    has, whichever is more, and with what the kubelet has beyond the parts; where there is neither, a line that says so,
    and `why` (a sentence). Calling twice is calling once. Raises StorageError where the storage is away, and what
    `fetch_pod_log` raises.
    """
    try:
        if await _in_thread(logs.has_log_of, task_id, attempt) or await _in_thread(logs.rejoin, task_id, attempt):
            return True
        parts = await _in_thread(logs.parts_log, task_id, attempt)
        # Not in threads: what is written by pieces goes to memory or to the page cache.
        with closing(SpooledTemporaryFile[bytes](max_size=_IN_MEMORY_BYTES)) as pod_log:
            has_pod_log = await fetch_pod_log(pod_log)  # pyright: ignore[reportArgumentType] - is one but by name
            await _in_thread(_finish, logs, task_id, attempt, parts, pod_log if has_pod_log else None, why)
    except NotFound:  # a keeper that is not dead yet stores its log just now, and tidies up
        return False
    return True


def _finish(
    logs: TaskLogs,
    task_id: str,
    attempt: int,
    parts: StoredLog,
    pod_log: "SpooledTemporaryFile[bytes] | None",
    why: str,
) -> None:
    # Looked for anew, after the parts: a keeper that was still alive stores the whole before it takes its parts away.
    if logs.has_log_of(task_id, attempt):
        return
    pod_log_bytes = pod_log.seek(0, 2) if pod_log is not None else 0
    if pod_log is not None and pod_log_bytes > parts.size:
        logs.finish_attempt(task_id, attempt, _chunks_of(pod_log, 0))
    elif parts.size:
        logs.finish_attempt(task_id, attempt, _continued(parts, pod_log, pod_log_bytes))
    else:
        text = f"Attempt {attempt} of task [{task_id}] left no log: its peon ended before it said anything"
        text += f". {why}\n" if why else ", or its node is gone with what it said.\n"
        logs.finish_attempt(task_id, attempt, text.encode())


def _continued(parts: StoredLog, pod_log: "SpooledTemporaryFile[bytes] | None", pod_log_bytes: int) -> Iterator[bytes]:
    """The parts, and what the kubelet, who keeps only the end of a long log, has beyond them."""
    yield from parts.chunks()
    if pod_log is None:
        return
    end_of_parts = parts.read(max(0, parts.size - _OVERLAP_BYTES))
    searched_from = max(0, pod_log_bytes - _SEARCHED_BYTES)
    pod_log.seek(searched_from)
    at = pod_log.read().rfind(end_of_parts)
    if at >= 0:
        yield from _chunks_of(pod_log, searched_from + at + len(end_of_parts))


def _chunks_of(file: "SpooledTemporaryFile[bytes]", start: int) -> Iterator[bytes]:
    file.seek(start)
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


async def _in_thread(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """A blocking call to the storage, in one of few threads."""
    return await asyncio.get_running_loop().run_in_executor(_threads, functools.partial(call, *args, **kwargs))
