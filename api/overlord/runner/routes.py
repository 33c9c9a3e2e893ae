"""The endpoints that runners call: `druid_core.runner` says what travels."""

import asyncio
import contextlib

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from druid_core.runner import AttemptReport, RunnerAnnouncement, RunnerOrders
from druid_core.wire import what_is_wrong
from overlord.db import hints
from overlord.db.pool import connection, transaction
from overlord.replica import Replica, replica_of
from overlord.runner import orders, reports
from overlord.runner.orders import Orders
from overlord.task import documentation as shown
from overlord.task.explain import explain_tasks
from overlord.task.settle import settle
from overlord.web import empty_answer, is_json, json_answer, json_body, query

router = APIRouter(prefix="/nemeton/v1/runner", tags=["Runners"])

LONGEST_WAIT_SECONDS = 30.0
"""A long poll ends after this, so that proxies with an idle limit of a minute do not cut it."""

LOOK_SECONDS = 2.0
"""How often a long poll looks while no hint can be heard. Else hints are enough: comparing a long list is not free."""

PAUSE_SHARE = 8.0
"""A look is followed by a pause of so many times its length: a long list costs a ninth of a core, not a third."""

_ANNOUNCEMENT = TypeAdapter(RunnerAnnouncement)
_REPORTS = TypeAdapter(list[AttemptReport])
_TASK_IDS = TypeAdapter(list[str])


@router.post("/announce", summary="A runner lives", responses={200: {"model": RunnerOrders}})
async def announce(request: Request) -> Response:
    """Every few seconds: the heartbeat, and the list of attempts that the runner has."""
    if not is_json(request):
        return empty_answer(415)
    replica = replica_of(request)
    found = await _hear(replica, await _announcement(request))
    return json_answer(found.answer.to_wire())


@router.post("/assignments", summary="Orders for a runner, by long poll", responses={200: {"model": RunnerOrders}})
async def next_assignments(request: Request) -> Response:
    """Answers as soon as there is news for the runner, or after `wait` seconds."""
    if not is_json(request):
        return empty_answer(415)
    replica = replica_of(request)
    runner = await _announcement(request)
    clock = asyncio.get_running_loop().time
    deadline = clock() + _seconds(query(request, "wait"))
    with replica.hints.waiting_for(hints.of_runner(runner.runner_id)) as hinted:
        began = clock()
        found = await _hear(replica, runner)
        while True:
            left = deadline - clock()
            if found.is_news or left <= 0 or request.app.state.stopping.is_set():
                return json_answer(found.answer.to_wire())
            # a burst of hints over a long list is a look now and then, not a look a hint
            await asyncio.sleep(min(left, PAUSE_SHARE * (clock() - began)))
            await _news(replica, hinted, found.repeat_in_ms, deadline)
            hinted.clear()
            began = clock()
            found = await _look(replica, runner)


@router.post("/report", summary="What a runner sees of its attempts")
async def report(request: Request) -> Response:
    """Safe to repeat. The answer says that all of it is written down."""
    if not is_json(request):
        return empty_answer(415)
    raw = await json_body(request)
    try:
        taken = _REPORTS.validate_python(raw)
    except ValidationError as error:
        where, words = what_is_wrong(error, raw)
        raise InvalidInput(f"No list of attempt reports: {where + ': ' if where else ''}{words}") from error
    await reports.take(replica_of(request), taken)
    return json_answer({})


@router.post(
    "/explain",
    summary="Why tasks stand where they stand",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    openapi_extra=shown.STATUS_IDS,
)
async def explain(request: Request) -> Response:
    """A map from id to Explanation; unknown ids are left out."""
    if not is_json(request):
        return empty_answer(415)
    try:
        task_ids = _TASK_IDS.validate_python(await json_body(request))
    except ValidationError as error:
        raise InvalidInput("Expected a list of task ids") from error
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        found = await explain_tasks(tx, replica, [task_id for task_id in task_ids if "\0" not in task_id])
    return json_answer({explanation.task_id: explanation.to_wire() for explanation in found})


async def _announcement(request: Request) -> RunnerAnnouncement:
    raw = await json_body(request)
    try:
        return _ANNOUNCEMENT.validate_python(raw)
    except ValidationError as error:
        where, words = what_is_wrong(error, raw)
        raise InvalidInput(f"No announcement of a runner: {where or 'the body'}: {words}") from error


async def _hear(replica: Replica, runner: RunnerAnnouncement) -> Orders:
    """Write down what the runner says, and what follows from it; the orders."""
    now_ms = replica.clock_ms()
    # By itself: who holds a runner's row must not wait for attempts, because a report has its attempts and then wants
    # the runner's row.
    async with transaction(replica.pool) as tx:
        await orders.hear(tx, runner, now_ms)
    async with transaction(replica.pool) as tx:
        attempts = await orders.compare(tx, runner)
        gone, changed = await orders.take_word(tx, runner, attempts, now_ms)
        if not gone and not changed:
            return await orders.give(tx, replica, runner, attempts, now_ms)
    for ending in gone:
        async with transaction(replica.pool) as tx:
            await settle(tx, ending, replica.settings.max_attempts, now_ms)
    return await _look(replica, runner)


async def _look(replica: Replica, runner: RunnerAnnouncement) -> Orders:
    async with transaction(replica.pool) as tx:
        attempts = await orders.compare(tx, runner)
        return await orders.give(tx, replica, runner, attempts, replica.clock_ms())


async def _news(replica: Replica, hinted: asyncio.Event, repeat_in_ms: int | None, deadline: float) -> None:
    """Until a hint, the time to repeat an order, or the deadline; while nobody hears hints for a moment only."""
    loop = asyncio.get_running_loop()
    until = deadline if repeat_in_ms is None else min(deadline, loop.time() + max(0, repeat_in_ms) / 1000)
    while not hinted.is_set() and (left := until - loop.time()) > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, LOOK_SECONDS)):
                await hinted.wait()
        if not replica.hints.are_heard:
            return


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), LONGEST_WAIT_SECONDS)
    except ValueError as error:
        raise InvalidInput(f"wait is a number of seconds, not [{text}]") from error
