"""Users, roles and what these allow, by the routes of Druid's `druid-basic-security`."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from druid_core.errors import InvalidInput
from nemeton.client.overlord import Overlord

WHO = "/druid-ext/basic-security/authentication/db/basic/users"
WHAT = "/druid-ext/basic-security/authorization/db/basic"
"""Of the two lists here every name will do where Druid has that of an authenticator."""

ACTIONS = ("READ", "WRITE")


class People:
    """The users and roles of one Overlord. All raise what `Overlord.ask` raises."""

    def __init__(self, overlord: Overlord) -> None:
        self._overlord = overlord

    def users(self) -> list[dict[str, Any]]:
        """Each as `{"name", "signsIn", "roles"}`, by name."""
        with_password, with_roles = self._get(WHO), self._get(f"{WHAT}/users")
        found: list[dict[str, Any]] = []
        for name in sorted({*with_password, *with_roles}):
            signs_in = name in with_password and self._get(f"{WHO}/{_quoted(name)}")["credentials"] is not None
            roles = self._get(f"{WHAT}/users/{_quoted(name)}")["roles"] if name in with_roles else []
            found.append({"name": name, "signsIn": signs_in, "roles": roles})
        return found

    def add_user(self, name: str, password: str, roles: Sequence[str]) -> None:
        """
        A user who can sign in, with these roles.

        Raises InvalidInput for a role that is not there, and then nothing was changed.
        """
        missing = [role for role in roles if role not in self._get(f"{WHAT}/roles")]
        if missing:
            raise InvalidInput(f"There is no role [{missing[0]}]; nothing was changed. `nemeton role list` shows them")
        self._post(f"{WHO}/{_quoted(name)}")
        self.set_password(name, password)
        if name not in self._get(f"{WHAT}/users"):
            self._post(f"{WHAT}/users/{_quoted(name)}")
        for role in roles:
            self.grant(name, role)

    def remove_user(self, name: str) -> None:
        """Whoever he is, he can sign in no more, and has no role."""
        if name in self._get(f"{WHAT}/users"):
            self._delete(f"{WHAT}/users/{_quoted(name)}")
            if name not in self._get(WHO):
                return
        self._delete(f"{WHO}/{_quoted(name)}")

    def set_password(self, name: str, password: str) -> None:
        self._post(f"{WHO}/{_quoted(name)}/credentials", {"password": password})

    def grant(self, name: str, role: str) -> None:
        self._post(f"{WHAT}/users/{_quoted(name)}/roles/{_quoted(role)}")

    def withdraw(self, name: str, role: str) -> None:
        self._delete(f"{WHAT}/users/{_quoted(name)}/roles/{_quoted(role)}")

    def roles(self) -> list[dict[str, Any]]:
        """Each as `{"name", "allows", "users"}`, by name; what it allows in the words of `--allow`."""
        found: list[dict[str, Any]] = []
        for name in self._get(f"{WHAT}/roles"):
            role = self._get(f"{WHAT}/roles/{_quoted(name)}?full")
            allows = [_words(permission["resourceAction"]) for permission in role["permissions"]]
            found.append({"name": name, "allows": allows, "users": role["users"]})
        return found

    def add_role(self, name: str, allowed: Sequence[str]) -> None:
        """Raises InvalidInput for words that say no permission, and then nothing was changed."""
        permissions = [parse_permission(words) for words in allowed]
        self._post(f"{WHAT}/roles/{_quoted(name)}")
        if permissions:
            self._post(f"{WHAT}/roles/{_quoted(name)}/permissions", permissions)

    def set_role(self, name: str, allowed: Sequence[str]) -> None:
        """In the place of all that the role allowed. Raises InvalidInput as above."""
        permissions = [parse_permission(words) for words in allowed]
        self._post(f"{WHAT}/roles/{_quoted(name)}/permissions", permissions)

    def remove_role(self, name: str) -> None:
        self._delete(f"{WHAT}/roles/{_quoted(name)}")

    def _get(self, path: str) -> Any:
        return orjson.loads(self._overlord.ask("GET", path))

    def _post(self, path: str, body: Any = None) -> None:
        self._overlord.ask("POST", path, b"" if body is None else orjson.dumps(body))

    def _delete(self, path: str) -> None:
        self._overlord.ask("DELETE", path)


def parse_permission(words: str) -> dict[str, Any]:
    """`READ:DATASOURCE:web.*`, as Druid has it. Raises InvalidInput."""
    action, _, rest = words.partition(":")
    kind, colon, name = rest.partition(":")
    if action.upper() not in ACTIONS or not kind or not colon or not name:
        raise InvalidInput(
            f"--allow [{words}] says no permission: expected ACTION:TYPE:NAME such as READ:DATASOURCE:web.*; the "
            "action is READ or WRITE, the name a regular expression for the whole name"
        )
    return {"resource": {"name": name, "type": kind.upper()}, "action": action.upper()}


def show_users(users: Sequence[dict[str, Any]], console: Console) -> None:
    rows = [(each["name"], "yes" if each["signsIn"] else "no", each["roles"]) for each in users]
    _show(("user", "signs in", "roles"), rows, console)


def show_roles(roles: Sequence[dict[str, Any]], console: Console) -> None:
    rows = [(each["name"], each["allows"], each["users"]) for each in roles]
    _show(("role", "allows", "users"), rows, console)


def _show(head: tuple[str, ...], rows: Sequence[tuple[str | list[str], ...]], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in head:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell if isinstance(cell, str) else ", ".join(cell)) for cell in row))
    console.print(table, soft_wrap=True)


def _words(resource_action: dict[str, Any]) -> str:
    resource = resource_action["resource"]
    return f"{resource_action['action']}:{resource['type']}:{resource['name']}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
