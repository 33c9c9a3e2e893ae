"""The application: routes of all floors, what they share, and how it starts and stops."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

import asyncpg
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput, NemetonError, Unavailable
from druid_core.storage.task_logs import TaskLogs
from overlord import events, node, refused
from overlord.action import routes as action_routes
from overlord.action.allocation import Allocations
from overlord.auth import authentication, authorization
from overlord.auth import payload as own_payload
from overlord.auth.directory import Directory
from overlord.auth.opening import ensure_administrator, gate_of
from overlord.compaction import routes as compaction_routes
from overlord.db.away import DATABASE_AWAY, in_words
from overlord.db.hints import Hints
from overlord.db.opening import open_database
from overlord.description.document import DescribedApp, operation_id
from overlord.edge import Edge
from overlord.log import routes as log_routes
from overlord.log.peon import PeonClient
from overlord.log.retention import Retention
from overlord.metrics import meters
from overlord.metrics import routes as metrics_routes
from overlord.metrics.rows import RowGauges
from overlord.replica import Replica, wall_clock_ms
from overlord.runner import execution, queueing, workers
from overlord.runner import routes as runner_routes
from overlord.segment import routes as segment_routes
from overlord.settings import DRUID_VERSION, OverlordSettings
from overlord.supervisor import routes as supervisor_routes
from overlord.task import routes as task_routes
from overlord.task.intake import Intake
from overlord.task.queue import TaskQueue
from overlord.task.token import load_secret
from overlord.web import PlainResponse, empty_answer, error_answer

_DESCRIPTION = """
The Overlord of Nemeton: tasks over the same REST API as Apache Druid's. Submit one with
`POST /druid/indexer/v1/task`, watch it with `GET /druid/indexer/v1/task/{id}/status`.
"""


def create_app(settings: OverlordSettings, clock_ms: Callable[[], int] = wall_clock_ms) -> FastAPI:
    """One replica. It connects, migrates and starts its loops when the server starts it, and stops them at its end."""

    directory = Directory(time.monotonic)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            pool = await open_database(
                settings.database_url,
                settings.database_pool_size,
                settings.database_wait_seconds,
                settings.database_statement_seconds,
            )
            stack.callback(pool.terminate)
            if "basic" in settings.authenticators:
                await ensure_administrator(pool, settings.initial_admin_password)
            hints = Hints(settings.database_url)
            replica = Replica(settings, pool, hints, await load_secret(pool), clock_ms)
            queue = TaskQueue(replica)
            app.state.replica = replica
            app.state.pool = pool
            app.state.directory = directory
            app.state.queue = queue
            app.state.row_gauges = RowGauges(replica)
            app.state.intake = Intake(replica)
            app.state.allocations = Allocations(replica)
            app.state.peons = PeonClient(settings.peon_timeout_ms)
            app.state.task_logs = TaskLogs.from_url(settings.task_logs) if settings.task_logs else None
            app.state.stopping = asyncio.Event()
            stack.callback(app.state.peons.close)
            await hints.start()
            stack.push_async_callback(hints.stop)
            await queue.start()
            stack.push_async_callback(queue.stop)
            retention = Retention(replica, app.state.task_logs)
            await retention.start()
            stack.push_async_callback(retention.stop)
            yield

    meters.DATA_SOURCES.limit = settings.metrics_data_sources
    app = DescribedApp(
        title="Nemeton Overlord",
        version=DRUID_VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
    )
    app.asks = settings.authenticators != ("none",)
    for router in (
        task_routes.router,
        log_routes.router,
        segment_routes.router,
        supervisor_routes.router,
        compaction_routes.router,
        action_routes.router,
        workers.router,
        execution.router,
        queueing.router,
        runner_routes.router,
        own_payload.router,
        authentication.router,
        authorization.router,
        node.router,
        refused.router,
        metrics_routes.router,
    ):
        app.include_router(router)
    app.add_api_route("/docs", _docs, include_in_schema=False)
    doors = {("POST", "/druid/indexer/v1/task"): task_routes.submit_task}
    app.add_middleware(
        Edge,
        admit=gate_of(settings, directory).admit,
        max_body_bytes=settings.max_body_bytes,
        body_patience_seconds=settings.body_patience_seconds,
        doors=doors,
    )
    app.add_exception_handler(NemetonError, _problem)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(asyncpg.PostgresError, _database_refused)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _docs() -> Response:
    """The API page, whole in one file: a laptop without a network shows it too."""
    page = resources.files("overlord").joinpath("docs.html").read_bytes()
    return PlainResponse(page, 200, "text/html; charset=utf-8")


async def _problem(request: Request, error: Exception) -> Response:
    return error_answer(error, request)


async def _no_such_route(request: Request, error: Exception) -> Response:
    """404 and 405 have no body in Druid."""
    assert isinstance(error, HTTPException)
    answer = empty_answer(error.status_code)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _database_refused(request: Request, error: Exception) -> Response:
    """A value that no text of Postgres can hold is the caller's; the rest is ours."""
    if isinstance(error, DATABASE_AWAY):
        return error_answer(Unavailable(f"The metadata database does not answer: {in_words(error)}"), request)
    if isinstance(error, asyncpg.DataError):
        return error_answer(InvalidInput(f"A value of the request cannot be stored or looked up: {error}"), request)
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    events.error("a call failed", error, method=request.method, path=request.url.path)
    return error_answer(NemetonError(f"{type(error).__name__}: {error}"), request)
