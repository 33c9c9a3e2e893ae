"""
The worker API: for people and scripts that look after one machine. The Overlord never calls it.

It serves whoever shows the runners' secret, and this machine where that is trusted: peons are on it, and a task that
reads from an address here must not see the tasks of others. Druid: WorkerResource
"""

import hmac
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from middle_manager.runner import MiddleManager

_CHUNK_BYTES = 1 << 20
_BASE = "/druid/worker/v1"


Endpoint = Callable[[Request], Awaitable[Response]]


def worker_api(
    middle_manager: MiddleManager, host: str, runner_token: str | None, *, trusts_this_machine: bool
) -> Starlette:
    """The app; `host` is the `host:port` that answers name the worker by."""

    def guarded(endpoint: Endpoint) -> Endpoint:
        async def asked(request: Request) -> Response:
            if shows(request, runner_token) or (trusts_this_machine and is_local(request)):
                return await endpoint(request)
            words = "Callers show the runners' secret, NEMETON_RUNNER_TOKEN, as bearer token"
            return JSONResponse({"error": words}, 401, {"WWW-Authenticate": "Bearer"})

        return asked

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
            Route(f"{_BASE}/enable", guarded(enable), methods=["POST"]),
            Route(f"{_BASE}/disable", guarded(disable), methods=["POST"]),
            Route(f"{_BASE}/enabled", guarded(enabled)),
            Route(f"{_BASE}/tasks", guarded(tasks)),
            Route(f"{_BASE}/task/{{task_id}}/shutdown", guarded(shutdown), methods=["POST"]),
            Route(f"{_BASE}/task/{{task_id}}/log", guarded(log)),
            Route("/status/health", health),
        ]
    )


def is_local(request: Request) -> bool:
    """Whether the caller is on this machine, by the address that it called from."""
    if request.client is None:
        return False
    address = ip_address(request.client.host.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def shows(request: Request, runner_token: str | None) -> bool:
    shown = request.headers.get("authorization", "")
    return runner_token is not None and hmac.compare_digest(shown.encode(), f"Bearer {runner_token}".encode())


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
