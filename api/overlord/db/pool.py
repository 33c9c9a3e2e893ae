"""The pool of connections, and the one way to open a transaction."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import asyncpg.pool

from druid_core.errors import Unavailable

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


async def _nothing_to_reset(connection: Connection) -> None:
    """Nobody here changes a session: locks, settings and cursors live in transactions. Saves a round trip a use."""


async def connect(url: str, *, min_size: int = 2, max_size: int = 16) -> Pool:
    """
    A pool on the database at `url`.

    Raises Unavailable when nobody answers there.
    """
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
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database does not answer: {error}") from error


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """
    One READ COMMITTED transaction on a connection of its own; committed when the block ends well.

    Raises Unavailable when Postgres is away, at whichever point; what was done then may or may not be committed.
    """
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection, connection.transaction():
            yield connection
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database does not answer: {error}") from error


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
