"""Task endpoints: submit, look at, list, shut down. Druid: OverlordResource"""

from dataclasses import replace

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from druid_core import tracing
from druid_core.errors import InvalidInput
from druid_core.interval import Interval
from druid_core.java_task import SUB_TASK_TYPES
from druid_core.runner import RUNNER_HEADER, SUBMITTER_HEADER, Explanation
from druid_core.task import inject_context, parse_task, redacted
from overlord import audit
from overlord.access import Action, caller_of, data_source, submitter_of, visible_data_sources
from overlord.db.pool import connection, transaction
from overlord.problems import Unreadable, problem_of
from overlord.replica import replica_of
from overlord.segment import store as segment_store
from overlord.task import documentation as shown
from overlord.task import listing, store
from overlord.task.admission import check_admission, check_inputs
from overlord.task.explain import explain_tasks
from overlord.task.intake import ANYBODY, AUDITED_TYPES, Intake, Origin
from overlord.task.listing import NoSuchPage, TaskFilter
from overlord.web import (
    accepts_json,
    empty_answer,
    error_answer,
    is_json,
    json_answer,
    json_body,
    long_json_answer,
    query,
    text_answer,
)

router = APIRouter(prefix="/druid/indexer/v1", tags=["Tasks"])

_INT_LIMIT = 2_147_483_647

_LONGEST_NAME = 255
"""Characters of a submitter or a runner."""


def unknown_task(task_id: str) -> Response:
    """The answer for an id that no task has."""
    return text_answer(f"Cannot find any task with id: [{task_id}]", 404)


@router.post(
    "/task",
    summary="Submit a task",
    responses={
        200: {"model": shown.TaskSubmitted},
        400: {"model": shown.PlainError, "description": "The task cannot be accepted, or its id was used before."},
        415: {"description": "The body is not said to be JSON."},
        429: {"model": shown.DruidExceptionBody, "description": "The queue is full."},
    },
    openapi_extra=shown.SUBMIT,
)
async def submit_task(request: Request) -> Response:
    """Stores the task and answers its id. It runs as soon as its locks and a slot are free."""
    if not is_json(request):
        return empty_answer(415)
    if not accepts_json(request):
        return empty_answer(406)
    raw = await json_body(request)
    if raw is None:
        raise Unreadable("The request body holds no task")
    replica = replica_of(request)
    settings = replica.settings
    parent = request.headers.get(tracing.TRACEPARENT)
    with tracing.span("submit task", parent, "server", may_begin=True) as traced:
        task = inject_context(
            parse_task(raw, replica.clock_ms(), java_types=settings.java_types),
            # by its context the trace reaches the peon; one that the task brings goes before
            settings.default_task_context | (traced.carried if tracing.is_on() else {}),
            force_time_chunk_lock=settings.force_time_chunk_lock,
        )
        traced.note(task_id=task.id, task_type=task.type, data_source=task.data_source)
        check_admission(task, caller_of(request), settings)
        check_inputs(task, settings.input_policy)
        origin = _origin(request, audited=task.type in AUDITED_TYPES)
        if origin.runner_wish is None and task.type in SUB_TASK_TYPES:
            async with connection(replica.pool) as held:
                origin = replace(origin, runner_wish=await store.runner_wish(held, task.group_id))
        intake: Intake = request.app.state.intake
        await intake.submit(task, origin)
    return json_answer({"task": task.id})


@router.get(
    "/task/{task_id}",
    summary="The payload of a task",
    responses={200: {"model": shown.TaskPayloadAnswer}, **shown.NOT_FOUND},
)
async def get_payload(request: Request, task_id: str) -> Response:
    """The task as it is stored: with its defaults filled in, and passwords hidden."""
    async with connection(replica_of(request).pool) as tx:
        stored = await store.get(tx, task_id)
    if stored is None:
        return unknown_task(task_id)
    return json_answer({"task": task_id, "payload": redacted(orjson.loads(stored.payload))})


@router.get(
    "/task/{task_id}/status",
    summary="The status of a task",
    responses={200: {"model": shown.TaskStatusAnswer}, **shown.NOT_FOUND},
)
async def get_status(request: Request, task_id: str) -> Response:
    """As in lists, but a finished task's runnerStatusCode is WAITING here, because Druid's is."""
    async with connection(replica_of(request).pool) as tx:
        status = await listing.status_plus(tx, task_id)
    return unknown_task(task_id) if status is None else json_answer({"task": task_id, "status": status})


@router.get(
    "/task/{task_id}/explain",
    summary="Why a task stands where it stands",
    responses={200: {"model": Explanation}, **shown.NOT_FOUND},
)
async def explain(request: Request, task_id: str) -> Response:
    """Which lock is in its way and who holds it, its place in line, what its start waits for. Not Druid's."""
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        found = await explain_tasks(tx, replica, [task_id])
    return json_answer(found[0].to_wire()) if found else unknown_task(task_id)


@router.get(
    "/task/{task_id}/segments",
    summary="The ids of the segments that a task published",
    responses={200: {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "string"}}}}}}
    | shown.NOT_FOUND,
)
async def get_segments(request: Request, task_id: str) -> Response:
    """An array, empty until the task publishes. (Druid 37 gave this up and answers 404.)"""
    async with connection(replica_of(request).pool) as tx:
        if not await store.exists(tx, task_id):
            return unknown_task(task_id)
        return json_answer(await segment_store.ids_of_task(tx, task_id))


@router.post(
    "/task/{task_id}/shutdown",
    summary="Shut a task down",
    responses={200: {"model": shown.TaskSubmitted}, **shown.NOT_FOUND},
)
async def shut_down(request: Request, task_id: str) -> Response:
    """FAILED at once, its locks freed; the peon is ended after that. A finished task stays as it is, also 200."""
    async with transaction(replica_of(request).pool) as tx:
        if not await store.exists(tx, task_id):
            return unknown_task(task_id)
        await store.shut_down(tx, task_id)
    return json_answer({"task": task_id})


@router.post(
    "/datasources/{data_source}/shutdownAllTasks",
    summary="Shut down all tasks of a datasource",
    responses={
        200: {"content": {"application/json": {"example": {"dataSource": "example"}}}},
        404: {"description": "The datasource has no active task."},
    },
)
async def shut_down_all(request: Request, data_source: str) -> Response:
    """Each as by its own shutdown."""
    pool = replica_of(request).pool
    async with connection(pool) as held:
        task_ids = await store.active_ids(held, data_source)
    for task_id in task_ids:
        # one transaction each: none waits for another, and no lock order is to be kept
        async with transaction(pool) as tx:
            await store.shut_down(tx, task_id)
    return json_answer({"dataSource": data_source}) if task_ids else empty_answer(404)


@router.post(
    "/taskStatus",
    summary="The statuses of some tasks",
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        400: {"description": "No ids, or not a list of ids."},
    },
    openapi_extra=shown.STATUS_IDS,
)
async def get_statuses(request: Request) -> Response:
    """A map from id to status; unknown ids are left out, and for a peon those of other groups."""
    if not is_json(request):
        return empty_answer(415)
    try:
        task_ids = await json_body(request)
    except Unreadable as error:
        return json_answer({"error": str(error)}, 400)
    if not task_ids:
        return text_answer("No Task IDs provided.", 400)
    if not isinstance(task_ids, list):
        return json_answer({"error": "Cannot deserialize value of type `java.util.HashSet<java.lang.String>`"}, 400)
    asked = [str(task_id) for task_id in task_ids]  # pyright: ignore[reportUnknownVariableType]
    own = caller_of(request).task
    within = (None, None) if own is None else (own.group_id, own.data_source)
    async with connection(replica_of(request).pool) as tx:
        return json_answer(await listing.statuses(tx, [task_id for task_id in asked if "\0" not in task_id], *within))


@router.get(
    "/tasks",
    summary="List tasks",
    responses={200: {"model": list[shown.TaskStatusPlus]}, 400: {"description": "No such state."}},
    openapi_extra=shown.LIST,
)
async def list_tasks(request: Request) -> Response:
    """Finished tasks first, newest first; then active ones, oldest first."""
    state = query(request, "state")
    if state is not None and state.lower() not in listing.STATES:
        message = f"Invalid task state[{state}]. Must be one of [{', '.join(listing.STATES)}]."
        return text_answer(message, 400)
    return await _list(request, None if state is None else state.lower())


@router.get(
    "/waitingTasks",
    summary="List tasks that wait for locks",
    responses={200: {"model": list[shown.TaskStatusPlus]}},
    openapi_extra=shown.LIST_OF_STATE,
)
async def list_waiting(request: Request) -> Response:
    return await _list(request, "waiting")


@router.get(
    "/pendingTasks",
    summary="List tasks that wait for a slot, or whose peon starts",
    responses={200: {"model": list[shown.TaskStatusPlus]}},
    openapi_extra=shown.LIST_OF_STATE,
)
async def list_pending(request: Request) -> Response:
    return await _list(request, "pending")


@router.get(
    "/runningTasks",
    summary="List tasks whose peon runs",
    responses={200: {"model": list[shown.TaskStatusPlus]}},
    openapi_extra=shown.LIST_OF_STATE,
)
async def list_running(request: Request) -> Response:
    return await _list(request, "running")


@router.get(
    "/completeTasks",
    summary="List finished tasks",
    responses={200: {"model": list[shown.TaskStatusPlus]}},
    openapi_extra=shown.LIST_OF_STATE,
)
async def list_complete(request: Request) -> Response:
    return await _list(request, "complete")


@router.delete(
    "/pendingSegments/{data_source}",
    summary="Delete pending segments",
    tags=["Segments"],
    responses={
        200: {"content": {"application/json": {"example": {"numDeleted": 2}}}},
        400: {"model": shown.PlainError, "description": "A task that is active may still need them."},
    },
    openapi_extra={
        "parameters": [
            shown.parameter("interval", "Of their creation; none deletes nothing.", example="2026-01-01/2026-01-02")
        ]
    },
)
async def delete_pending_segments(request: Request, data_source: str) -> Response:
    """Rows that allocations left behind, by the time of their creation."""
    replica = replica_of(request)
    text = query(request, "interval")
    now_ms = replica.clock_ms()
    try:
        interval = Interval.parse(text) if text else Interval(now_ms, now_ms)
    except InvalidInput as error:
        raise Unreadable(str(error)) from error
    try:
        async with transaction(replica.pool) as tx:
            deleted = await segment_store.delete_pending(tx, data_source, interval)
    except InvalidInput as error:
        return json_answer({"error": str(error)}, problem_of(error).status)
    return json_answer({"numDeleted": deleted})


async def _list(request: Request, state: str | None) -> Response:
    replica = replica_of(request)
    caller = caller_of(request)
    try:
        max_finished = _count(query(request, "max") or query(request, "n"))
        limit = _count(query(request, "limit"))
    except ValueError:
        return empty_answer(404)
    window = query(request, "createdTimeInterval")
    wanted_source = query(request, "datasource")
    if wanted_source is not None and not caller.may(Action.READ, data_source(wanted_source)):
        return text_answer(f"Access-Check-Result: {caller.name} may not read datasource [{wanted_source}]", 403)
    try:
        wanted = TaskFilter(
            state=state,
            data_source=wanted_source,
            type=query(request, "type"),
            created=None if window is None else listing.parse_window(window),
            finished_since_ms=replica.clock_ms() - replica.settings.recently_finished_ms,
            max_finished=max_finished,
            is_visible=visible_data_sources(caller),
            page=_page(limit, query(request, "after")),
        )
        async with connection(replica.pool) as tx:
            listed = await listing.tasks_json(tx, wanted)
    except NoSuchPage:
        raise
    except InvalidInput as error:
        # Druid answers 500 with a page of HTML; the status is kept, because clients may tell by it
        return error_answer(Unreadable(str(error)))
    return long_json_answer(listed)


def _origin(request: Request, *, audited: bool) -> Origin:
    """Raises InvalidInput for a name that no runner and no object has."""
    submitter, runner_id = request.headers.get(SUBMITTER_HEADER), request.headers.get(RUNNER_HEADER)
    caller = caller_of(request)
    if caller.task is not None:
        # said by the Overlord, not by the peon: whoever has this name here may end the task
        submitter = submitter_of(caller.task.task_id)
    if submitter is None and runner_id is None and not audited:
        return ANYBODY
    for name, value in ((SUBMITTER_HEADER, submitter), (RUNNER_HEADER, runner_id)):
        if value is not None and not 0 < len(value) <= _LONGEST_NAME:
            raise InvalidInput(f"The header {name} has {len(value)} characters: expected 1 to {_LONGEST_NAME}")
    if not audited:
        return Origin(submitter, runner_id)
    return Origin(submitter, runner_id, audit.author_of(request), audit.call_of(request))


def _page(limit: int | None, after: str | None) -> listing.Page | None:
    """Raises NoSuchPage."""
    if limit is None:
        if after:
            raise NoSuchPage("Invalid value for after: it goes with a limit")
        return None
    if limit < 1:
        raise NoSuchPage(f"Invalid value for limit: [{limit}] is less than 1")
    return listing.Page(limit, after or None)


def _count(text: str | None) -> int | None:
    """Raises ValueError for what is no Java int."""
    if not text:
        return None
    count = int(text)
    if abs(count) > _INT_LIMIT:
        raise ValueError(text)
    return count
