"""The pool of connections, and the one way to open a transaction."""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import asyncpg.pool

from druid_core.errors import InvalidInput, Unavailable

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECT_TIMEOUT_SECONDS = 10
COMMAND_TIMEOUT_SECONDS = 60.0
"""No statement of ours needs this long; one that does is stuck, and its caller should hear of it."""

DATABASE_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""
What asyncpg raises while Postgres is away. InterfaceError: a connection that broke under us; InternalClientError: one
that breaks in the moment in which a statement is begun on it.
"""


_NEVER_LETS_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""A wrong user, password or database, or one that is not ours: asking again does not heal it."""


_NO_URL = "The database URL is none: expected postgresql://user:password@host:5432/database"
"""Without the text of the library, which may quote a part of the URL that is the password."""


async def _nothing_to_reset(connection: Connection) -> None:
    """Nobody here changes a session: locks, settings and cursors live in transactions. Saves a round trip a use."""


async def connect(url: str, *, min_size: int = 2, max_size: int = 16) -> Pool:
    """
    A pool on the database at `url`.

    Raises InvalidInput for what is no URL of a database and where we will never be let in, Unavailable when nobody
    answers there or we are not let in at present.
    """
    where = _address(url)
    try:
        return await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            # JIT and parallel workers cost more than they give to statements of a millisecond
            reset=_nothing_to_reset,
            server_settings={"application_name": "nemeton-overlord", "jit": "off"},
        )
    except ValueError as error:
        raise InvalidInput(_NO_URL) from error
    except _NEVER_LETS_IN as error:
        raise InvalidInput(f"The metadata database [{where}] does not let us in: {error}") from error
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database [{where}] does not answer: {_why(error)}") from error
    except asyncpg.PostgresError as error:
        raise Unavailable(f"The metadata database [{where}] does not let us in: {error}") from error


def _address(url: str) -> str:
    """Where a database is, for messages: without user and password. Raises InvalidInput for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(_NO_URL) from error
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    return f"{host}{parts.path}"


def _why(error: Exception) -> str:
    match error:
        case socket.gaierror():
            return "no machine has that name"
        case ConnectionRefusedError() | FileNotFoundError():
            return "nobody listens there"
        case TimeoutError():
            return f"it said nothing for {CONNECT_TIMEOUT_SECONDS} s"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error)


_after_commit: ContextVar[list[Callable[[], None]] | None] = ContextVar("after_commit", default=None)


def after_commit(tell: Callable[[], None]) -> None:
    """
    Call `tell` once the transaction that the caller is in has committed, and never where it is undone; outside of one
    at once. For what only watches: metrics and log lines. It must not raise, and is lost with the process.
    """
    waiting = _after_commit.get()
    if waiting is None:
        tell()
    else:
        waiting.append(tell)


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """
    One READ COMMITTED transaction on a connection of its own; committed when the block ends well.

    Raises Unavailable when Postgres is away, at whichever point; what was done then may or may not be committed.
    """
    outer = _after_commit.get()
    told: list[Callable[[], None]] = []
    _after_commit.set(told)
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection, connection.transaction():
            yield connection
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database does not answer: {error}") from error
    finally:
        _after_commit.set(outer)
    for tell in told:
        tell()


@asynccontextmanager
async def connection(pool: Pool) -> AsyncGenerator[Connection]:
    """
    A connection for statements that each stand alone.

    Raises Unavailable when Postgres is away.
    """
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as held:
            yield held
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database does not answer: {error}") from error
