"""The living peon, asked for what only it has: the log as it grows, live reports."""

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

import urllib3

from overlord.db.pool import Connection


@dataclass(frozen=True, slots=True)
class PeonAnswer:
    """What a peon answered, whole."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class TaskEnds:
    """Where a task is between its peon and storage."""

    active: bool
    attempt_open: bool
    """Its peon may still speak, or its runner may still store what it said."""
    chat_url: str | None
    """Where its peon serves, if it does."""
    attempt: int
    """The latest one; 0 where there never was one."""


async def whereabouts(tx: Connection, task_id: str) -> TaskEnds | None:
    """Where to look for the log and reports of a task; None when it is unknown."""
    row = await tx.fetchrow(
        """
        SELECT task.active, attempt.* FROM druid_tasks AS task LEFT JOIN LATERAL (
            SELECT attempt, state IN ('ASSIGNED', 'STARTING', 'RUNNING') AS is_open, host, port, tls_port
            FROM nemeton_attempts WHERE task_id = task.id ORDER BY attempt DESC LIMIT 1
        ) AS attempt ON TRUE
        WHERE task.id = $1
        """,
        task_id,
    )
    if row is None:
        return None
    chat_url = None
    if row["is_open"] and row["host"] is not None:
        secure = row["tls_port"] is not None and row["tls_port"] > 0
        host = f"[{row['host']}]" if ":" in row["host"] else row["host"]
        base = f"https://{host}:{row['tls_port']}" if secure else f"http://{host}:{row['port']}"
        chat_url = f"{base}/druid/worker/v1/chat/{quote(task_id, safe='')}"
    return TaskEnds(row["active"], bool(row["is_open"]), chat_url, row["attempt"] or 0)


class PeonClient:
    """
    Calls to peons: short, and a failure only means that the peon has nothing to say.

    urllib3 in threads: it is here anyway, and httpx would draw in a terminal toolkit at every start.
    """

    def __init__(self, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        self._pool = urllib3.PoolManager(
            num_pools=64, maxsize=4, retries=False, timeout=urllib3.Timeout(connect=min(1.0, seconds), read=seconds)
        )

    def close(self) -> None:
        self._pool.clear()

    async def get(self, url: str, task_id: str, key: str) -> PeonAnswer | None:
        """The answer of a peon; None when there is none. `key` is what our own peons ask for."""
        return await asyncio.to_thread(self._get, url, task_id, key)

    def _get(self, url: str, task_id: str, key: str) -> PeonAnswer | None:
        # another peon may serve at this port by now: the header lets it refuse. Druid: ChatHandlerResource
        headers = {"X-Druid-Task-Id": quote(task_id, safe=""), "Authorization": f"Bearer {key}"}
        try:
            answer = self._pool.request("GET", url, headers=headers)
        except urllib3.exceptions.HTTPError:
            return None
        return PeonAnswer(answer.status, answer.data)
