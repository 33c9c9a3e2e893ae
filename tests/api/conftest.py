"""A real Postgres a run, a database of its own and a real replica of the Overlord a test."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from overlord.app import create_app
from overlord.db.pool import Pool, connect
from overlord.settings import OverlordSettings
from tests.support.postgres import TestPostgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestPostgres]:
    """Fails in CI, skips with the reason elsewhere, when there is none."""
    try:
        running = running_postgres()
        server = running.__enter__()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield server
    running.__exit__(None, None, None)


@pytest.fixture
async def database_url(postgres: TestPostgres) -> AsyncIterator[str]:
    """A migrated database, all tables empty."""
    url = await postgres.clone()
    yield url
    await postgres.drop(url)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A look into the database from outside the Overlord."""
    pool = await connect(database_url, min_size=1, max_size=8)
    yield pool
    pool.terminate()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> OverlordSettings:
    return OverlordSettings(
        database_url=database_url,
        task_logs=(tmp_path / "task-logs").as_uri(),
        log_wait_ms=500,
        queue_interval_ms=100,
        local_input_paths=("/",),
    )


@pytest.fixture
async def app(settings: OverlordSettings) -> AsyncIterator[FastAPI]:
    """A started replica."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def overlord(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client of that replica."""
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://overlord:8090") as client:
        yield client
