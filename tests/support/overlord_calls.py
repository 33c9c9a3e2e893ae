"""What tests of a replica do again and again: a replica with a clock of the test's, a task in, its status out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from druid_core.runner import Explanation
from overlord.app import create_app
from overlord.replica import wall_clock_ms
from overlord.settings import OverlordSettings

V1 = "/druid/indexer/v1"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ms = wall_clock_ms()

    def __call__(self) -> int:
        return self.now_ms


@asynccontextmanager
async def replica(
    settings: OverlordSettings, clock: Callable[[], int] = wall_clock_ms
) -> AsyncGenerator[tuple[FastAPI, AsyncClient]]:
    """A started replica and a client of it."""
    app = create_app(settings, clock)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://overlord") as client,
    ):
        yield app, client


async def submit(client: AsyncClient, task: dict[str, Any], **headers: str) -> str:
    """The id of a task that was accepted."""
    answer = await client.post(f"{V1}/task", json=task, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["task"]


async def status(client: AsyncClient, task_id: str) -> dict[str, Any]:
    """Druid: TaskStatusPlus"""
    return (await client.get(f"{V1}/task/{task_id}/status")).json()["status"]


async def explanation(client: AsyncClient, task_id: str) -> Explanation:
    answer = await client.get(f"{V1}/task/{task_id}/explain")
    assert answer.status_code == 200, answer.text
    return Explanation.model_validate(answer.json())


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 10) -> None:
    """Wait until an async condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to be"
        await asyncio.sleep(0.02)


async def in_state(client: AsyncClient, task_id: str, runner_status: str) -> None:
    """Wait until a task's runnerStatusCode is this one."""

    async def holds() -> bool:
        return (await status(client, task_id))["runnerStatusCode"] == runner_status

    await until(holds)
