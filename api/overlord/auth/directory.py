"""
Users and roles, as they stand in the database: read whole, and held for a second at most.

Every request asks who its caller is and what his roles allow. A second is what a replica may be late in hearing of a
change that another one made; its own changes it knows at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from druid_core.errors import InvalidInput
from overlord import events
from overlord.access import SECURITY, Action, Permission, RawPermission, permission_of
from overlord.db.pool import Connection, Pool, connection

FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All users and roles at one moment."""

    hashes: Mapping[str, str]
    """Of the passwords of those who have one."""
    roles: Mapping[str, tuple[str, ...]]
    """Names of the roles that each user has."""
    permissions: Mapping[str, tuple[Permission, ...]]
    """What each role allows."""

    def permissions_of_user(self, name: str) -> tuple[Permission, ...]:
        return self.permissions_of_roles(self.roles.get(name, ()))

    @property
    def has_administrator(self) -> bool:
        """Whether anybody who has a password may change users and roles."""
        return any(
            permission.covers(Action.WRITE, SECURITY)
            for name in self.hashes
            for permission in self.permissions_of_user(name)
        )

    def permissions_of_roles(self, names: Iterable[str]) -> tuple[Permission, ...]:
        """Of all these roles together; a name that no role has allows nothing."""
        return tuple(permission for name in names for permission in self.permissions.get(name, ()))


class Directory:
    """The users and roles of one database."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._read_at = 0.0
        self._turn = asyncio.Lock()

    async def current(self, pool: Pool) -> Snapshot:
        """No older than a second. Raises Unavailable where the database does not answer: nobody is let in unseen."""
        if (fresh := self._fresh()) is not None:
            return fresh
        async with self._turn:  # those who come together wait for one look
            if (fresh := self._fresh()) is not None:
                return fresh
            began = self._clock()
            async with connection(pool) as tx:
                snapshot = await read_snapshot(tx)
            self._snapshot, self._read_at = snapshot, began
            return snapshot

    def forget(self) -> None:
        """Something has changed: the next one looks anew."""
        self._snapshot = None

    def _fresh(self) -> Snapshot | None:
        return self._snapshot if self._clock() - self._read_at < FRESH_SECONDS else None


async def read_snapshot(tx: Connection) -> Snapshot:
    """As it stands in the caller's transaction."""
    hashes = await tx.fetch("SELECT user_name, password_hash FROM nemeton_credentials WHERE password_hash IS NOT NULL")
    grants = await tx.fetch(
        "SELECT user_name, array_agg(role_name ORDER BY role_name) AS roles FROM nemeton_user_roles GROUP BY user_name"
    )
    roles = await tx.fetch("SELECT name, permissions FROM nemeton_roles")
    return Snapshot(
        {row["user_name"]: row["password_hash"] for row in hashes},
        {row["user_name"]: tuple(row["roles"]) for row in grants},
        {row["name"]: tuple(_readable(row["name"], orjson.loads(row["permissions"]))) for row in roles},
    )


def _readable(role: str, raw_permissions: list[Any]) -> Iterator[Permission]:
    """One that cannot be read, stored by another version perhaps, allows nothing, and stops nobody else."""
    for raw in raw_permissions:
        try:
            yield permission_of(RawPermission.model_validate(raw))
        except (InvalidInput, ValidationError) as error:
            events.warning("a permission allows nothing, for it cannot be read", role=role, error=str(error))
