"""
How the client commands say who calls. Nothing secret is ever an option: everybody may read the list of processes.

Asked in this order: the URL itself, NEMETON_TOKEN or NEMETON_TOKEN_FILE (a bearer token), NEMETON_USER with
NEMETON_PASSWORD or NEMETON_PASSWORD_FILE, the `.netrc` of whoever calls; last, on a terminal, the person.
"""

import base64
import getpass
import netrc
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from druid_core.errors import InvalidInput

HOW = (
    "sign in with NEMETON_USER and NEMETON_PASSWORD (or NEMETON_PASSWORD_FILE), with NEMETON_TOKEN (or "
    "NEMETON_TOKEN_FILE), or with a line of ~/.netrc"
)


def authorization(host: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """
    The header `Authorization` for calls to `host`; None where nothing is said, so that nobody is named.

    Raises InvalidInput where something is said by half, or cannot be read.
    """
    token = _secret("NEMETON_TOKEN", environment)
    if token is not None:
        return f"Bearer {token}"
    user = environment.get("NEMETON_USER")
    if user:
        password = _secret("NEMETON_PASSWORD", environment)
        if password is None and not is_with_a_person():
            raise InvalidInput("NEMETON_USER is set, and neither NEMETON_PASSWORD nor NEMETON_PASSWORD_FILE is")
        return basic(user, getpass.getpass(f"Password of {user}: ") if password is None else password)
    found = _of_netrc(host, environment)
    return None if found is None else basic(*found)


def asked_of_a_person(url: str) -> str | None:
    """The same, of whoever sits at the terminal; None where nobody does."""
    if not is_with_a_person():
        return None
    print(f"{url} asks who you are.", file=sys.stderr)
    print("User: ", end="", file=sys.stderr, flush=True)
    user = sys.stdin.readline().strip()
    return basic(user, getpass.getpass("Password: "))


def basic(user: str, password: str) -> str:
    """In UTF-8, as Druid and this Overlord read it."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def new_password(user: str, *, from_stdin: bool) -> str:
    """For a user who gets one: a line of the standard input, else typed twice. Raises InvalidInput."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif not is_with_a_person():
        raise InvalidInput("Nobody is there to type a password: give it by the standard input, with --password-stdin")
    else:
        password = getpass.getpass(f"New password of {user}: ")
        if getpass.getpass("Once more: ") != password:
            raise InvalidInput("The two passwords are not the same; nothing was changed")
    if not password:
        raise InvalidInput("The password is empty; nothing was changed")
    return password


def is_with_a_person() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _secret(name: str, environment: Mapping[str, str]) -> str | None:
    """The variable, or the file that the variable with `_FILE` names. Raises InvalidInput for one without words."""
    if value := environment.get(name):
        return value
    file = environment.get(f"{name}_FILE")
    if not file:
        return None
    try:
        value = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"{name}_FILE [{file}] cannot be read: {why}") from error
    if not value:
        raise InvalidInput(f"{name}_FILE [{file}] is empty")
    return value


def _of_netrc(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    named = environment.get("NETRC")
    file = Path(named) if named else Path.home() / ".netrc"
    if not file.exists():
        return None
    try:
        found = netrc.netrc(str(file)).hosts.get(host)  # not `default`, which is for whoever asks
    except (OSError, netrc.NetrcParseError) as error:
        # the error's own words may quote the line
        raise InvalidInput(f"{file} cannot be read as a .netrc: {type(error).__name__}") from error
    return (found[0], found[2]) if found is not None and found[0] else None
