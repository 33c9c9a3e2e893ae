"""Who this node is, and whether it serves. Druid: StatusResource, SelfDiscoveryResource, the leader endpoints"""

import os
import resource
from importlib.metadata import version

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from overlord import readiness
from overlord.replica import replica_of
from overlord.settings import DRUID_VERSION
from overlord.web import PlainResponse, json_answer, raw_json_answer

router = APIRouter()

_DOORS = {"documentation": "/docs", "status": "/status", "tasks": "/druid/indexer/v1/tasks"}
"""Where somebody who knows only the address can go on."""


@router.get("/", include_in_schema=False)
async def entrance(request: Request) -> Response:
    """Where to go from here: a page for a browser, else JSON. Druid redirects to its console, which is not here."""
    if "text/html" not in request.headers.get("accept", ""):
        return json_answer({"name": "Nemeton Overlord", "druidVersion": DRUID_VERSION, **_DOORS})
    links = "".join(f'<li><a href="{path.lstrip("/")}">{path}</a> {name}</li>' for name, path in _DOORS.items())
    page = f"<!doctype html><title>Nemeton Overlord</title><h1>Nemeton Overlord</h1><ul>{links}</ul>"
    return PlainResponse(page.encode(), 200, "text/html; charset=utf-8")


@router.get("/druid/indexer/v1/leader", tags=["Leadership"], summary="The address of the Overlord")
async def leader(request: Request) -> Response:
    """The one address of all replicas. A bare URL under the content type of JSON, as in Druid."""
    return raw_json_answer(replica_of(request).url.encode())


@router.get("/druid/indexer/v1/isLeader", tags=["Leadership"], summary="Whether this replica leads: always")
async def is_leader() -> Response:
    """Every replica serves every call, so none answers 404 here and none redirects."""
    return raw_json_answer(b'{"leader":true}')


@router.get("/status", tags=["Node"], summary="Version and memory")
async def status() -> Response:
    """The version is that of the Druid whose API this is."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = {
        "maxMemory": total,
        "totalMemory": total,
        "freeMemory": max(0, total - used),
        "usedMemory": used,
        "directMemory": 0,
    }
    modules = [{"name": "nemeton.overlord", "artifact": "nemeton", "version": version("nemeton")}]
    return json_answer({"version": DRUID_VERSION, "modules": modules, "memory": memory})


@router.get("/status/health", tags=["Node"], summary="Whether the process serves")
async def health() -> Response:
    return raw_json_answer(b"true")


@router.get(
    "/status/ready",
    tags=["Node"],
    summary="Whether this replica can do its work",
    responses={
        503: {"content": {"application/json": {"example": {"ready": False, "missing": ["the database: it is away"]}}}}
    },
)
async def ready(request: Request) -> Response:
    """
    `true`; else 503, and what is missing: the database, its migrations, the queue loop, or it is about to stop.

    Druid answers `false` then, and its clients look at the status alone; whoever is called at night wants to know.
    """
    missing = await readiness.missing(request.app.state)
    if missing:
        return json_answer({"ready": False, "missing": missing}, 503)
    return raw_json_answer(b"true")


@router.get("/status/properties", tags=["Node"], summary="The settings, without secrets")
async def properties(request: Request) -> Response:
    return json_answer(replica_of(request).settings.as_properties())


@router.get("/status/selfDiscovered", tags=["Node"], summary="200 when this node is found by others")
async def self_discovered() -> Response:
    return raw_json_answer(b"")


@router.get("/status/selfDiscovered/status", tags=["Node"], summary="The same, as JSON")
async def self_discovered_status() -> Response:
    return raw_json_answer(b'{"selfDiscovered":true}')
