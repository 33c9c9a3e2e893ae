"""Bytes under names, in a local folder (clouds are tried against a real server in tests/e2e)."""

from pathlib import Path

import pytest

from druid_core.errors import InvalidInput, NotFound, StorageError
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
