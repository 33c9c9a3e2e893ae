"""What a running peon answers over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from druid_core.chat_key import chat_key
from peon.chat import ChatServer

TASK_ID = "noop ä/1%"
CHAT = "/druid/worker/v1/chat/noop%20%C3%A4%2F1%25"
LOG = b"line one\nline two\n"


class Ingestion:
    """A chat handler whose answers tell what was asked."""

    def row_stats(self, *, full: bool) -> Any:
        return {"rowStats": full}

    def live_report(self, *, full: bool) -> Any:
        return {"liveReport": full}

    def unparseable_events(self, *, full: bool) -> Any:
        return {"unparseable": full}


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[ChatServer]:
    log_file = tmp_path / "log"
    log_file.write_bytes(LOG)
    server = ChatServer("127.0.0.1", 0, TASK_ID, log_file)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(chat: ChatServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{chat.port}", trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("", LOG),
        ("?offset=", LOG),
        ("?offset=0", LOG),
        ("?offset=5", LOG[5:]),
        ("?offset=-4", LOG[-4:]),
        ("?offset=-1000", LOG),
        (f"?offset={len(LOG)}", b""),
        ("?offset=1000", b""),
    ],
)
def test_the_log_is_served_from_exactly_the_byte_asked_for(offset: str, expected: bytes, client: httpx.Client) -> None:
    answer = client.get(f"{CHAT}/log{offset}")
    assert (answer.status_code, answer.content) == (200, expected)
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-type"] == "text/plain;charset=utf-8"


def test_an_offset_that_is_no_number_is_not_found(client: httpx.Client) -> None:
    answer = client.get(f"{CHAT}/log?offset=abc")
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_task_without_handler_serves_its_log_and_nothing_else(client: httpx.Client) -> None:
    answer = client.get(f"{CHAT}/liveReports")
    assert answer.status_code == 503
    assert answer.json() == {"error": f"Can't find chatHandler for handler[{TASK_ID}]"}


@pytest.mark.parametrize(
    ("path", "key"), [("rowStats", "rowStats"), ("liveReports", "liveReport"), ("unparseableEvents", "unparseable")]
)
def test_an_ingestion_answers_what_it_is_asked(path: str, key: str, chat: ChatServer, client: httpx.Client) -> None:
    chat.handler = Ingestion()
    assert client.get(f"{CHAT}/{path}").json() == {key: False}
    assert client.get(f"{CHAT}/{path}?full").json() == {key: True}
    assert client.get(f"{CHAT}/{path}?full=true").json() == {key: True}


def test_a_call_meant_for_another_task_is_refused(chat: ChatServer, client: httpx.Client) -> None:
    chat.handler = Ingestion()
    assert client.get(f"{CHAT}/rowStats", headers={"X-Druid-Task-Id": "other"}).status_code == 400
    assert client.get(f"{CHAT}/rowStats", headers={"X-Druid-Task-Id": "noop%20%C3%A4%2F1%25"}).status_code == 200


def test_another_tasks_path_finds_no_handler(chat: ChatServer, client: httpx.Client) -> None:
    chat.handler = Ingestion()
    assert client.get("/druid/worker/v1/chat/other/rowStats").status_code == 503
    assert client.get("/druid/worker/v1/chat/other/log").status_code == 503


def test_health_is_true_and_unknown_paths_are_not_found(chat: ChatServer, client: httpx.Client) -> None:
    chat.handler = Ingestion()
    assert client.get("/status/health").json() is True
    assert client.get("/druid/v2").status_code == 404
    assert client.get(f"{CHAT}/nothing").status_code == 404


@pytest.mark.parametrize("shown", ["", "Bearer x", "Bearer the token", "Basic key", "Bearer kéy", "key"])
def test_a_peon_with_a_key_serves_whoever_shows_it(shown: str, tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_bytes(LOG)
    key = chat_key("the token")
    server = ChatServer("127.0.0.1", 0, TASK_ID, log_file, key=key)
    server.handler = Ingestion()
    server.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            for path in ("log", "rowStats", "liveReports", "unparseableEvents"):
                refused = client.get(f"{CHAT}/{path}", headers=[(b"Authorization", shown.encode())])
                assert refused.status_code == 401
                assert LOG not in refused.content
                assert client.get(f"{CHAT}/{path}", headers={"Authorization": f"Bearer {key}"}).status_code == 200
            assert client.get("/status/health").json() is True
    finally:
        server.stop()


def test_a_key_tells_nothing_of_its_token() -> None:
    assert chat_key("a") == chat_key("a") != chat_key("b")
    assert len(chat_key("a")) == 43


def test_a_taken_port_gives_way_to_a_free_one(chat: ChatServer) -> None:
    second = ChatServer("127.0.0.1", chat.port, "second", None)
    try:
        assert second.port != chat.port
    finally:
        second._server.server_close()  # pyright: ignore[reportPrivateUsage]
