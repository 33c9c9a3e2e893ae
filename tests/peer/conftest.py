"""The Druid of this ring, jars once a machine and one JVM once a run, and a PostgreSQL for what stands beside it."""

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.druid.install import DruidInstall, DruidMissingError, extensions, install
from tests.support.druid.workshop import Workshop
from tests.support.postgres import TestPostgres, running_postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--steps", type=int, default=None, help="how many random steps Druid's classes and ours both take")
    parser.addoption("--seed", type=int, default=None, help="which random steps")


@pytest.fixture(scope="session")
def druid() -> DruidInstall:
    with _needed():
        return install()


@pytest.fixture(scope="session")
def basic_security(druid: DruidInstall) -> Path:
    """The folder of extensions that has Druid's `druid-basic-security`."""
    with _needed():
        return extensions("druid-basic-security")


@pytest.fixture(scope="session")
def workshop(druid: DruidInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Workshop(druid, tmp_path_factory.mktemp("druid") / "workshop.log") as jvm:
        yield jvm


@pytest.fixture(scope="session")
def database() -> Iterator[TestPostgres]:
    with running_postgres() as server:
        yield server


@contextlib.contextmanager
def _needed() -> Generator[None]:
    """What is missing fails the build, and skips on a laptop."""
    try:
        yield
    except DruidMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
