"""`/druid/indexer/v1/compaction`. Druid: OverlordCompactionResource"""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from druid_core.compaction import parse_cluster_config, parse_datasource_config, snapshot
from druid_core.errors import InvalidInput, NotFound
from druid_core.redaction import without_secrets
from overlord import audit
from overlord.access import caller_of, visible_data_sources
from overlord.compaction import config
from overlord.compaction.history import history_of
from overlord.db.pool import connection
from overlord.problems import Unreadable
from overlord.replica import replica_of
from overlord.web import empty_answer, is_json, json_answer, json_body, query, raw_json_answer

router = APIRouter(prefix="/druid/indexer/v1/compaction", tags=["Compaction"])

_DONE = {"success": True}


@router.get("/isSupervisorEnabled", summary="Whether this Overlord schedules compaction: it does not")
async def is_supervisor_enabled() -> Response:
    """A Coordinator asks, and schedules it itself when the answer is no."""
    return raw_json_answer(b"false")


@router.get("/config/cluster", summary="How much of the cluster compaction may use")
async def get_cluster_config(request: Request) -> Response:
    async with connection(replica_of(request).pool) as tx:
        return json_answer((await config.read(tx)).cluster.to_wire())


@router.post("/config/cluster", summary="Set how much of the cluster compaction may use")
async def set_cluster_config(request: Request) -> Response:
    """What is left out gets its default, as in Druid."""
    if not is_json(request):
        return empty_answer(415)
    raw = await json_body(request)
    if raw is None:
        raise Unreadable("The request body holds no cluster compaction config")
    cluster = parse_cluster_config(raw)
    await config.change(request, lambda before: before.with_cluster(cluster))
    return json_answer(_DONE)


@router.get("/config/datasources", summary="How each datasource is to be compacted")
async def list_configs(request: Request) -> Response:
    configs = await _visible(request)
    return json_answer({"compactionConfigs": list(configs.values())})


@router.get("/config/datasources/{data_source}", summary="How a datasource is to be compacted")
async def get_config(request: Request, data_source: str) -> Response:
    async with connection(replica_of(request).pool) as tx:
        return json_answer(without_secrets((await config.read(tx)).data_source(data_source)))


@router.post("/config/datasources/{data_source}", summary="Set how a datasource is to be compacted")
async def set_config(request: Request, data_source: str) -> Response:
    """The whole configuration; what is left out gets its default."""
    if not is_json(request):
        return empty_answer(415)
    raw = await json_body(request)
    if raw is None:
        raise Unreadable("The request body holds no compaction config")
    wanted = parse_datasource_config(raw)
    if wanted.data_source != data_source:
        raise InvalidInput(f"DataSource in spec[{wanted.data_source}] does not match DataSource in path[{data_source}]")
    await config.change(request, lambda before: before.with_data_source(wanted))
    return json_answer(_DONE)


@router.delete("/config/datasources/{data_source}", summary="Let a datasource be")
async def delete_config(request: Request, data_source: str) -> Response:
    await config.change(request, lambda before: before.without_data_source(data_source))
    return json_answer(_DONE)


@router.get("/config/datasources/{data_source}/history", summary="How a datasource was to be compacted")
async def get_config_history(request: Request, data_source: str) -> Response:
    """
    The changes of `interval`, by default of the last week, oldest first; or those among the newest `count` of all
    datasources, newest first.
    """
    replica = replica_of(request)
    try:
        window = audit.Window.parse(query(request, "interval"), query(request, "count"), replica.clock_ms())
    except Unreadable as error:
        raise InvalidInput(str(error)) from error
    except ValueError:
        return empty_answer(404)
    async with connection(replica.pool) as tx:
        found = await audit.entries(tx, config.CONFIG_KEY, config.CONFIG_KEY, window)
    if window.count is None:
        return json_answer({"entries": history_of(data_source, found)})
    return json_answer({"entries": history_of(data_source, found[::-1])[::-1]})


@router.get("/status/datasources", summary="How far each datasource's compaction is")
async def list_statuses(request: Request) -> Response:
    """Of those that have a configuration. Its scheduling is the Coordinator's, which alone knows how far it is."""
    return json_answer({"latestStatus": [snapshot(data_source) for data_source in await _visible(request)]})


@router.get("/status/datasources/{data_source}", summary="How far a datasource's compaction is")
async def get_status(request: Request, data_source: str) -> Response:
    async with connection(replica_of(request).pool) as tx:
        if data_source not in (await config.read(tx)).data_sources:
            raise NotFound("Unknown DataSource")
    return json_answer(snapshot(data_source))


@router.post("/simulate", summary="What compaction would do: nothing, since it is not scheduled here")
async def simulate(request: Request) -> Response:
    """As Druid's answer while its Coordinator schedules compaction."""
    if not is_json(request):
        return empty_answer(415)
    if await json_body(request) is None:
        raise Unreadable("The request body holds no cluster compaction config")
    return json_answer({"compactionStates": {}})


async def _visible(request: Request) -> dict[str, dict[str, Any]]:
    """The configurations of the datasources that the caller may see, secrets covered."""
    async with connection(replica_of(request).pool) as tx:
        configs = (await config.read(tx)).data_sources
    may_see = visible_data_sources(caller_of(request))
    return {name: without_secrets(each) for name, each in configs.items() if may_see is None or may_see(name)}
