"""
Users, their roles, and what those allow. Druid: BasicAuthorizerResource, which is the Coordinator's there

`{authorizer}` is whatever name Druid's own configuration gives its authorizer; there is one list of roles here.
"""

from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from overlord.access import RawPermission, permission_of
from overlord.auth import people
from overlord.auth.change import changed, refused
from overlord.auth.people import RefusedChange, check_name
from overlord.db.pool import Connection, connection
from overlord.replica import replica_of
from overlord.web import empty_answer, is_json, json_answer, json_body

router = APIRouter(prefix="/druid-ext/basic-security/authorization/db/{authorizer}", tags=["Users and roles"])

KIND = "basic.authorizer"

_PERMISSIONS = TypeAdapter(list[RawPermission])


@router.get("/users", summary="Who can be given roles")
async def list_users(request: Request, authorizer: str) -> Response:
    """Names."""
    async with connection(replica_of(request).pool) as tx:
        rows = await tx.fetch("SELECT name FROM nemeton_users ORDER BY name")
    return json_answer([row["name"] for row in rows])


@router.get("/users/{user}", summary="A user's roles")
async def get_user(request: Request, authorizer: str, user: str) -> Response:
    """With `?full` also what each of them allows."""
    async with connection(replica_of(request).pool) as tx:
        if not await tx.fetchval("SELECT TRUE FROM nemeton_users WHERE name = $1", user):
            return refused(RefusedChange(f"User [{user}] does not exist."))
        rows = await tx.fetch(
            "SELECT name, permissions FROM nemeton_roles JOIN nemeton_user_roles ON role_name = name "
            "WHERE user_name = $1 ORDER BY name",
            user,
        )
    roles: list[Any] = [row["name"] for row in rows]
    if "full" in request.query_params:
        roles = [{"name": row["name"], "permissions": _with_patterns(row["permissions"])} for row in rows]
    return json_answer({"name": user, "roles": roles})


@router.post("/users/{user}", summary="Make a user who can be given roles")
async def create_user(request: Request, authorizer: str, user: str) -> Response:
    try:
        check_name("User", user)
    except RefusedChange as error:
        return refused(error)
    return await changed(request, KIND, authorizer, f"Create user[{user}]", lambda tx: people.add_user(tx, user))


@router.delete("/users/{user}", summary="Take all roles from a user")
async def delete_user(request: Request, authorizer: str, user: str) -> Response:
    return await changed(request, KIND, authorizer, f"Delete user[{user}]", lambda tx: people.drop_user(tx, user))


@router.post("/users/{user}/roles/{role}", summary="Give a user a role")
async def assign_role(request: Request, authorizer: str, user: str, role: str) -> Response:
    words = f"Assign role[{role}] to user[{user}]"
    return await changed(request, KIND, authorizer, words, lambda tx: people.grant(tx, user, role))


@router.delete("/users/{user}/roles/{role}", summary="Take a role from a user")
async def unassign_role(request: Request, authorizer: str, user: str, role: str) -> Response:
    words = f"Unassign role[{role}] from user[{user}]"
    return await changed(request, KIND, authorizer, words, lambda tx: people.withdraw(tx, user, role))


@router.get("/roles", summary="The roles there are")
async def list_roles(request: Request, authorizer: str) -> Response:
    """Names."""
    async with connection(replica_of(request).pool) as tx:
        rows = await tx.fetch("SELECT name FROM nemeton_roles ORDER BY name")
    return json_answer([row["name"] for row in rows])


@router.get("/roles/{role}", summary="What a role allows")
async def get_role(request: Request, authorizer: str, role: str) -> Response:
    """With `?full` also who has it."""
    async with connection(replica_of(request).pool) as tx:
        permissions = await _permissions(tx, role)
        if permissions is None:
            return refused(RefusedChange(f"Role [{role}] does not exist."))
        users = await tx.fetch("SELECT user_name FROM nemeton_user_roles WHERE role_name = $1 ORDER BY user_name", role)
    shown: dict[str, Any] = {"name": role, "permissions": _with_patterns(permissions)}
    if "full" in request.query_params:
        shown = {
            "name": role,
            "users": [row["user_name"] for row in users],
            "groupMappings": [],
            "permissions": shown["permissions"],
        }
    return json_answer(shown)


@router.post("/roles/{role}", summary="Make a role that allows nothing yet")
async def create_role(request: Request, authorizer: str, role: str) -> Response:
    try:
        check_name("Role", role)
    except RefusedChange as error:
        return refused(error)
    return await changed(request, KIND, authorizer, f"Create role[{role}]", lambda tx: people.add_role(tx, role))


@router.delete("/roles/{role}", summary="Delete a role")
async def delete_role(request: Request, authorizer: str, role: str) -> Response:
    """Whoever had it has it no more."""
    return await changed(request, KIND, authorizer, f"Delete role[{role}]", lambda tx: people.drop_role(tx, role))


@router.get("/roles/{role}/permissions", summary="What a role allows, alone")
async def get_permissions(request: Request, authorizer: str, role: str) -> Response:
    async with connection(replica_of(request).pool) as tx:
        permissions = await _permissions(tx, role)
    if permissions is None:
        return refused(RefusedChange(f"Role [{role}] does not exist."))
    return json_answer(_with_patterns(permissions))


@router.post("/roles/{role}/permissions", summary="Set what a role allows")
async def set_permissions(request: Request, authorizer: str, role: str) -> Response:
    """
    In the place of what it allowed: a list of `{"resource": {"name", "type"}, "action": "READ" | "WRITE"}`, where the
    name is a regular expression for the whole name.
    """
    if not is_json(request):
        return empty_answer(415)
    try:
        permissions = _PERMISSIONS.validate_python(await json_body(request))
        for permission in permissions:
            permission_of(permission)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        return refused(RefusedChange(f"Cannot read {where} of the permissions: {first['msg']}"))
    except InvalidInput as error:
        return refused(RefusedChange(str(error)))
    words = f"Set permissions for role[{role}]"
    return await changed(request, KIND, authorizer, words, lambda tx: people.set_permissions(tx, role, permissions))


async def _permissions(tx: Connection, role: str) -> str | None:
    permissions: str | None = await tx.fetchval("SELECT permissions FROM nemeton_roles WHERE name = $1", role)
    return permissions


def _with_patterns(permissions: str) -> list[dict[str, Any]]:
    """As Druid shows them, the name once more as the pattern that it is. Druid: BasicAuthorizerPermission"""
    return [
        {"resourceAction": each, "resourceNamePattern": each["resource"]["name"]} for each in orjson.loads(permissions)
    ]
