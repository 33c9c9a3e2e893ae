"""What the routes of users and roles share: one change, one transaction, one entry in the audit."""

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from overlord import audit, configuration
from overlord.auth.directory import Directory, read_snapshot
from overlord.auth.people import RefusedChange
from overlord.db.pool import Connection, transaction
from overlord.replica import replica_of
from overlord.web import empty_answer, json_answer

_LOCK = "nemeton.people"
"""Changes come one after the other: two of them must not each leave the other's administrator."""


async def changed(
    request: Request, kind: str, key: str, words: str, change: Callable[[Connection], Awaitable[None]]
) -> Response:
    """
    Make a change and remember it as `words`; 200 without a body, or 400 and what is in its way.

    A change that would leave nobody who may change users and roles is refused. Druid makes it, and only its own admin
    can mend that.

    `kind` is whose list is changed, as the audit has it: `basic.authenticator` or `basic.authorizer`.
    """
    replica = replica_of(request)
    directory: Directory = request.app.state.directory
    try:
        async with transaction(replica.pool) as tx:
            await configuration.lock(tx, _LOCK)
            had_administrator = (await read_snapshot(tx)).has_administrator
            await change(tx)
            if had_administrator and not (await read_snapshot(tx)).has_administrator:
                raise RefusedChange(_LAST)
            await audit.record(
                *(tx, key, kind, orjson.dumps(words), audit.author_of(request), replica.clock_ms()),
                call=audit.call_of(request),
            )
    except RefusedChange as error:
        return refused(error)
    directory.forget()
    return empty_answer(200)


_LAST = (
    "Nobody could change users and roles any more: give the right (WRITE on CONFIG security) to another user with a "
    "password first."
)


def refused(error: RefusedChange) -> Response:
    """Druid: BasicSecurityDBResourceException"""
    return json_answer({"error": str(error)}, 400)
