"""Callers of every kind for tests: users with roles, and the headers that they send."""

import base64
from collections.abc import Sequence
from typing import Any

from httpx import AsyncClient

SECURITY = "/druid-ext/basic-security"
ADMIN_PASSWORD = "the first password"
RUNNER_TOKEN = "the runners' own secret"

Headers = dict[str, str]


def basic(user: str, password: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


ADMIN = basic("admin", ADMIN_PASSWORD)


def permission(type: str, name: str, action: str) -> dict[str, Any]:
    return {"resource": {"type": type, "name": name}, "action": action}


async def made_role(client: AsyncClient, role: str, *permissions: dict[str, Any], by: Headers = ADMIN) -> None:
    """A role that allows this, made through the API."""
    roles = f"{SECURITY}/authorization/db/basic/roles/{role}"
    for path, body in ((roles, None), (f"{roles}/permissions", list(permissions))):
        answer = await client.post(path, json=body, headers=by)
        assert answer.status_code == 200, answer.text


async def made_user(client: AsyncClient, user: str, roles: Sequence[str], by: Headers = ADMIN) -> Headers:
    """A user with these roles, made through the API; the headers that he sends."""
    password = f"password of {user}"
    who = f"{SECURITY}/authentication/db/basic/users/{user}"
    what = f"{SECURITY}/authorization/db/basic/users/{user}"
    for path, body in (
        (who, None),
        (f"{who}/credentials", {"password": password}),
        (what, None),
        *((f"{what}/roles/{role}", None) for role in roles),
    ):
        answer = await client.post(path, json=body, headers=by)
        assert answer.status_code == 200, answer.text
    return basic(user, password)


async def made_caller(client: AsyncClient, user: str, *permissions: dict[str, Any]) -> Headers:
    """A user who may do just this."""
    await made_role(client, f"role of {user}", *permissions)
    return await made_user(client, user, [f"role of {user}"])
