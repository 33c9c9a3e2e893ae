"""
Users and their passwords. Druid: BasicAuthenticatorResource, which is the Coordinator's there

`{authenticator}` is whatever name Druid's own configuration gives its authenticator; there is one list of users here.
"""

import asyncio
from typing import Any, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from overlord.auth import people
from overlord.auth.change import changed, refused
from overlord.auth.password import stored_form
from overlord.auth.people import RefusedChange, check_name
from overlord.db.pool import connection
from overlord.replica import replica_of
from overlord.web import empty_answer, is_json, json_answer, json_body

router = APIRouter(prefix="/druid-ext/basic-security/authentication", tags=["Users and roles"])

KIND = "basic.authenticator"

LONGEST_PASSWORD = 1024
"""Characters: a longer one would only make the count of its hash longer."""


@router.get("/db/{authenticator}/users", summary="Who can be given a password")
async def list_users(request: Request, authenticator: str) -> Response:
    """Names."""
    async with connection(replica_of(request).pool) as tx:
        rows = await tx.fetch("SELECT user_name FROM nemeton_credentials ORDER BY user_name")
    return json_answer([row["user_name"] for row in rows])


@router.get("/db/{authenticator}/users/{user}", summary="Whether a user has a password")
async def get_user(request: Request, authenticator: str, user: str) -> Response:
    """Druid shows salt and hash here; nobody who asks for a user needs them, so they are covered."""
    async with connection(replica_of(request).pool) as tx:
        row = await tx.fetchrow(
            "SELECT password_hash IS NOT NULL AS has FROM nemeton_credentials WHERE user_name = $1", user
        )
    if row is None:
        return refused(RefusedChange(f"User [{user}] does not exist."))
    return json_answer({"name": user, "credentials": {"hash": "********"} if row["has"] else None})


@router.post("/db/{authenticator}/users/{user}", summary="Make a user who can be given a password")
async def create_user(request: Request, authenticator: str, user: str) -> Response:
    try:
        check_name("User", user)
    except RefusedChange as error:
        return refused(error)
    return await changed(
        request, KIND, authenticator, f"Create user[{user}]", lambda tx: people.add_credentials(tx, user)
    )


@router.delete("/db/{authenticator}/users/{user}", summary="Delete a user's password")
async def delete_user(request: Request, authenticator: str, user: str) -> Response:
    """He cannot sign in any more, within a second at every replica."""
    return await changed(
        request, KIND, authenticator, f"Delete user[{user}]", lambda tx: people.drop_credentials(tx, user)
    )


@router.post("/db/{authenticator}/users/{user}/credentials", summary="Set a user's password")
async def set_credentials(request: Request, authenticator: str, user: str) -> Response:
    """Body: `{"password": "…"}`. The one before is good no longer, within a second at every replica."""
    if not is_json(request):
        return empty_answer(415)
    raw: Any = await json_body(request)
    password = cast("dict[str, Any]", raw).get("password") if isinstance(raw, dict) else None
    if not isinstance(password, str) or not 0 < len(password) <= LONGEST_PASSWORD:
        return refused(RefusedChange(f'Expected {{"password": "…"}} with 1 to {LONGEST_PASSWORD} characters'))
    password_hash = await asyncio.to_thread(stored_form, password)
    return await changed(
        request,
        KIND,
        authenticator,
        f"Update credentials for user[{user}]",
        lambda tx: people.set_password(tx, user, password_hash),
    )
