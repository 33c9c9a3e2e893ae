"""A release of its own for the test that kills everything in it."""

from collections.abc import Generator

import pytest

from tests.support.cluster.node import Node
from tests.support.installed import RESTRICTED, Installation


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tasks", type=int, default=None, help="how many tasks the chaos on a cluster lasts for")


@pytest.fixture
def besieged(node: Node) -> Generator[Installation]:
    namespace = node.new_namespace(RESTRICTED, prefix="chaos")
    installation = Installation(node, namespace)
    # every end that was not the task's own is repeated: then each task must succeed, and no end is excused
    installation.install({"operator": {"capacity": 6, "settings": {"retry_limit": 50, "retry_free_limit": 50}}})
    yield installation
    node.delete_namespace(namespace)
