"""Task logs and reports. Druid: OverlordResource, SwitchingTaskLogStreamer"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from druid_core.chat_key import chat_key
from druid_core.errors import NotFound, StorageAway, StorageError, Unavailable
from druid_core.storage.stored_log import StoredLog
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord import events
from overlord.db.pool import connection
from overlord.log.peon import PeonClient, TaskEnds, whereabouts
from overlord.replica import Replica, replica_of
from overlord.task import documentation as shown
from overlord.task.routes import unknown_task
from overlord.task.token import mint
from overlord.web import TEXT, PlainResponse, empty_answer, error_answer, query, raw_json_answer, text_answer

router = APIRouter(prefix="/druid/indexer/v1", tags=["Logs and reports"])

NO_LOG = (
    "No log was found for this task. No logs found for this task. "
    "Ensure that the task is running and logging is configured correctly."
)
NO_REPORT = "No task reports were found for this task. The task may not exist, or it may not have completed yet."

CHUNK_BYTES = 1 << 20
"""A log is read from storage and sent in pieces of this size."""

LOOK_SECONDS = 0.1
"""How often storage is looked at while what a peon left behind is on its way there."""

READS = 4
"""How often bytes of a log that is being written are asked for before storage is said to refuse."""

_LONG_LIMIT = 1 << 63


@router.get(
    "/task/{task_id}/log",
    summary="The log of a task",
    responses={200: {"content": {"text/plain": {}}}, **shown.NOT_FOUND, **shown.STORAGE_AWAY},
    openapi_extra={
        "parameters": [
            shown.parameter("offset", "Bytes to skip; negative: only so many bytes at the end.", "integer", -4096)
        ]
    },
)
async def get_log(request: Request, task_id: str) -> Response:
    """From the peon while it runs, from storage after that."""
    try:
        offset = _offset(query(request, "offset"))
    except ValueError:
        return empty_answer(404)
    replica = replica_of(request)
    ends = await _ends(replica, task_id)
    if ends is None:
        return unknown_task(task_id)

    async def look(now: TaskEnds) -> Response | None:
        return await _live_log(request, now, task_id, offset) or await _stored_log(request, task_id, offset)

    return await _found_in_time(replica, task_id, ends, look) or text_answer(NO_LOG, 404)


@router.get(
    "/task/{task_id}/reports",
    summary="The reports of a task",
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **shown.NOT_FOUND,
        **shown.STORAGE_AWAY,
    },
)
async def get_reports(request: Request, task_id: str) -> Response:
    """Live from the peon while it runs, the completion report after that. A noop has none."""
    replica = replica_of(request)
    ends = await _ends(replica, task_id)
    if ends is None:
        return unknown_task(task_id)

    async def look(now: TaskEnds) -> Response | None:
        return await _live_reports(request, now, task_id) or await _stored_report(request, task_id)

    found = await _found_in_time(replica, task_id, ends, look)
    # plain text that Druid calls JSON
    return found or raw_json_answer(NO_REPORT.encode(), 404)


async def _ends(replica: Replica, task_id: str) -> TaskEnds | None:
    async with connection(replica.pool) as tx:
        return await whereabouts(tx, task_id)


async def _found_in_time(
    replica: Replica, task_id: str, ends: TaskEnds, look: Callable[[TaskEnds], Awaitable[Response | None]]
) -> Response | None:
    """
    What `look` finds. Between the peon's last word and the arrival of its log in storage there is a moment in which
    neither has it: a reader of a finished task whose runner is not done yet waits for a little while.
    """
    deadline = asyncio.get_running_loop().time() + replica.settings.log_wait_ms / 1000
    while True:
        found = await look(ends)
        if found is not None or ends.active or not ends.attempt_open:
            return found
        if asyncio.get_running_loop().time() >= deadline:
            return None
        await asyncio.sleep(LOOK_SECONDS)
        ends = await _ends(replica, task_id) or ends


async def _live_log(request: Request, ends: TaskEnds, task_id: str, offset: int) -> Response | None:
    """
    What the peon has, behind what storage has of the attempts before it.

    The earlier logs do not change any more, so an offset means the same byte in every answer.
    """
    if ends.chat_url is None:
        return None
    peons: PeonClient = request.app.state.peons
    logs: TaskLogs | None = request.app.state.task_logs
    earlier = None
    if ends.attempt > 1 and logs is not None:
        try:
            earlier = await asyncio.to_thread(logs.log_before, task_id, ends.attempt)
        except StorageError as error:
            return _unreadable("the log", task_id, error)
    size = 0 if earlier is None else earlier.size
    beyond = max(0, offset - size) if offset > 0 else offset
    answer = await peons.get(f"{ends.chat_url}/log?offset={beyond}", task_id, _key(request, ends, task_id))
    if answer is None or answer.status != 200:
        return None
    # its length was fixed when the peon answered, so the answer to a tail has exactly its bytes
    if earlier is None:
        return PlainResponse(answer.body, 200, TEXT)
    start = offset if offset >= 0 else max(0, size - (-offset - len(answer.body)))
    try:
        content = await asyncio.to_thread(earlier.read, start) if start < size else b""
    except NotFound:
        # just then it was put together with another: look again
        return None
    except StorageError as error:
        return _unreadable("the log", task_id, error)
    return PlainResponse(content + answer.body, 200, TEXT)


async def _stored_log(request: Request, task_id: str, offset: int) -> Response | None:
    logs: TaskLogs | None = request.app.state.task_logs
    if logs is None:
        return None
    try:
        log = await asyncio.to_thread(logs.best_log, task_id)
        if log is None:
            return None
        size = log.size
        start = min(offset, size) if offset >= 0 else max(0, size + offset)
        if size - start <= CHUNK_BYTES:
            return PlainResponse(await read_log(logs, task_id, log, start, size), 200, TEXT)
    except NotFound:
        return None
    except StorageError as error:
        return _unreadable("the log", task_id, error)
    answer = StreamingResponse(_pieces(logs, task_id, log, start, size))
    answer.raw_headers = [(b"content-type", TEXT.encode()), (b"content-length", str(size - start).encode())]
    return answer


async def _pieces(logs: TaskLogs, task_id: str, log: StoredLog, start: int, end: int) -> AsyncIterator[bytes]:
    for piece in range(start, end, CHUNK_BYTES):
        yield await read_log(logs, task_id, log, piece, min(piece + CHUNK_BYTES, end))


async def read_log(logs: TaskLogs, task_id: str, log: StoredLog, start: int, end: int) -> bytes:
    """
    Bytes of a log, from wherever they lie by now: parts grow, and become a whole, while somebody reads them.

    A part that is replaced at this very moment is read anew, for S3 servers refuse it then in ways of their own. Raises
    NotFound when the bytes are nowhere, StorageError when the storage keeps refusing.
    """
    for _ in range(READS - 1):
        try:
            return await asyncio.to_thread(log.read, start, end)
        except (NotFound, StorageError):
            await asyncio.sleep(LOOK_SECONDS)
            moved = await asyncio.to_thread(logs.best_log, task_id)
            if moved is None:
                raise
            log = moved
    return await asyncio.to_thread(log.read, start, end)


def _unreadable(what: str, task_id: str, error: StorageError) -> Response:
    """Druid answers 500 and no body, which tells nobody whether the log is lost. Here it says so, and when to ask."""
    events.error(f"{what} cannot be read", task_id=task_id, reason=str(error))
    if isinstance(error, StorageAway):
        words = "does not answer: it is not lost, ask again"
        return error_answer(Unavailable(f"{what.capitalize()} of task [{task_id}] is in log storage, which {words}"))
    return error_answer(
        StorageError(f"{what.capitalize()} of task [{task_id}] cannot be read from log storage: see the Overlord's log")
    )


async def _live_reports(request: Request, ends: TaskEnds, task_id: str) -> Response | None:
    if ends.chat_url is None or not ends.active:
        return None
    peons: PeonClient = request.app.state.peons
    answer = await peons.get(f"{ends.chat_url}/liveReports", task_id, _key(request, ends, task_id))
    # 503 is the peon's own word that it has no reports to give; Druid passes it on with 200
    return raw_json_answer(answer.body) if answer is not None and answer.status in (200, 503) else None


def _key(request: Request, ends: TaskEnds, task_id: str) -> str:
    return chat_key(mint(replica_of(request).secret, task_id, ends.attempt))


async def _stored_report(request: Request, task_id: str) -> Response | None:
    logs: TaskLogs | None = request.app.state.task_logs
    if logs is None:
        return None
    try:
        return raw_json_answer(await asyncio.to_thread(logs.read, task_id, TaskLogName.REPORT))
    except NotFound:
        return None
    except StorageError as error:
        return _unreadable("the report", task_id, error)


def _offset(text: str | None) -> int:
    """Raises ValueError for what is no Java long."""
    offset = int(text) if text else 0
    if not -_LONG_LIMIT <= offset < _LONG_LIMIT:
        raise ValueError(text)
    return offset
