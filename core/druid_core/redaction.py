"""What others than a task's own peon may not see of it: passwords, keys, tokens, in fields and inside of addresses."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote, unquote

COVER = "********"

_DEEPEST = 200
"""Objects and lists inside each other; whatever lies deeper is nobody's spec, and covered whole."""

_SHORTEST = 4
"""Characters of a secret that is looked for in texts: a shorter one is in every second word."""


def without_secrets(value: Any) -> Any:
    """JSON with its secrets covered; what holds none is returned as it is, not copied."""
    return _walked(value, lambda _: None)


def secrets_in(value: Any) -> frozenset[str]:
    """The texts that `without_secrets` would cover."""
    found: set[str] = set()
    _walked(value, found.add)
    return frozenset(found)


def covered(text: str, secrets: Iterable[str]) -> str:
    """A text, JSON or not, without these secrets. Longer ones first: one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, COVER).replace(json.dumps(secret, ensure_ascii=False)[1:-1], COVER)
    return text


def _walked(value: Any, find: Callable[[str], None], depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return COVER
    if isinstance(value, Mapping):
        changed: dict[str, Any] = {}
        fields = cast("dict[str, Any]", value)
        for name, item in fields.items():
            clean = _all_covered(item, find) if _is_secret(name) else _walked(item, find, depth + 1)
            if clean is not item:
                changed[name] = clean
        return {**fields, **changed} if changed else fields
    if isinstance(value, list):
        items = cast("list[Any]", value)
        cleaned = [_walked(item, find, depth + 1) for item in items]
        return cleaned if any(new is not old for new, old in zip(cleaned, items, strict=True)) else items
    if isinstance(value, str) and (address := _ADDRESS.match(value)):
        clean = _in_address(address, find)
        return clean if clean != value else value
    return value


def _all_covered(value: Any, find: Callable[[str], None], depth: int = 0) -> Any:
    """What a secret field holds: a text, several, or an object. What says where a secret is to be found stays."""
    if depth > _DEEPEST:
        return COVER
    if isinstance(value, str):
        find(value)
        return COVER
    if isinstance(value, list):
        return [_all_covered(each, find, depth + 1) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: item if name in _WHERE else _all_covered(item, find, depth + 1) for name, item in fields.items()}
    return value


def _in_address(match: re.Match[str], find: Callable[[str], None]) -> str:
    """User and password before a host, and the values of parameters that sign or open."""
    authority, rest = match["authority"], match["rest"]
    if "@" in authority:
        who, _, host = authority.rpartition("@")
    elif "@" in rest and _PASSWORD_BEGUN.search(authority):
        # a password that was not percent-encoded: to whoever reads the address it goes on to the last @
        who, _, host = f"{authority}{rest}".rpartition("@")
        rest = ""
    else:
        who, host = "", authority

    def user(who: str) -> str:
        name, colon, password = who.partition(":")
        _find_all(password if colon else name, find)
        return f"{name}:{COVER}@" if colon else f"{COVER}@"

    def parameter(match: re.Match[str]) -> str:
        _find_all(match["value"], find)
        return f"{match['name']}{COVER}"

    others = _USER.sub(lambda match: f"{match['scheme']}{user(match['user'])}", f"{host}{rest}")
    return f"{match['scheme']}{user(who) if who else ''}{_PARAMETER.sub(parameter, others)}"


def _find_all(secret: str, find: Callable[[str], None]) -> None:
    """As it stands in the address, as it is meant, and as a client may write it."""
    if secret != COVER:
        plain = unquote(secret)
        for each in (secret, plain, quote(plain, safe="")):
            find(each)


def _is_secret(name: str) -> bool:
    return name in _SECRET_FIELDS or _SECRET_WORD.search(name) is not None


_SECRET_FIELDS = frozenset({"accessKeyId", "key", "requestHeaders", "sasl.jaas.config"})
_SECRET_WORD = re.compile(
    r"passw(or)?d|passphrase|secret|credential|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|authorization", re.I
)
_WHERE = frozenset({"type", "variable"})
"""Of a password provider: that it is taken from the environment, and from which variable. Druid: PasswordProvider"""

_ADDRESS = re.compile(r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]*:)+//)(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
"""A text that is an address, be it one that no client could use: what stands in it may be a secret all the same."""
_PASSWORD_BEGUN = re.compile(r"^[^\[:]*:.*[^0-9]")
"""What is before the first slash, where a host's port would be a number."""
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#@\s\"'\]]+)@")
"""Of further addresses in the same text."""
_PARAMETER = re.compile(
    r"(?P<name>[?&#;](?:code|pass|pwd|auth|jwt|sid|session_?id"
    r"|[^=&#;\s\"'\]]*(?:sig|signature|credential|token|secret|passw(?:or)?d|key)[^=&#;\s\"'\]]*)=)"
    r"(?P<value>[^&#]+)",
    re.I,
)
