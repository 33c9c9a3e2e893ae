"""The Druid of this ring: jars once a machine, one JVM once a run."""

import os
from collections.abc import Iterator

import pytest

from tests.support.druid.install import DruidInstall, DruidMissingError, install
from tests.support.druid.workshop import Workshop


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--steps", type=int, default=None, help="how many random steps Druid's classes and ours both take")
    parser.addoption("--seed", type=int, default=None, help="which random steps")


@pytest.fixture(scope="session")
def druid() -> DruidInstall:
    try:
        return install()
    except DruidMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def workshop(druid: DruidInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Workshop(druid, tmp_path_factory.mktemp("druid") / "workshop.log") as jvm:
        yield jvm
