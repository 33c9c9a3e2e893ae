"""Clients that others wrote, each in an environment of its own, and what they call."""

import asyncio
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.clients.environment import ClientMissing, client_python
from tests.support.postgres import TestPostgres, running_postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=None, help="how many calls schemathesis makes at least")


@pytest.fixture(scope="session")
def airflow() -> Path:
    """The Python that has Airflow with its Druid provider."""
    return _client("airflow")


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """The Python that has schemathesis."""
    return _client("schemathesis")


@pytest.fixture(scope="module")
def postgres() -> Generator[TestPostgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres: TestPostgres) -> Generator[str]:
    """A migrated database, all tables empty."""
    url = asyncio.run(postgres.clone())
    yield url
    asyncio.run(postgres.drop(url))


def _client(name: str) -> Path:
    try:
        return client_python(name)
    except ClientMissing as missing:
        # Skipped on a laptop without a network; a failure where everything ought to be there.
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
