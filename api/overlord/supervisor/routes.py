"""`/druid/indexer/v1/supervisor`. Druid: SupervisorResource"""

from collections.abc import Sequence
from typing import Any, cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from druid_core.redaction import without_secrets
from druid_core.supervisor import SupervisorSpec, data_sources_of, parse_supervisor
from druid_core.supervisor_type import SUPERVISOR_PATH
from overlord import audit
from overlord.access import Action, caller_of, data_source
from overlord.db.pool import Connection, connection, transaction
from overlord.problems import AccessDenied, Unreadable, Unsupported
from overlord.replica import replica_of
from overlord.supervisor import status, store
from overlord.web import PlainResponse, empty_answer, is_json, json_answer, json_body, query

router = APIRouter(prefix=SUPERVISOR_PATH, tags=["Supervisors"])

AUDIT_TYPE = "supervisor"

_SUSPEND = {True: "Suspend", False: "Resume"}


@router.post("", summary="Create a supervisor, or replace it")
async def submit(request: Request) -> Response:
    """
    The spec is stored when it differs from what there is. Streams are refused with a sentence. Whoever replaces one
    needs the right to what it was for as well.
    """
    if not is_json(request):
        return empty_answer(415)
    raw = await json_body(request)
    if raw is None:
        raise Unreadable("The request body holds no supervisor spec")
    spec = parse_supervisor(raw)
    for name in spec.data_sources:
        caller_of(request).require(Action.WRITE, data_source(name))
    async with transaction(replica_of(request).pool) as tx:
        await store.lock(tx, spec.id)
        before = await store.get(tx, spec.id)
        if before is not None and not _may(request, Action.WRITE, before.data_sources):
            # Druid looks at the new spec alone: so anybody could take over, and end, a supervisor whose id he knows
            raise AccessDenied(f"{caller_of(request).name} has no WRITE on all datasources of supervisor [{spec.id}]")
        if before is None or before.wire != spec.wire:
            await _store(tx, request, spec)
    return json_answer({"id": spec.id})


@router.get("", summary="The supervisors: ids, or with full, state or system what they are")
async def list_supervisors(request: Request) -> Response:
    """`?full` adds the spec, `?system` the spec as a text, type and source."""
    async with connection(replica_of(request).pool) as tx:
        specs = [spec for spec in await store.current(tx) if _may(request, Action.WRITE, spec.data_sources)]
    full, system = query(request, "full") is not None, query(request, "system") is not None
    if not (full or system or (query(request, "state") or "").lower() == "true"):
        return json_answer([spec.id for spec in specs])
    return json_answer([status.listed(spec, full=full, system=system) for spec in specs])


@router.get("/history", summary="All that all specs ever were, newest first")
async def history_of_all(request: Request) -> Response:
    """A map from id to versions; terminated supervisors are in it."""
    async with connection(replica_of(request).pool) as tx:
        versions = await store.history(tx)
    found: dict[str, list[dict[str, Any]]] = {}
    for version in versions:
        if _may(request, Action.READ, data_sources_of(version.wire)):
            found.setdefault(version.spec_id, []).append(_version(version))
    return json_answer(found)


@router.post("/suspendAll", summary="Suspend every supervisor")
async def suspend_all(request: Request) -> Response:
    return await _change_all(request, suspended=True)


@router.post("/resumeAll", summary="Resume every supervisor")
async def resume_all(request: Request) -> Response:
    return await _change_all(request, suspended=False)


@router.post("/terminateAll", summary="Terminate every supervisor")
async def terminate_all(request: Request) -> Response:
    return await _change_all(request, suspended=None)


@router.get("/{spec_id}", summary="The spec of a supervisor")
async def get_spec(request: Request, spec_id: str) -> Response:
    """As it is stored, passwords hidden."""
    spec = await _found(request, spec_id)
    return unknown_supervisor(spec_id) if spec is None else json_answer(status.shown(spec))


@router.get("/{spec_id}/status", summary="What a supervisor has to say of itself")
async def get_status(request: Request, spec_id: str) -> Response:
    spec = await _found(request, spec_id)
    if spec is None:
        return unknown_supervisor(spec_id)
    said = status.report(spec, replica_of(request).clock_ms())
    return json_answer({"error": f"[{spec_id}] does not exist"}, 404) if said is None else json_answer(said)


@router.get("/{spec_id}/health", summary="Whether a supervisor does what its spec says: 200, or 503")
async def get_health(request: Request, spec_id: str) -> Response:
    spec = await _found(request, spec_id)
    if spec is None:
        return unknown_supervisor(spec_id)
    if spec.is_supported:
        # neither of the types that are here has a health of its own
        return json_answer({"error": f"[{spec_id}] does not exist or health check not implemented"}, 404)
    healthy = status.is_healthy(spec)
    return json_answer({"healthy": healthy}, 200 if healthy else 503)


@router.get("/{spec_id}/stats", summary="Row counts of a supervisor's tasks: it has none")
async def get_stats(request: Request, spec_id: str) -> Response:
    return unknown_supervisor(spec_id) if await _found(request, spec_id) is None else json_answer({})


@router.get("/{spec_id}/parseErrors", summary="Unparseable rows of a supervisor's tasks: it has none")
async def get_parse_errors(request: Request, spec_id: str) -> Response:
    return unknown_supervisor(spec_id) if await _found(request, spec_id) is None else json_answer([])


@router.get("/{spec_id}/history", summary="All that a spec ever was, newest first")
async def get_history(request: Request, spec_id: str) -> Response:
    """Terminated supervisors have theirs too. `count` of them at most."""
    try:
        count = _count(query(request, "count"))
    except ValueError:
        return empty_answer(404)
    if count is not None and count < 1:
        return json_answer({"error": f"Count must be greater than zero if set (count was {count})"}, 400)
    async with connection(replica_of(request).pool) as tx:
        every = await store.history(tx, spec_id, count)
    versions = [version for version in every if _may(request, Action.READ, data_sources_of(version.wire))]
    if not versions:
        return json_answer({"error": f"No history for [{spec_id}]."}, 404)
    return json_answer([_version(version) for version in versions])


@router.post("/{spec_id}/suspend", summary="Suspend a supervisor")
async def suspend(request: Request, spec_id: str) -> Response:
    return await _suspend(request, spec_id, suspended=True)


@router.post("/{spec_id}/resume", summary="Resume a supervisor")
async def resume(request: Request, spec_id: str) -> Response:
    return await _suspend(request, spec_id, suspended=False)


@router.post("/{spec_id}/terminate", summary="Terminate a supervisor")
async def terminate(request: Request, spec_id: str) -> Response:
    """Its history stays."""
    async with transaction(replica_of(request).pool) as tx:
        await store.lock(tx, spec_id)
        spec = await store.get(tx, spec_id)
        if spec is None:
            return unknown_supervisor(spec_id)
        await _bury(tx, request, spec)
    return json_answer({"id": spec_id})


@router.post("/{spec_id}/shutdown", summary="Terminate a supervisor: the old name")
async def shut_down(request: Request, spec_id: str) -> Response:
    return await terminate(request, spec_id)


@router.post("/{spec_id}/reset", summary="Forget how far a stream was read")
async def reset(request: Request, spec_id: str) -> Response:
    """There is nothing to forget: no supervisor here reads a stream."""
    spec = await _found(request, spec_id)
    if spec is None:
        return unknown_supervisor(spec_id)
    raise _unsupported("reset", spec)


@router.post("/{spec_id}/resetOffsets", summary="Set how far a stream was read")
async def reset_offsets(request: Request, spec_id: str) -> Response:
    return await reset(request, spec_id)


@router.post("/{spec_id}/taskGroups/handoff", summary="Let groups of tasks publish early")
async def hand_off(request: Request, spec_id: str) -> Response:
    spec = await _found(request, spec_id)
    if spec is None:
        return unknown_supervisor(spec_id)
    raw = await json_body(request) if is_json(request) else None
    if not isinstance(raw, dict) or not cast("dict[str, Any]", raw).get("taskGroupIds"):
        return json_answer({"error": "List of task groups to handoff can't be empty"}, 400)
    raise _unsupported("handoff", spec)


def _unsupported(operation: str, spec: SupervisorSpec) -> Unsupported:
    return Unsupported(
        f"Operation[{operation}] is not supported by supervisor[{spec.id}] of type[{status.type_shown(spec)}]."
    )


def unknown_supervisor(spec_id: str) -> Response:
    """The answer for an id that no supervisor has."""
    return PlainResponse(f"Cannot find any supervisor with id: [{spec_id}]".encode(), 404, "text/plain")


def _may(request: Request, action: Action, names: Sequence[str]) -> bool:
    """Whether the caller may do this to all of the datasources. Those of nobody are for who may do everything."""
    caller = caller_of(request)
    return caller.may_all or (bool(names) and all(caller.may(action, data_source(name)) for name in names))


async def _found(request: Request, spec_id: str) -> SupervisorSpec | None:
    async with connection(replica_of(request).pool) as tx:
        return await store.get(tx, spec_id)


async def _suspend(request: Request, spec_id: str, *, suspended: bool) -> Response:
    async with transaction(replica_of(request).pool) as tx:
        await store.lock(tx, spec_id)
        spec = await store.get(tx, spec_id)
        if spec is None:
            return unknown_supervisor(spec_id)
        if spec.suspended is suspended:
            state = "suspended" if suspended else "running"
            return json_answer({"error": f"[{spec_id}] is already {state}"}, 400)
        spec = spec.suspend(suspended)
        await _store(tx, request, spec, _SUSPEND[suspended])
    return json_answer(status.shown(spec))


async def _change_all(request: Request, *, suspended: bool | None) -> Response:
    """Suspend or resume them all, those that are not so already; None terminates them. One transaction each."""
    pool = replica_of(request).pool
    async with connection(pool) as tx:
        specs = await store.current(tx)
    spec_ids = [spec.id for spec in specs if _may(request, Action.WRITE, spec.data_sources)]
    for spec_id in spec_ids:
        async with transaction(pool) as tx:
            await store.lock(tx, spec_id)
            spec = await store.get(tx, spec_id)
            if spec is None:
                continue
            if suspended is None:
                await _bury(tx, request, spec)
            elif spec.suspended is not suspended:
                await _store(tx, request, spec.suspend(suspended), _SUSPEND[suspended])
    return json_answer({"status": "success"})


async def _store(tx: Connection, request: Request, spec: SupervisorSpec, done: str = "Update") -> None:
    await _write(tx, request, spec, spec.wire, done)


async def _bury(tx: Connection, request: Request, spec: SupervisorSpec) -> None:
    await _write(tx, request, spec, spec.tombstone(), "Terminate")


async def _write(tx: Connection, request: Request, spec: SupervisorSpec, wire: Any, done: str) -> None:
    """The spec from now on, and who made it so. The audit says what was done in words, as Druid's does."""
    now_ms = replica_of(request).clock_ms()
    await store.insert(tx, spec.id, wire, now_ms)
    words = f"{done} supervisor[{spec.id}] for datasource[[{', '.join(spec.data_sources)}]]"
    author, call = audit.author_of(request), audit.call_of(request)
    await audit.record(tx, spec.id, AUDIT_TYPE, orjson.dumps(words), author, now_ms, call)


def _version(version: store.Version) -> dict[str, Any]:
    """Druid: VersionedSupervisorSpec"""
    return {"spec": without_secrets(version.wire), "version": version.created}


def _count(text: str | None) -> int | None:
    """Raises ValueError for what is no Java int."""
    if text is None:
        return None
    count = int(text)
    if abs(count) > 2_147_483_647:
        raise ValueError(text)
    return count
