"""The pool of connections, and the one way to open a transaction."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import asyncpg.pool

from druid_core.errors import InvalidInput, Unavailable
from overlord.db.away import DATABASE_AWAY, in_words

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECT_TIMEOUT_SECONDS = 10
COMMAND_TIMEOUT_SECONDS = 60.0
"""No statement of ours needs this long; one that does is stuck, and its caller should hear of it."""

_FULL_PAUSE_SECONDS = 0.1
"""Between two looks for a connection while the server has none to give: one of ours may come back meanwhile."""

_SESSION = {
    "application_name": "nemeton-overlord",
    # JIT costs more than it gives to statements of a millisecond
    "jit": "off",
    # A replica that dies leaves nothing locked: its death ends its statements within seconds, a machine that vanished
    # without a word its sessions within ten, and one that is stuck between two statements its transaction in a minute.
    "client_connection_check_interval": "2000",
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60000",
}


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


def session_options(url: str) -> dict[str, Any]:
    """
    How every session of ours is opened. Where the URL names many hosts, the one that takes writes is meant, unless it
    says otherwise (`target_session_attrs`).
    """
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    options: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_SECONDS, "server_settings": _SESSION}
    if "," in hosts and "target_session_attrs" not in parse_qs(parts.query):
        options["target_session_attrs"] = "read-write"
    return options


async def connect(
    url: str, *, min_size: int = 2, max_size: int = 16, statement_seconds: float = COMMAND_TIMEOUT_SECONDS
) -> Pool:
    """
    A pool on the database at `url`; a statement that takes longer than `statement_seconds` is given up.

    Raises InvalidInput for what is no URL of a database and where we will never be let in, Unavailable when nobody
    answers there or we are not let in at present.
    """
    where = _address(url)
    try:
        return await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            command_timeout=statement_seconds,
            reset=_nothing_to_reset,
            **session_options(url),
        )
    except ValueError as error:
        raise InvalidInput(_NO_URL) from error
    except _NEVER_LETS_IN as error:
        raise InvalidInput(f"The metadata database [{where}] does not let us in: {error}") from error
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database [{where}] does not answer: {in_words(error)}") from error
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
        async with connection(pool) as held:
            opened = held.transaction()
            await opened.start()
            try:
                yield held
            except _NOT_WAITED_FOR:
                raise  # its connection is dropped, and what it did is undone with it
            except BaseException:
                if not held.is_closed():
                    await opened.rollback()
                raise
            await opened.commit()
    finally:
        _after_commit.set(outer)
    for tell in told:
        tell()


_NOT_WAITED_FOR = (TimeoutError, asyncio.CancelledError)
"""After these a statement may still run. To wait until a silent server has cancelled it would be to wait again."""


@asynccontextmanager
async def connection(pool: Pool) -> AsyncGenerator[Connection]:
    """
    A connection for statements that each stand alone.

    Raises Unavailable when Postgres is away.
    """
    try:
        held = await _taken(pool)
        try:
            yield held
        except _NOT_WAITED_FOR:
            held.terminate()
            raise
        except asyncpg.ReadOnlySQLTransactionError:
            # a server that takes no writes is perhaps no longer the one behind its name: new connections tell
            await pool.expire_connections()
            raise
        finally:
            await pool.release(held)
    except DATABASE_AWAY as error:
        raise Unavailable(f"The metadata database does not answer: {in_words(error)}") from error


async def _taken(pool: Pool) -> asyncpg.pool.PoolConnectionProxy:
    """A connection of the pool. While the server has no more to give, one that comes back is waited for."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + CONNECT_TIMEOUT_SECONDS
    while True:
        try:
            return await pool.acquire(timeout=max(deadline - clock(), _FULL_PAUSE_SECONDS))
        except asyncpg.TooManyConnectionsError:
            if clock() >= deadline:
                raise
        except _NEVER_LETS_IN as error:
            raise Unavailable(f"The metadata database does not let us in any more: {error}") from error
        await asyncio.sleep(_FULL_PAUSE_SECONDS)
