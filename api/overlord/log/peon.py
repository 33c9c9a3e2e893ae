"""The living peon, asked for what only it has: the log as it grows, live reports."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from overlord.db.pool import Connection


@dataclass(frozen=True, slots=True)
class TaskEnds:
    """Where a task is between its peon and storage."""

    active: bool
    attempt_open: bool
    """Its peon may still speak, or its runner may still store what it said."""
    chat_url: str | None
    """Where its peon serves, if it does."""


async def whereabouts(tx: Connection, task_id: str) -> TaskEnds | None:
    """Where to look for the log and reports of a task; None when it is unknown."""
    row = await tx.fetchrow(
        """
        SELECT task.active, attempt.state, attempt.host, attempt.port, attempt.tls_port
        FROM druid_tasks AS task LEFT JOIN nemeton_attempts AS attempt ON attempt.task_id = task.id
            AND attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        WHERE task.id = $1
        """,
        task_id,
    )
    if row is None:
        return None
    chat_url = None
    if row["host"] is not None:
        secure = row["tls_port"] is not None and row["tls_port"] > 0
        host = f"[{row['host']}]" if ":" in row["host"] else row["host"]
        base = f"https://{host}:{row['tls_port']}" if secure else f"http://{host}:{row['port']}"
        chat_url = f"{base}/druid/worker/v1/chat/{quote(task_id, safe='')}"
    return TaskEnds(row["active"], row["state"] is not None, chat_url)


class PeonClient:
    """Calls to peons: short, and a failure only means that the peon has nothing to say."""

    def __init__(self, timeout_ms: int) -> None:
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_ms / 1000, connect=min(1.0, timeout_ms / 1000)), trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def get(self, url: str, task_id: str) -> AsyncGenerator[httpx.Response | None]:
        """The answer of a peon, body unread; None when there is none."""
        # another peon may serve at this port by now: the header lets it refuse. Druid: ChatHandlerResource
        request = self._client.build_request("GET", url, headers={"X-Druid-Task-Id": quote(task_id, safe="")})
        try:
            response = await self._client.send(request, stream=True)
        # AttributeError: a peon that ends while it is being connected to. uvloop has no socket for the lost connection
        # then, and anyio asks that None for its peer. May go when anyio checks.
        except (httpx.HTTPError, AttributeError):
            yield None
            return
        try:
            yield response
        finally:
            await response.aclose()
