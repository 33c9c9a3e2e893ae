"""
What the queue is told, over HTTP: limits of slots, and datasources that are paused, delayed or throttled. Not Druid's.
"""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from overlord import configuration
from overlord.audit import author_of
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.replica import replica_of
from overlord.task.queue_config import (
    CONFIG_KEY,
    DataSourceConfig,
    QueueConfig,
    parse_config,
    parse_data_source,
    read_config,
)
from overlord.web import empty_answer, is_json, json_answer, json_body

router = APIRouter(prefix="/nemeton/v1/queue/config", tags=["Queue"])


@router.get("", summary="Limits and holds of the queue", response_model=QueueConfig)
async def get_config(request: Request) -> Response:
    """As they are in force; defaults where nothing was set."""
    async with connection(replica_of(request).pool) as tx:
        return json_answer((await read_config(tx)).to_wire())


@router.post("", summary="Set limits and holds of the queue")
async def set_config(request: Request) -> Response:
    """All of them: what is absent is as if it had never been set. Tasks that run are left alone."""
    if not is_json(request):
        return empty_answer(415)
    wanted = parse_config(await json_body(request))
    async with transaction(replica_of(request).pool) as tx:
        await configuration.lock(tx, CONFIG_KEY)
        await _write(tx, request, wanted)
    return empty_answer(200)


@router.post("/datasources/{data_source}", summary="Limit, pause, delay or throttle a datasource")
async def set_data_source(request: Request, data_source: str) -> Response:
    """All that is said of it: what is absent is as if it had never been set. Others stay as they are."""
    if not is_json(request):
        return empty_answer(415)
    return await _change(request, data_source, parse_data_source(await json_body(request)))


@router.delete("/datasources/{data_source}", summary="Say nothing of a datasource any more")
async def unset_data_source(request: Request, data_source: str) -> Response:
    return await _change(request, data_source, None)


@router.get("/history", summary="Changes of limits and holds, by time or by count")
async def config_history(request: Request) -> Response:
    """The newest `count`, newest first; or those of `interval`, by default the last week's, oldest first."""
    return await configuration.history_answer(request, CONFIG_KEY)


async def _change(request: Request, data_source: str, told: DataSourceConfig | None) -> Response:
    async with transaction(replica_of(request).pool) as tx:
        await configuration.lock(tx, CONFIG_KEY)
        before = await read_config(tx)
        sources: dict[str, Any] = {name: each for name, each in before.data_sources.items() if name != data_source}
        if told is not None:
            sources[data_source] = told
        await _write(tx, request, before.model_copy(update={"data_sources": sources}))
    return empty_answer(200)


async def _write(tx: Connection, request: Request, config: QueueConfig) -> None:
    payload = orjson.dumps(config.to_wire())
    await configuration.write(tx, CONFIG_KEY, payload, author_of(request), replica_of(request).clock_ms())
    await hints.send(tx, hints.QUEUE)
