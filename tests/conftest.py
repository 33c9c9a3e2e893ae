"""What all rings share: one control plane and one node a run, made by the first test that asks."""

import os
import signal
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

import pytest

from tests.support.cluster.binaries import ProgramMissing
from tests.support.cluster.control_plane import ControlPlane, running_control_plane
from tests.support.cluster.node import Node, running_node

_PATIENT_SECONDS = 1200
"""The first test that asks for a node may have to build images first."""

_Cluster = TypeVar("_Cluster", bound=ControlPlane)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "node" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_PATIENT_SECONDS))


@pytest.fixture(autouse=True)
def _signals_stay_heard() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    """A test that left signals blocked would have every program of a later test inherit that, and hear no SIGTERM."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert signal.pthread_sigmask(signal.SIG_SETMASK, blocked) == blocked, "the test left signals blocked"


@pytest.fixture(scope="session")
def kube() -> Generator[ControlPlane]:
    """A real etcd, API server, controller manager and scheduler, with our resources. No node: tests play kubelet."""
    yield from _running(running_control_plane())


@pytest.fixture
def own_kube() -> Generator[ControlPlane]:
    """A control plane for a test that kills parts of it."""
    yield from _running(running_control_plane())


@pytest.fixture
def forgetful_kube() -> Generator[ControlPlane]:
    """A control plane that keeps no history of its objects for longer than a second or two."""
    yield from _running(running_control_plane(options=("--etcd-compaction-interval", "1s")))


@pytest.fixture
def namespace(kube: ControlPlane) -> Generator[str]:
    """A namespace of the control plane for one test."""
    name = kube.new_namespace()
    yield name
    kube.delete_namespace(name)


@pytest.fixture(scope="session")
def node() -> Generator[Node]:
    """A whole Kubernetes of one real node, with our resources."""
    yield from _running(running_node())


def _running(cluster: AbstractContextManager[_Cluster]) -> Generator[_Cluster]:
    try:
        started = cluster.__enter__()
    except ProgramMissing as missing:
        # Skipped on a laptop; a failure where everything ought to be there.
        _fail_or_skip(str(missing))
    try:
        started.apply_crds()
        yield started
    finally:
        cluster.__exit__(None, None, None)


def _fail_or_skip(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
