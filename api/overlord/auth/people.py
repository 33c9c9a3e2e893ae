"""
Changes of users and roles: each one statement or two in the caller's transaction.

Druid: BasicAuthenticatorMetadataStorageUpdater, BasicAuthorizerMetadataStorageUpdater
"""

from collections.abc import Sequence

import orjson

from druid_core.errors import InvalidInput
from overlord.access import RawPermission
from overlord.db.pool import Connection
from overlord.task.token import TASK_USER

LONGEST_NAME = 255
"""Characters of a user's or a role's name: what Druid's columns hold."""


class RefusedChange(InvalidInput):
    """A user, role or grant that is not there, or is there already. Druid: BasicSecurityDBResourceException"""


def check_name(kind: str, name: str) -> str:
    """`name` itself. Raises InvalidInput for one that a header or a column cannot carry."""
    if not 0 < len(name) <= LONGEST_NAME or ":" in name or not name.isprintable() or "\ufffd" in name:
        raise RefusedChange(
            f"{kind} [{name[:LONGEST_NAME]}] must be 1 to {LONGEST_NAME} printable characters and have no colon"
        )
    return name


# who somebody is


async def add_credentials(tx: Connection, user: str) -> None:
    """A user who can be given a password. Raises RefusedChange where he is there, or has the name of tasks."""
    if user == TASK_USER:
        raise RefusedChange(f"User [{user}] cannot be made: peons show the tokens of their tasks under this name.")
    await _once(
        tx,
        "INSERT INTO nemeton_credentials (user_name) VALUES ($1) ON CONFLICT DO NOTHING",
        (user,),
        f"User [{user}] already exists.",
    )


async def drop_credentials(tx: Connection, user: str) -> None:
    """Raises RefusedChange. What he may do stays as it is, as in Druid."""
    await _once(tx, "DELETE FROM nemeton_credentials WHERE user_name = $1", (user,), f"User [{user}] does not exist.")


async def set_password(tx: Connection, user: str, password_hash: str) -> None:
    """Raises RefusedChange."""
    await _once(
        tx,
        "UPDATE nemeton_credentials SET password_hash = $2 WHERE user_name = $1",
        (user, password_hash),
        f"User [{user}] does not exist.",
    )


# what somebody may do


async def add_user(tx: Connection, user: str) -> None:
    """A user who can be given roles. Raises RefusedChange where he is there."""
    await _once(
        tx,
        "INSERT INTO nemeton_users (name) VALUES ($1) ON CONFLICT DO NOTHING",
        (user,),
        f"User [{user}] already exists.",
    )


async def drop_user(tx: Connection, user: str) -> None:
    """With all that he was given. Raises RefusedChange."""
    await _once(tx, "DELETE FROM nemeton_users WHERE name = $1", (user,), f"User [{user}] does not exist.")


async def add_role(tx: Connection, role: str) -> None:
    """One that allows nothing yet. Raises RefusedChange where it is there."""
    await _once(
        tx,
        "INSERT INTO nemeton_roles (name) VALUES ($1) ON CONFLICT DO NOTHING",
        (role,),
        f"Role [{role}] already exists.",
    )


async def drop_role(tx: Connection, role: str) -> None:
    """Nobody has it any more then. Raises RefusedChange."""
    await _once(tx, "DELETE FROM nemeton_roles WHERE name = $1", (role,), f"Role [{role}] does not exist.")


async def set_permissions(tx: Connection, role: str, permissions: Sequence[RawPermission]) -> None:
    """In the place of those that the role had. Raises RefusedChange."""
    await _once(
        tx,
        "UPDATE nemeton_roles SET permissions = $2::jsonb WHERE name = $1",
        (role, orjson.dumps([each.to_wire() for each in permissions]).decode()),
        f"Role [{role}] does not exist.",
    )


async def grant(tx: Connection, user: str, role: str) -> None:
    """Raises RefusedChange where one of both is not, or he has it already."""
    await _check_both(tx, user, role)
    await _once(
        tx,
        "INSERT INTO nemeton_user_roles (user_name, role_name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        (user, role),
        f"User [{user}] already has role [{role}].",
    )


async def withdraw(tx: Connection, user: str, role: str) -> None:
    """Raises RefusedChange where one of both is not, or he does not have it."""
    await _check_both(tx, user, role)
    await _once(
        tx,
        "DELETE FROM nemeton_user_roles WHERE user_name = $1 AND role_name = $2",
        (user, role),
        f"User [{user}] does not have role [{role}].",
    )


async def make_administrator(tx: Connection, name: str, password_hash: str) -> bool:
    """A user of this name with the role of the same name; false where he has a password already: it stays."""
    made = await tx.fetchval(
        """
        INSERT INTO nemeton_credentials (user_name, password_hash) VALUES ($1, $2)
        ON CONFLICT (user_name) DO UPDATE SET password_hash = $2 WHERE nemeton_credentials.password_hash IS NULL
        RETURNING TRUE
        """,
        name,
        password_hash,
    )
    await tx.execute("INSERT INTO nemeton_users (name) VALUES ($1) ON CONFLICT DO NOTHING", name)
    await tx.execute(
        "INSERT INTO nemeton_user_roles (user_name, role_name) SELECT $1, name FROM nemeton_roles WHERE name = $1 "
        "ON CONFLICT DO NOTHING",
        name,
    )
    return bool(made)


async def _check_both(tx: Connection, user: str, role: str) -> None:
    if not await tx.fetchval("SELECT TRUE FROM nemeton_users WHERE name = $1 FOR KEY SHARE", user):
        raise RefusedChange(f"User [{user}] does not exist.")
    if not await tx.fetchval("SELECT TRUE FROM nemeton_roles WHERE name = $1 FOR KEY SHARE", role):
        raise RefusedChange(f"Role [{role}] does not exist.")


async def _once(tx: Connection, statement: str, values: tuple[str, ...], otherwise: str) -> None:
    """A statement that changes one row, or is refused in these words."""
    if (await tx.execute(statement, *values)).endswith(" 0"):
        raise RefusedChange(otherwise)
