"""From an input source of a spec to the entities to be read, in a fixed order."""

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, assert_never
from urllib.parse import quote, urlsplit

from druid_core.errors import InvalidInput, TaskFailure
from druid_core.input_policy import InputPolicy
from druid_core.spec.input import EntitySource, HttpSource, InlineSource, LocalSource
from peon.read.entity import InputEntity

_NOT_FOR_SPECS = ("NEMETON_", "AWS_", "AZURE_", "GOOGLE_")
"""What the peon itself signs in with: else a spec could send it to a server of its writer's."""

_PATH_CHARACTERS = "/:@!$&'()*+,;=~-._"


def entities(source: EntitySource, policy: InputPolicy) -> Iterator[InputEntity]:
    """
    What the source consists of; empty files and what does not exist are left out, as Druid leaves them out.

    Raises TaskFailure for a folder that cannot be listed and for what `policy` does not allow.
    """
    try:
        yield from _entities(source, policy)
    except InvalidInput as error:
        raise TaskFailure(str(error)) from error


def _entities(source: EntitySource, policy: InputPolicy) -> Iterator[InputEntity]:
    match source:
        case InlineSource(data=data):
            yield InputEntity(None, "", partial(io.BytesIO, data.encode("utf-8", "replace")))
        case LocalSource():
            yield from map(_file_entity, _local_files(source, policy))
        case HttpSource():
            yield from _http_entities(source, policy)
        case _:
            assert_never(source)


def _local_files(source: LocalSource, policy: InputPolicy) -> Iterator[Path]:
    """Each where it really lies, links followed, asked about. Druid: LocalInputSource.getFileIterator"""
    if source.base_dir is not None:
        policy.check_file(Path(source.base_dir))
    for path in _found_files(source):
        policy.check_file(path)
        yield path


def _found_files(source: LocalSource) -> Iterator[Path]:
    listed = [Path(path) for path in source.files]
    if source.base_dir is not None:
        fits = _wildcard(source.filter or "")
        named = {path.name for path in listed}
        for path in _walk(Path(source.base_dir).absolute()):
            # A file of that name under `files` stands for all of that name here, wherever they are.
            if fits.fullmatch(path.name) and path.name not in named and _size(path):
                yield path
    for path in listed:
        if _size(path):
            yield path.absolute()


def _walk(folder: Path) -> Iterator[Path]:
    """All files under a folder, each folder in order of names; nothing if it does not exist."""
    if not _is_folder(folder):
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise TaskFailure(f"Cannot list the folder [{folder}] of the input source: {error.strerror}") from error
    for entry in entries:
        if _is_folder(entry):
            yield from _walk(entry)
        else:
            yield entry


def _is_folder(path: Path) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _size(path: Path) -> int:
    """In bytes; 0 for what does not exist."""
    status = _status(path)
    return 0 if status is None else status.st_size


def _status(path: Path) -> os.stat_result | None:
    """
    None for what does not exist, links to nothing included.

    Raises TaskFailure where we may not look: input that is passed over in silence would be data lost.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return None
        raise TaskFailure(f"Cannot look at [{path}] of the input source: {error.strerror}") from error
    except ValueError:  # a null character in the name
        return None


def _wildcard(pattern: str) -> re.Pattern[str]:
    """`*` and `?`, nothing else is special. Commons IO: WildcardFileFilter"""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _file_entity(path: Path) -> InputEntity:
    def open_raw() -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise TaskFailure(f"Cannot read the file [{path}] of the input source: {error.strerror}") from error

    # As Java writes it: one slash. java.io.File.toURI
    return InputEntity(f"file:{quote(str(path), safe=_PATH_CHARACTERS)}", str(path), open_raw, path)


def _http_entities(source: HttpSource, policy: InputPolicy) -> Iterator[InputEntity]:
    """Druid: HttpInputSource, HttpEntity"""
    headers = {str(name): str(value) for name, value in source.request_headers.items()}
    credentials = None
    if source.http_authentication_username:
        password = _password(source.http_authentication_password) or ""
        credentials = f"{source.http_authentication_username}:{password}"
    for uri in source.uris:
        policy.check_protocol(urlsplit(uri).scheme)
        yield InputEntity(uri, urlsplit(uri).path, partial(_http_stream, uri, headers, credentials, policy))


def _http_stream(uri: str, headers: dict[str, str], credentials: str | None, policy: InputPolicy) -> BinaryIO:
    # Only tasks that read over the network wait for its libraries.
    from peon.read.http_stream import HttpStream

    return io.BufferedReader(HttpStream(uri, headers, credentials, policy), 1 << 20)


def _password(provider: dict[str, Any] | str | None) -> str | None:
    """Druid: PasswordProvider"""
    if not isinstance(provider, dict):
        return provider
    if provider.get("type") == "environment":
        variable = str(provider.get("variable"))
        if variable.startswith(_NOT_FOR_SPECS):
            raise TaskFailure(f"The environment variable [{variable}] is not for passwords of input sources")
        if variable not in os.environ:
            raise TaskFailure(
                f"The password of the http input source is in the environment variable [{variable}], unset here"
            )
        return os.environ[variable]
    return provider.get("password")
