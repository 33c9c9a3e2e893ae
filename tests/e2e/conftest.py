from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.house import House


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=None, help="how often the chaos tests kill something")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """One house for the tests of a module that leave it as they found it."""
    with House(tmp_path_factory.mktemp("house") / "data") as house:
        yield house


@pytest.fixture
def own_house(tmp_path: Path) -> Generator[House]:
    """A house for a test that kills it."""
    with House(tmp_path / "data") as house:
        yield house
