"""A storage that breaks off: the process that writes to it dies after so many steps."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from druid_core.storage.object_store import ObjectStore, StoredObject


class BrokenOff(Exception):
    """Here the process died. No NemetonError: nobody is to handle it."""


class BrokenStore(ObjectStore):
    """`store`, until it has changed something `steps` times; the next change does not happen any more."""

    def __init__(self, store: ObjectStore, steps: int) -> None:
        super().__init__(store.url, store.scheme, store.bucket, store.prefix, store._store)  # pyright: ignore[reportPrivateUsage]
        self._left = steps

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        self._step()
        super().put(path, data)

    def copy(self, path: str, to: str) -> None:
        self._step()
        super().copy(path, to)

    def delete(self, path: str) -> None:
        self._step()
        super().delete(path)

    def delete_all(self, paths: Sequence[str]) -> None:
        for path in paths:
            self.delete(path)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return super().list(prefix)

    def _step(self) -> None:
        if self._left == 0:
            raise BrokenOff
        self._left -= 1
