"""
`POST /druid/indexer/v1/action`: the one door of every peon, ours and Java's. Druid: OverlordResource.doAction

Our peon shows its attempt's token as bearer and is told 4xx when something is final. Java's peon has no token, or has
it for a password, and takes Druid's own answers: every failure is a 500 with `{"error": text}`.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from druid_core import tracing
from druid_core.action import LockAcquire, LockList, SegmentAllocate, SegmentLockAcquire, TaskAction
from druid_core.errors import InvalidInput, NemetonError, Unavailable
from druid_core.lock import LockResult
from overlord.access import CallerKind, caller_of
from overlord.action import lock_listing
from overlord.action.actor import check_token, find_actor
from overlord.action.allocation import Allocations
from overlord.action.parse import ActionRequest, innermost, parse_action
from overlord.action.perform import check_surrogates, perform
from overlord.db.pool import transaction
from overlord.lock.lockbox import InactiveTask
from overlord.metrics import meters
from overlord.problems import Forbidden, problem_of
from overlord.replica import Replica, replica_of
from overlord.task.token import attempt_token, bearer
from overlord.web import empty_answer, is_json, json_answer, json_body, words_of

router = APIRouter(prefix="/druid/indexer/v1")
router.include_router(lock_listing.router)

_NO_LOCK = (None, LockResult().to_wire())
"""What a request for a lock, of a time chunk or of a segment, is answered when there is none to be had."""

LOCK_WAIT_LIMIT_MS = 240_000
"""The longest that a request for a lock waits, also one that would wait for ever: below the five minutes after which
clients give up a silent call. They are told that there is none and may ask again."""

LOCK_POLL_SECONDS = 0.2
"""How often a waiting request tries again: a fifth of a second is little beside what locks are held for."""


@router.post("/action", tags=["Task actions"], summary="Perform a task action")
async def do_action(request: Request) -> Response:
    """Perform `{"task": {"id"}, "action": {"type", …}}` and answer `{"result": …}`."""
    if not is_json(request):
        return empty_answer(415)
    token = _token_of(request)
    try:
        asked = parse_action(await json_body(request))
    except InvalidInput as error:
        return json_answer({"error": words_of(error, request)}, 400)
    try:
        kind = asked.action.type
        parent = request.headers.get(tracing.TRACEPARENT)
        with (
            tracing.span(f"perform {kind}", parent, "server", task_id=asked.task_id),
            meters.measuring_action(kind) as measured,
        ):
            if isinstance(asked.action, SegmentAllocate):
                allocations: Allocations = request.app.state.allocations
                identity = await allocations.allocate(asked.task_id, token, asked.action)
                measured.answer = None if identity is None else identity.to_wire()
            else:
                measured.answer = await _perform(replica_of(request), asked, token)
        return json_answer({"result": measured.answer})
    except (Forbidden, Unavailable):
        raise
    except NemetonError as error:
        # Java's peon would take another code for the end of the world
        return json_answer(
            {"error": _java_text(error, words_of(error, request))},
            problem_of(error).status if _is_ours(request, token) else 500,
        )


async def _perform(replica: Replica, asked: ActionRequest, token: str | None) -> Any:
    """One transaction; for those that wait for a lock one a try, so that nobody waits for the waiter."""
    action = innermost(asked.action)
    if not isinstance(action, LockAcquire | SegmentLockAcquire):
        return await _perform_once(replica, asked, token)
    wait_ms = min(action.timeout_ms or LOCK_WAIT_LIMIT_MS, LOCK_WAIT_LIMIT_MS)
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    while True:
        answer = await _perform_once(replica, asked, token)
        if answer not in _NO_LOCK or asyncio.get_running_loop().time() >= deadline:
            return answer
        await asyncio.sleep(LOCK_POLL_SECONDS)


async def _perform_once(replica: Replica, asked: ActionRequest, token: str | None) -> Any:
    async with transaction(replica.pool) as tx:
        if token is not None:
            await check_token(tx, token, asked.task_id)
        actor = await find_actor(tx, asked.task_id)
        if actor is None:
            return _for_an_unknown_task(asked.task_id, asked.action)
        if token is not None:
            await check_surrogates(tx, actor, asked.action)
        return await perform(tx, actor, asked.action, replica.clock_ms())


def _token_of(request: Request) -> str | None:
    """The attempt's token. Whoever signed in otherwise acts as Java's peons do: for any task, by his right to."""
    if caller_of(request).kind in (CallerKind.USER, CallerKind.RUNNER):
        return None
    return attempt_token(request.headers.get("authorization"))


def _is_ours(request: Request, token: str | None) -> bool:
    """Whether a peon of ours asks: none of Druid's can show a token as bearer."""
    return token is not None and bearer(request.headers.get("authorization")) == token


def _for_an_unknown_task(task_id: str, action: TaskAction) -> list[Any]:
    """A task that never was has no locks; for all else it is inactive."""
    if isinstance(action, LockList):
        return []
    raise InactiveTask(task_id)


def _java_text(error: NemetonError, words: str) -> str:
    """Druid puts the exception's class before its text."""
    kind = "java.util.common.ISE" if isinstance(error, InactiveTask) else "error.DruidException"
    return f"org.apache.druid.{kind}: {words}"
