"""Bytes under names, in a local folder (clouds are tried against a real server in tests/e2e)."""

import os
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from druid_core.errors import InvalidInput, NotFound, StorageAway, StorageError
from druid_core.storage import object_store
from druid_core.storage.object_store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.from_url((tmp_path / "root").as_uri())


def test_what_was_put_is_there(store: ObjectStore) -> None:
    store.put("a/b c/2026-01-01T00:00:00.000Z é", b"hello")
    assert store.get("a/b c/2026-01-01T00:00:00.000Z é") == b"hello"
    assert store.size("a/b c/2026-01-01T00:00:00.000Z é") == 5
    assert [stored.path for stored in store.list("a")] == ["a/b c/2026-01-01T00:00:00.000Z é"]


def test_a_file_is_put_as_it_is(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    store.put("copy", file)
    assert store.size("copy") == 100_000


@pytest.mark.parametrize(
    ("start", "end", "part"), [(0, None, b"hello"), (1, 3, b"el"), (3, 99, b"lo"), (5, None, b""), (9, 12, b"")]
)
def test_a_part_is_read_exactly(store: ObjectStore, start: int, end: int | None, part: bytes) -> None:
    store.put("key", b"hello")
    assert store.get("key", start, end) == part


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="nothing"):
        store.get("nothing")
    with pytest.raises(NotFound):
        store.size("nothing")


def test_deleting_twice_is_deleting_once(store: ObjectStore) -> None:
    store.put("key", b"")
    store.delete("key")
    store.delete("key")
    assert list(store.list()) == []


@pytest.mark.parametrize("url", ["ftp://host/x", "s3:///no-bucket", "hdfs://name/x"])
def test_an_address_that_is_no_store_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(InvalidInput, match="expected file:///folder"):
        ObjectStore.from_url(url)


def test_a_storage_that_refuses_says_so_in_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be used"):
        ObjectStore.from_url(str(blocked / "below"))


@pytest.fixture
def refusing_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """An S3 server that answers what is put with the status and document that the test leaves here."""
    answers: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        _at(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        yield answers
        server.shutdown()
        thread.join()


def _at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    for name, value in {**secrets, "AWS_ENDPOINT": endpoint}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_store, "_RETRY", {"max_retries": 0, "retry_timeout": timedelta(seconds=5)})


def _refusal() -> str:
    with pytest.raises(StorageError) as refused:
        ObjectStore.from_url("s3://bucket/p").put("a", b"x")
    return str(refused.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "Access to [s3://bucket/p/a] is denied: {} answers 403 Forbidden: AccessDenied, No."),
        (401, "Expired", "Access to [s3://bucket/p/a] is denied: {} answers 401 Unauthorized: Expired, No."),
        (
            500,
            "InternalError",
            "[s3://bucket/p/a] cannot be used: {} answers 500 Internal Server Error: InternalError, No.",
        ),
        (
            404,
            "NoSuchBucket",
            "[s3://bucket/p/a] cannot be written: there is no bucket, container or folder of that name",
        ),
    ],
)
def test_a_refusal_of_the_server_is_one_sentence(
    refusing_s3: list[tuple[int, str]], status: int, code: str, words: str
) -> None:
    refusing_s3.append((status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>"))
    assert _refusal() == words.format(os.environ["AWS_ENDPOINT"])


def test_a_server_that_is_not_there_is_told_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        _at(monkeypatch, endpoint)
        assert _refusal() == f"[s3://bucket/p/a] cannot be used: nobody listens at {endpoint}"
        with pytest.raises(StorageAway):
            ObjectStore.from_url("s3://bucket/p").get("a")
    _at(monkeypatch, "http://no.such.host.invalid")
    assert _refusal() == "[s3://bucket/p/a] cannot be used: no machine has the name in http://no.such.host.invalid"


def test_a_local_folder_that_refuses_says_why(tmp_path: Path) -> None:
    store = ObjectStore.from_url(str(tmp_path / "root"))
    (tmp_path / "root").rmdir()
    (tmp_path / "root").write_bytes(b"")  # a file where the folder was
    with pytest.raises(StorageError) as refused:
        store.put("a/b", b"x")
    assert str(refused.value) == f"[{(tmp_path / 'root').as_uri()}/a/b] cannot be used: Not a directory"
