"""The endpoints that runners call: `druid_core.runner` says what travels."""

import asyncio
import contextlib

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from druid_core.runner import AttemptReport, RunnerAnnouncement, RunnerOrders
from overlord.db import hints
from overlord.db.pool import connection, transaction
from overlord.replica import Replica, replica_of
from overlord.runner import orders, reports
from overlord.task.settle import settle
from overlord.web import empty_answer, is_json, json_answer, json_body, query

router = APIRouter(prefix="/nemeton/v1/runner", tags=["Runners"])

LONGEST_WAIT_SECONDS = 30.0
"""A long poll ends after this, so that proxies with an idle limit of a minute do not cut it."""

LOOK_SECONDS = 2.0
"""How often a long poll looks without a hint: one may have been lost."""

_ANNOUNCEMENT = TypeAdapter(RunnerAnnouncement)
_REPORTS = TypeAdapter(list[AttemptReport])


@router.post("/announce", summary="A runner lives", responses={200: {"model": RunnerOrders}})
async def announce(request: Request) -> Response:
    """Every few seconds: the heartbeat, and the list of attempts that the runner has."""
    if not is_json(request):
        return empty_answer(415)
    replica = replica_of(request)
    runner = await _announcement(request)
    await _hear(replica, runner)
    found, _ = await _look(replica, runner)
    return json_answer(found.to_wire())


@router.post("/assignments", summary="Orders for a runner, by long poll", responses={200: {"model": RunnerOrders}})
async def next_assignments(request: Request) -> Response:
    """Answers as soon as there is news for the runner, or after `wait` seconds."""
    if not is_json(request):
        return empty_answer(415)
    replica = replica_of(request)
    runner = await _announcement(request)
    wait = _seconds(query(request, "wait"))
    deadline = asyncio.get_running_loop().time() + wait
    with replica.hints.waiting_for(hints.of_runner(runner.runner_id)) as hinted:
        await _hear(replica, runner)
        while True:
            hinted.clear()
            found, news = await _look(replica, runner)
            left = deadline - asyncio.get_running_loop().time()
            if news or left <= 0 or request.app.state.stopping.is_set():
                return json_answer(found.to_wire())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await hinted.wait()


@router.post("/report", summary="What a runner sees of its attempts")
async def report(request: Request) -> Response:
    """Safe to repeat. The answer says that all of it is written down."""
    if not is_json(request):
        return empty_answer(415)
    try:
        taken = _REPORTS.validate_python(await json_body(request))
    except ValidationError as error:
        raise InvalidInput(f"No list of attempt reports: {error.errors()[0]['msg']}") from error
    replica = replica_of(request)
    for each in taken:
        await reports.take(replica, each)
    return json_answer({})


async def _announcement(request: Request) -> RunnerAnnouncement:
    try:
        return _ANNOUNCEMENT.validate_python(await json_body(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"No announcement of a runner: {where}: {first['msg']}") from error


async def _hear(replica: Replica, runner: RunnerAnnouncement) -> None:
    """Once a call, with the list as it came: it is not younger a poll later."""
    now_ms = replica.clock_ms()
    async with transaction(replica.pool) as tx:
        await orders.hear(tx, runner, now_ms)
        missed = await orders.compare(tx, runner, now_ms)
    for ending in missed:
        # void, not ended: should the runner list it after all, it is stopped
        async with transaction(replica.pool) as tx:
            await settle(tx, ending, now_ms, gone=False)


async def _look(replica: Replica, runner: RunnerAnnouncement) -> tuple[RunnerOrders, bool]:
    async with connection(replica.pool) as tx:
        return await orders.orders(tx, replica, runner, replica.clock_ms())


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), LONGEST_WAIT_SECONDS)
    except ValueError as error:
        raise InvalidInput(f"wait is a number of seconds, not [{text}]") from error
