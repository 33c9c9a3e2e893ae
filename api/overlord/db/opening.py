"""
The database at a start: reached, and its tables brought up to date, however long it takes to come up itself.

In a cluster everything starts in any order. A process that ends because another one is late is started again after
ever longer pauses, and is then later than it had to be.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from druid_core.errors import Unavailable
from overlord import events
from overlord.db.migrate import migrate
from overlord.db.pool import COMMAND_TIMEOUT_SECONDS, Pool, connect

_AGAIN_SECONDS = 1.0
"""Between two tries: a refused connection costs next to nothing, and nobody can do anything before there is one."""

_TELL_SECONDS = 5.0
"""Between two log lines that say what is waited for."""


async def open_database(
    url: str,
    pool_size: int,
    wait_seconds: float,
    statement_seconds: float = COMMAND_TIMEOUT_SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Pool:
    """
    A pool on a database whose tables are up to date. Waits up to `wait_seconds` while it does not answer.

    Raises InvalidInput at once where waiting would not help (no URL, a refused user, password or database),
    Unavailable when the time is over.
    """
    begun = clock()
    told = -_TELL_SECONDS
    while True:
        try:
            return await _opened(url, pool_size, statement_seconds)
        except Unavailable as error:
            waited = clock() - begun
            if wait_seconds == 0:
                raise
            if waited >= wait_seconds:
                words = f"{error}. It was waited for {waited:.0f} s (NEMETON_DATABASE_WAIT_SECONDS)"
                raise Unavailable(words) from error
            if waited >= told + _TELL_SECONDS:
                told = waited
                events.warning("waiting for the database", why=str(error), seconds_left=round(wait_seconds - waited))
            await sleep(min(_AGAIN_SECONDS, wait_seconds - waited))


async def _opened(url: str, pool_size: int, statement_seconds: float) -> Pool:
    pool = await connect(url, max_size=pool_size, statement_seconds=statement_seconds)
    try:
        ran = await migrate(pool)
    except BaseException:
        pool.terminate()
        raise
    if ran:
        events.info("the database was migrated", files=ran)
    return pool
