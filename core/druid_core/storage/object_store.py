"""
Bytes under names, wherever they lie: a local folder, S3, Google Cloud Storage or Azure.

Credentials come from each cloud's own environment variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`,
`GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …) or from the machine's identity.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, from_url

from druid_core.errors import InvalidInput, NotFound, StorageAway, StorageError

if TYPE_CHECKING:  # the library has these for type checkers alone
    from obstore.store import RetryConfig

_CLOUDS = {"s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "azure": "az"}
_RETRY: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}
_PIECE_BYTES = 5 << 20
"""Of what is uploaded in pieces: the least that S3 takes."""
_UPLOADS_AT_ONCE = 4
"""Of pieces: what a large object takes of memory is so many times that."""

_MACHINE_IDENTITY = "http://169.254.169.254"
"""Where a cloud's machine asks for credentials of its own: the last resort of the library."""

_UNREACHABLE = {
    "ConnectionRefused": "nobody listens at",
    "dns error": "no machine has the name in",
    "TimedOut": "no answer in time from",
    "operation timed out": "no answer in time from",
}
"""Signs in the library's dump of an error, and what to say before the server's address."""


def check_url(url: str) -> None:
    """Raises InvalidInput, naming what was expected, for a URL that no `ObjectStore` can be made of."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "file") and (parts.scheme not in _CLOUDS or not parts.netloc):
        raise InvalidInput(
            f"[{url}] is no object store: expected file:///folder, s3://bucket/prefix, gs://bucket/prefix "
            "or az://container/prefix"
        )


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its path below the store's root, its size in bytes, when it was last written (ms UTC)."""

    path: str
    size: int
    modified_ms: int


class ObjectStore:
    """
    A root below which objects are kept. Paths are relative, with `/` between their parts.

    Every method raises StorageError where the storage refuses, StorageAway where it does not answer after some tries,
    and NotFound where the object does not exist.
    """

    def __init__(self, url: str, scheme: str, bucket: str, prefix: str, store: obstore.store.ObjectStore) -> None:
        self.url = url
        self.scheme = scheme  # file | s3 | gs | az
        self.bucket = bucket  # empty for file
        self.prefix = prefix  # without slashes at its ends; for file the absolute folder
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> "ObjectStore":
        """
        From `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or a plain path.

        Raises InvalidInput naming what was expected.
        """
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            folder = Path(unquote(parts.path) if parts.scheme else url).absolute()
            with _as_domain_errors(str(folder)):
                folder.mkdir(parents=True, exist_ok=True)
                return cls(folder.as_uri(), "file", "", str(folder), LocalStore(folder, automatic_cleanup=True))
        check_url(url)
        scheme, prefix = _CLOUDS[parts.scheme], parts.path.strip("/")
        with _as_domain_errors(url):
            store = from_url(
                f"{scheme}://{parts.netloc}/{prefix}",
                client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
                retry_config=_RETRY,
            )
        return cls(url, scheme, parts.netloc, prefix, store)

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        """Write an object whole, from memory, a file or chunks that follow; an older one of the path is replaced."""
        with _as_domain_errors(self.describe(path), writes=True):
            if isinstance(data, bytes | Path):
                obstore.put(self._store, path, data, max_concurrency=_UPLOADS_AT_ONCE)
                return
            # The iterator is not handed over: one that reads from a store would call the library from within itself.
            writer = obstore.open_writer(self._store, path, buffer_size=_PIECE_BYTES, max_concurrency=_UPLOADS_AT_ONCE)
            for chunk in data:
                writer.write(chunk)
            writer.close()  # only now is there an object; where a chunk cannot be had, there is none

    def copy(self, path: str, to: str) -> None:
        """Have the storage copy an object; an older one at `to` is replaced."""
        with _as_domain_errors(self.describe(path)):
            obstore.copy(self._store, path, to)

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes `start` up to but not including `end` (None: all the rest)."""
        with _as_domain_errors(self.describe(path)):
            if start == 0 and end is None:
                return bytes(obstore.get(self._store, path).bytes())
            size = self.size(path)
            end = size if end is None else min(end, size)
            if start >= end:
                return b""
            return bytes(obstore.get_range(self._store, path, start=start, end=end))

    def download(self, path: str, file: Path) -> None:
        """All bytes of an object as a file, piece by piece. What goes wrong with the file is an OSError."""
        with _as_domain_errors(self.describe(path)):
            pieces = iter(obstore.get(self._store, path))
        with file.open("wb") as sink:
            while True:
                with _as_domain_errors(self.describe(path)):
                    piece = next(pieces, None)
                if piece is None:
                    return
                sink.write(piece)

    def size(self, path: str) -> int:
        """The object's size in bytes."""
        with _as_domain_errors(self.describe(path)):
            return obstore.head(self._store, path)["size"]

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects below a folder, in no order."""
        with _as_domain_errors(self.describe(prefix)):
            for page in obstore.list(self._store, prefix or None):
                for meta in page:
                    modified_ms = int(meta["last_modified"].timestamp() * 1000)
                    yield StoredObject(meta["path"], meta["size"], modified_ms)

    def delete(self, path: str) -> None:
        """Remove an object. One that is gone already is no error: calling twice is calling once."""
        try:
            with _as_domain_errors(self.describe(path)):
                obstore.delete(self._store, path)
        except NotFound:
            return

    def delete_all(self, paths: Sequence[str]) -> None:
        """Remove objects, many at a time where the storage can. Those that are gone already are no error."""
        try:
            with _as_domain_errors(self.url):
                if paths:
                    obstore.delete(self._store, paths)
        except NotFound:  # and nobody says how many of the others it has removed
            for path in paths:
                self.delete(path)

    def describe(self, path: str) -> str:
        """The object's full address, for messages."""
        return f"{self.url.rstrip('/')}/{path}"


@contextmanager
def _as_domain_errors(address: str, *, writes: bool = False) -> Generator[None]:
    """The library's errors, and the file system's, as ours. With `writes` it is not the object that is missing."""
    try:
        yield
    except FileNotFoundError as error:
        if writes:
            what = "there is no bucket, container or folder of that name"
            raise StorageError(f"[{address}] cannot be written: {what}") from error
        raise NotFound(f"[{address}] does not exist") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise StorageError(f"Access to [{address}] is denied: {_why(error)}") from error
    except (BaseError, OSError, ValueError) as error:
        kind = StorageAway if _may_come_back(error) else StorageError
        raise kind(f"[{address}] cannot be used: {_why(error)}") from error


def _may_come_back(error: Exception) -> bool:
    """Whether a server did not answer, or said that the fault is its own (5xx), or that it has too much to do."""
    line = str(error).partition("\n")[0]
    return "error sending request" in line or re.search(r"status code: (5\d\d|429)", line) is not None


def _why(error: Exception) -> str:
    """
    What the library means, for people: the server's own words or what is wrong with the way to it.

    Its text is one line for people with URLs and durations in it, and below that a dump of its objects, which alone
    says why a connection failed.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    line = text.partition("\n")[0]
    asked = re.search(r"Error performing \w+ (https?://[^/\s]+)", line)
    server = asked[1] if asked else "the server"
    if server == _MACHINE_IDENTITY:
        return "there are no credentials, neither in the environment nor by the machine's identity"
    answer = re.search(r"status code: (\d+[^:]*)(?:: (.*))?", line)
    if answer is not None:
        return f"{server} answers {answer[1].strip()}{_in_xml(answer[2] or '')}"
    if "error sending request" in line:
        known = (words for sign, words in _UNREACHABLE.items() if sign in text)
        return f"{next(known, 'cannot reach')} {server}"
    system = re.search(r'Os \{\s*code: \d+,\s*kind: \w+,\s*message: "([^"]*)"', text)
    if system is not None:
        return system[1]
    return re.sub(r"^Generic (\w+) error: ", "", line)


def _in_xml(answer: str) -> str:
    """`: AccessDenied, Access Denied.` of S3's and Azure's error documents; nothing of others."""
    parts = [found[1] for name in ("Code", "Message") if (found := re.search(f"<{name}>([^<]+)</{name}>", answer))]
    return f": {', '.join(parts)}" if parts else ""
