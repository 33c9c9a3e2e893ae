"""What a replica needs to do its work, looked at anew each time it is asked for."""

import asyncio

import asyncpg
from starlette.datastructures import State

from druid_core.errors import Unavailable
from overlord.db.migrate import pending_migrations
from overlord.db.pool import Pool
from overlord.task.queue import TaskQueue

ANSWER_SECONDS = 2.0
"""Below the three seconds that the chart's probe waits: an answer in words is better than none."""

QUEUE_SECONDS = 120.0
"""
Since the queue was last looked at. A pass with a hundred thousand tasks takes seconds, one statement a minute at most
(COMMAND_TIMEOUT_SECONDS); beyond two of them it is stuck.
"""


async def missing(state: State) -> list[str]:
    """Of an application's state; a sentence for each thing that is missing, none where it is ready."""
    reasons: list[str] = []
    if state.stopping.is_set():
        reasons.append("the process: it was told to stop")
    if reason := await _missing_of_database(state.pool):
        reasons.append(reason)
    queue: TaskQueue = state.queue
    if queue.has_ended:
        reasons.append("the queue loop: it has ended, start the process anew")
    elif queue.idle_seconds > QUEUE_SECONDS:
        reasons.append(f"the queue loop: it looked at the queue {queue.idle_seconds:.0f} s ago")
    return reasons


async def _missing_of_database(pool: Pool) -> str | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            pending = await pending_migrations(pool)
    except TimeoutError:
        return f"the database: it said nothing for {ANSWER_SECONDS:.0f} s"
    except Unavailable as error:
        return f"the database: {error}"
    except asyncpg.PostgresError as error:
        return f"the database: it refuses to say which migrations it has ({error})"
    return f"migrations of the database: {', '.join(pending)}" if pending else None
