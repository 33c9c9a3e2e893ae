"""
The worker API: for people and scripts that look after one machine. The Overlord never calls it.

Druid: WorkerResource
"""

from collections.abc import Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from middle_manager.runner import MiddleManager

_CHUNK_BYTES = 1 << 20
_BASE = "/druid/worker/v1"


def worker_api(middle_manager: MiddleManager, host: str) -> Starlette:
    """The app; `host` is the `host:port` that answers name the worker by."""

    async def enable(_: Request) -> Response:
        middle_manager.enable(True)
        return JSONResponse({host: "enabled"})

    async def disable(_: Request) -> Response:
        middle_manager.enable(False)
        return JSONResponse({host: "disabled"})

    async def enabled(_: Request) -> Response:
        return JSONResponse({host: middle_manager.is_enabled})

    async def tasks(_: Request) -> Response:
        return JSONResponse(middle_manager.running_task_ids)

    async def shutdown(request: Request) -> Response:
        task_id = request.path_params["task_id"]
        if not middle_manager.shut_down(task_id):
            return JSONResponse({"error": f"No running task with id [{task_id}]"}, 404)
        return JSONResponse({"task": task_id})

    async def log(request: Request) -> Response:
        return _log_from(middle_manager, request.path_params["task_id"], request.query_params.get("offset", ""))

    async def health(_: Request) -> Response:
        return JSONResponse(True)

    return Starlette(
        routes=[
            Route(f"{_BASE}/enable", enable, methods=["GET", "POST"]),
            Route(f"{_BASE}/disable", disable, methods=["GET", "POST"]),
            Route(f"{_BASE}/enabled", enabled),
            Route(f"{_BASE}/tasks", tasks),
            Route(f"{_BASE}/task/{{task_id}}/shutdown", shutdown, methods=["POST"]),
            Route(f"{_BASE}/task/{{task_id}}/log", log),
            Route("/status/health", health),
        ]
    )


def _log_from(middle_manager: MiddleManager, task_id: str, raw_offset: str) -> Response:
    """From a byte on (positive), the last bytes (negative), or whole; exactly as much as there is now."""
    file = middle_manager.log_file(task_id)
    try:
        offset = int(raw_offset or 0)
    except ValueError:
        return Response(status_code=404)
    if file is None:
        return Response(status_code=404)
    size = file.stat().st_size
    start = min(offset, size) if offset >= 0 else max(0, size + offset)
    headers = {"Content-Length": str(size - start)}
    return StreamingResponse(_bytes_of(file, start, size), headers=headers, media_type="text/plain")


def _bytes_of(file: Path, start: int, end: int) -> Iterator[bytes]:
    with file.open("rb") as log:
        log.seek(start)
        while start < end and (chunk := log.read(min(end - start, _CHUNK_BYTES))):
            yield chunk
            start += len(chunk)
