"""Task logs and reports. Druid: OverlordResource, SwitchingTaskLogStreamer"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from druid_core.errors import NotFound, StorageError
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord import events
from overlord.db.pool import connection
from overlord.log.peon import PeonClient, TaskEnds, whereabouts
from overlord.replica import Replica, replica_of
from overlord.task import documentation as shown
from overlord.task.routes import unknown_task
from overlord.web import TEXT, PlainResponse, empty_answer, query, raw_json_answer, text_answer

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

_LONG_LIMIT = 1 << 63


@router.get(
    "/task/{task_id}/log",
    summary="The log of a task",
    responses={200: {"content": {"text/plain": {}}}, **shown.NOT_FOUND},
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
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}, **shown.NOT_FOUND},
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
    if ends.chat_url is None:
        return None
    peons: PeonClient = request.app.state.peons
    answer = await peons.get(f"{ends.chat_url}/log?offset={offset}", task_id)
    # its length was fixed when the peon answered, so the answer to a tail has exactly its bytes
    return PlainResponse(answer.body, 200, TEXT) if answer is not None and answer.status == 200 else None


async def _stored_log(request: Request, task_id: str, offset: int) -> Response | None:
    logs: TaskLogs | None = request.app.state.task_logs
    if logs is None:
        return None
    try:
        size = await asyncio.to_thread(logs.size, task_id, TaskLogName.LOG)
    except NotFound:
        return None
    except StorageError as error:
        events.error("a log cannot be read", task_id=task_id, reason=str(error))
        return empty_answer(500)
    start = min(offset, size) if offset >= 0 else max(0, size + offset)
    if size - start <= CHUNK_BYTES:
        content = b"" if start >= size else await asyncio.to_thread(logs.read, task_id, TaskLogName.LOG, start, size)
        return PlainResponse(content, 200, TEXT)
    answer = StreamingResponse(_pieces(logs, task_id, start, size))
    answer.raw_headers = [(b"content-type", TEXT.encode()), (b"content-length", str(size - start).encode())]
    return answer


async def _pieces(logs: TaskLogs, task_id: str, start: int, end: int) -> AsyncIterator[bytes]:
    for piece in range(start, end, CHUNK_BYTES):
        yield await asyncio.to_thread(logs.read, task_id, TaskLogName.LOG, piece, min(piece + CHUNK_BYTES, end))


async def _live_reports(request: Request, ends: TaskEnds, task_id: str) -> Response | None:
    if ends.chat_url is None or not ends.active:
        return None
    peons: PeonClient = request.app.state.peons
    answer = await peons.get(f"{ends.chat_url}/liveReports", task_id)
    # 503 is the peon's own word that it has no reports to give; Druid passes it on with 200
    return raw_json_answer(answer.body) if answer is not None and answer.status in (200, 503) else None


async def _stored_report(request: Request, task_id: str) -> Response | None:
    logs: TaskLogs | None = request.app.state.task_logs
    if logs is None:
        return None
    try:
        return raw_json_answer(await asyncio.to_thread(logs.read, task_id, TaskLogName.REPORT))
    except NotFound:
        return None
    except StorageError as error:
        events.error("a report cannot be read", task_id=task_id, reason=str(error))
        return empty_answer(500)


def _offset(text: str | None) -> int:
    """Raises ValueError for what is no Java long."""
    offset = int(text) if text else 0
    if not -_LONG_LIMIT <= offset < _LONG_LIMIT:
        raise ValueError(text)
    return offset
