"""An Overlord as users run it: a process that listens on a port of this machine."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from httpx import AsyncClient, ConnectError

from tests.support.druid.processes import start, stop
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
UP_WITHIN_S = 60
"""On a machine that does other things as well."""


@asynccontextmanager
async def running_overlord(database_url: str, folder: Path, **settings: str) -> AsyncGenerator[AsyncClient]:
    """A client of it, once it is ready, until the block ends. `settings` by their names; its log goes to `folder`."""
    port = free_port()
    environment = {
        "PYTHONPATH": os.pathsep.join(str(ROOT / room) for room in ("core", "api")),
        "NEMETON_DATABASE_URL": database_url,
        "NEMETON_PORT": str(port),
        **{f"NEMETON_{name.upper()}": value for name, value in settings.items()},
    }
    process = start([sys.executable, "-m", "overlord.server"], folder / "overlord.log", folder, environment)
    try:
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client:
            await _ready(client)
            yield client
    finally:
        stop(process)


async def _ready(client: AsyncClient) -> None:
    async with asyncio.timeout(UP_WITHIN_S):
        while True:
            try:
                if (await client.get("/status/ready")).status_code == 200:
                    return
            except ConnectError:
                pass
            await asyncio.sleep(0.1)
