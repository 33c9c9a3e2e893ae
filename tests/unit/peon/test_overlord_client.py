"""A peon's line to the Overlord: what is tried again, and what is final."""

from collections.abc import Callable, Iterator

import pytest

from druid_core.errors import TaskFailure
from peon.overlord_client import OverlordClient, Refused, TaskHeader
from peon.stop import StopSignal, TaskCanceled
from tests.support.fake_overlord import FakeOverlord

LOCK_LIST = {"type": "lockList"}


@pytest.fixture
def overlord() -> Iterator[FakeOverlord]:
    fake = FakeOverlord()
    yield fake
    fake.go_away()


Connect = Callable[..., OverlordClient]


@pytest.fixture
def connect(overlord: FakeOverlord) -> Iterator[Connect]:
    """Makes clients, and hangs up for them."""
    clients: list[OverlordClient] = []

    def client(wait: Callable[[float], None] = lambda _: None, token: str | None = None) -> OverlordClient:
        clients.append(OverlordClient(overlord.url, token, wait))
        clients[-1].speak_for(TaskHeader("t", "noop", "g", "ds"))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


def test_an_action_travels_with_the_task_and_the_token(connect: Connect, overlord: FakeOverlord) -> None:
    overlord.results["lockList"] = lambda _: ["a lock"]
    assert connect(token="secret").send_action(LOCK_LIST) == ["a lock"]
    assert overlord.actions == [
        {"task": {"type": "noop", "id": "t", "groupId": "g", "dataSource": "ds"}, "action": LOCK_LIST}
    ]
    assert overlord.tokens == ["Bearer secret"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_trouble_of_the_server_is_tried_again_with_growing_pauses(
    status: int, connect: Connect, overlord: FakeOverlord
) -> None:
    overlord.refusals += [(status, {"error": "not now"})] * 8
    waits: list[float] = []
    assert connect(waits.append).send_action(LOCK_LIST) is None
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_refusal_is_final_and_in_the_overlords_words(connect: Connect, overlord: FakeOverlord) -> None:
    overlord.refusals.append((403, {"error": "forbidden", "errorMessage": "attempt 1 of task [t] is void"}))
    with pytest.raises(TaskFailure, match=r"attempt 1 of task \[t\] is void") as refused:
        connect().send_action(LOCK_LIST)
    assert isinstance(refused.value, Refused)
    assert refused.value.status == 403


def test_an_overlord_that_restarts_is_waited_for(connect: Connect, overlord: FakeOverlord) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            overlord.come_back()

    client = connect(wait)
    client.send_action(LOCK_LIST)
    overlord.go_away()
    client.send_action(LOCK_LIST)
    assert len(waits) == 3
    assert len(overlord.actions) == 2


def test_a_peon_that_is_told_to_stop_waits_no_longer(connect: Connect, overlord: FakeOverlord) -> None:
    stop = StopSignal()
    stop.stop("enough")
    overlord.refusals.append((500, {"error": "not now"}))
    with pytest.raises(TaskCanceled, match="enough"):
        connect(stop.wait).send_action(LOCK_LIST)


def test_the_payload_of_any_id_is_found(connect: Connect, overlord: FakeOverlord) -> None:
    payload = {"type": "noop", "id": "ä b/%2F?"}
    overlord.payloads[payload["id"]] = payload
    assert connect(token="secret").fetch_payload(payload["id"]) == payload
    assert overlord.tokens == ["Bearer secret"]
