"""One installation of the chart on the node for all tests that leave it as they found it."""

import os
from collections.abc import Generator

import pytest

from tests.support.cluster.node import Node
from tests.support.druid.install import DruidMissingError, install
from tests.support.druid.workshop import Workshop
from tests.support.installed import RESTRICTED, Installation


@pytest.fixture(scope="session")
def installed(node: Node) -> Generator[Installation]:
    namespace = node.new_namespace(RESTRICTED, prefix="druid")
    installation = Installation(node, namespace)
    installation.install()
    yield installation
    node.delete_namespace(namespace)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Workshop]:
    """A JVM of Druid that reads segments."""
    try:
        druid = install()
    except DruidMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with Workshop(druid, tmp_path_factory.mktemp("druid") / "workshop.log") as jvm:
        yield jvm
