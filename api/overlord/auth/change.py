"""What the routes of users and roles share: one change, one transaction, one entry in the audit."""

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from overlord import audit
from overlord.auth.directory import Directory
from overlord.auth.people import RefusedChange
from overlord.db.pool import Connection, transaction
from overlord.replica import replica_of
from overlord.web import empty_answer, json_answer


async def changed(
    request: Request, kind: str, key: str, words: str, change: Callable[[Connection], Awaitable[None]]
) -> Response:
    """
    Make a change and remember it as `words`; 200 without a body, or 400 and what is in its way.

    `kind` is whose list is changed, as the audit has it: `basic.authenticator` or `basic.authorizer`.
    """
    replica = replica_of(request)
    directory: Directory = request.app.state.directory
    try:
        async with transaction(replica.pool) as tx:
            await change(tx)
            await audit.record(
                *(tx, key, kind, orjson.dumps(words), audit.author_of(request), replica.clock_ms()),
                call=audit.call_of(request),
            )
    except RefusedChange as error:
        return refused(error)
    directory.forget()
    return empty_answer(200)


def refused(error: RefusedChange) -> Response:
    """Druid: BasicSecurityDBResourceException"""
    return json_answer({"error": str(error)}, 400)
