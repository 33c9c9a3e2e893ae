"""What others than a task's own peon may not see of it: passwords, keys, tokens, in fields, addresses, any text."""

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

_MOST_ENCODED = 3
"""Times that a name is percent-decoded: a proxy on the way may do so once more than the server."""


def without_secrets(value: Any) -> Any:
    """JSON, or a text such as an error's, with its secrets covered; what holds none is returned as it is."""
    return _walked(value, lambda _: None)


def secrets_in(value: Any) -> frozenset[str]:
    """The texts that `without_secrets` would cover."""
    found: set[str] = set()
    _walked(value, found.add)
    return frozenset(found)


def covered(text: str, secrets: Iterable[str]) -> str:
    """A text, JSON or not, without these secrets. Longer ones first: one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        # what stands for itself in JSON is in every second report, and covering it would leave none
        if len(secret) >= _SHORTEST and secret not in _LITERALS:
            text = text.replace(secret, COVER).replace(json.dumps(secret, ensure_ascii=False)[1:-1], COVER)
    return text


def _walked(value: Any, find: Callable[[str], None], depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return COVER
    if isinstance(value, str):
        return _in_text(value, find, depth)
    if isinstance(value, Mapping):
        fields = cast("dict[str, Any]", value)
        cleaned = {name: _field(name, item, find, depth, fields) for name, item in fields.items()}
        changed = any(cleaned[name] is not item for name, item in fields.items())
        if any("://" in name for name in fields):
            return _with_clean_names(cleaned, find) if changed else _with_clean_names(fields, find)
        return cleaned if changed else fields
    if isinstance(value, list):
        items = cast("list[Any]", value)
        new_items = [_walked(item, find, depth + 1) for item in items]
        return new_items if any(new is not old for new, old in zip(new_items, items, strict=True)) else items
    return value


def _field(name: str, item: Any, find: Callable[[str], None], depth: int, fields: Mapping[str, Any]) -> Any:
    if name in _SECRET_FIELDS or _SECRET_WORD.search(name):
        return _number_covered(name, _all_covered(item, find), find)
    if isinstance(item, str):
        if _SECRET_TEXT.search(name):
            return item if item.lower() in _KINDS else _all_covered(item, find)
        if name in _PROGRAMS or (name == "data" and fields.get("type") == "inline"):
            return _in_address(item, find)
    return _walked(item, find, depth + 1)


def _with_clean_names(fields: dict[str, Any], find: Callable[[str], None]) -> dict[str, Any]:
    """An object whose names may be addresses; two that look alike when covered both stay."""
    renamed: dict[str, Any] = {}
    for name, item in fields.items():
        clean = _in_text(name, find, 0)
        while clean in renamed:
            clean += "*"
        renamed[clean] = item
    return fields if list(renamed) == list(fields) else renamed


def _all_covered(value: Any, find: Callable[[str], None], depth: int = 0) -> Any:
    """What a secret field holds: a text, several, or an object. What says where a secret is to be found stays."""
    if depth > _DEEPEST:
        return COVER
    if isinstance(value, str):
        if value == COVER:
            return value
        find(value)
        return COVER
    if isinstance(value, list):
        items = cast("list[Any]", value)
        cleaned = [_all_covered(each, find, depth + 1) for each in items]
        return cleaned if any(new is not old for new, old in zip(cleaned, items, strict=True)) else items
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        inside = {
            name: item if name in _WHERE else _number_covered(name, _all_covered(item, find, depth + 1), find)
            for name, item in fields.items()
        }
        return inside if any(inside[name] is not item for name, item in fields.items()) else fields
    return value


def _number_covered(name: str, value: Any, find: Callable[[str], None]) -> Any:
    """A password of digits may come as a number; a number of tokens is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _SECRET_NUMBER.search(name):
        return value
    find(str(value))
    return COVER


def _in_text(text: str, find: Callable[[str], None], depth: int) -> str:
    """A text that is JSON, an address, or anything that shows secrets by their form."""
    lowered = text.lower()
    if not any(sign in lowered for sign in _SIGNS) or not any(word in lowered for word in _WORDS):
        return text
    if text[:1] in "{[":
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            clean = _walked(raw, find, depth + 1)
            return text if clean is raw else json.dumps(clean, ensure_ascii=False)
    clean = _in_address(text, find)
    if "://" in clean:
        clean = _USER.sub(lambda match: f"://{_user(match['user'], find)}", clean)
        clean = _PARAMETER_IN_TEXT.sub(lambda match: _parameter(match, find), clean)
    if "PRIVATE KEY" in clean:
        clean = _PRIVATE_KEY.sub(lambda match: _private_key(match, find), clean)
    clean = _SIGNED_IN.sub(lambda match: _replaced(match, find), clean)
    clean = _ASSIGNED.sub(lambda match: _assigned(match, find), clean)
    return clean if clean != text else text


def _in_address(text: str, find: Callable[[str], None]) -> str:
    """User and password before a host, and the values of parameters that sign or open, of a text that is an address."""
    match = _ADDRESS.match(text)
    if match is None:
        return text
    authority, rest = match["authority"], match["rest"]
    if "@" in authority:
        who, _, host = authority.rpartition("@")
    elif "@" in rest and _PASSWORD_BEGUN.search(authority):
        # a password that was not percent-encoded: to whoever reads the address it goes on to the last @
        who, _, host = f"{authority}{rest}".rpartition("@")
        rest = ""
    else:
        who, host = "", authority
    others = _USER.sub(lambda match: f"://{_user(match['user'], find)}", f"{host}{rest}")
    others = _PARAMETER.sub(lambda match: _parameter(match, find), others)
    clean = f"{match['scheme']}{_user(who, find) if who else ''}{others}"
    return clean if clean != text else text


def _user(who: str, find: Callable[[str], None]) -> str:
    name, colon, password = who.partition(":")
    _find_all(password if colon else name, find)
    return f"{name}:{COVER}@" if colon else f"{COVER}@"


def _parameter(match: re.Match[str], find: Callable[[str], None]) -> str:
    name = _decoded(match["name"]).strip()
    if not (_is_secret(name) or _SECRET_PARAMETER.search(name)):
        return match[0]
    _find_all(match["value"], find)
    return f"{match['begin']}{match['name']}={COVER}"


def _decoded(name: str) -> str:
    for _ in range(_MOST_ENCODED):
        if "%" not in name:
            break
        name = unquote(name)
    return name


def _private_key(match: re.Match[str], find: Callable[[str], None]) -> str:
    if match["value"].strip() == COVER:
        return match[0]
    for line in (match["value"], *match["value"].replace("\\n", "\n").splitlines()):
        if len(line) > 2 * _SHORTEST:
            find(line)
    return f"{match['begin']}{COVER}{match['end']}"


def _replaced(match: re.Match[str], find: Callable[[str], None]) -> str:
    if match["value"] == COVER:
        return match[0]
    _find_all(match["value"], find)
    return f"{match['begin']}{COVER}"


def _assigned(match: re.Match[str], find: Callable[[str], None]) -> str:
    value = match["quoted"] or match["escaped"] or match["bare"] or ""
    if value in ("", COVER) or value.lower() in _KINDS or value.startswith("${") or not _is_secret(match["name"]):
        return match[0]
    find(value)
    return f"{match['begin']}{match['quote'] or match['escaped_quote'] or ''}{COVER}"


def _find_all(secret: str, find: Callable[[str], None]) -> None:
    """As it stands in the address, as it is meant, and as a client may write it."""
    if secret != COVER:
        plain = unquote(secret)
        for each in (secret, plain, quote(plain, safe="")):
            find(each)


def _is_secret(name: str) -> bool:
    """Of a field, a parameter or an assignment, whose value is a text."""
    return _SECRET_WORD.search(name) is not None or _SECRET_TEXT.search(name) is not None


_SECRET_FIELDS = frozenset({"accessKeyId", "key", "requestHeaders", "sasl.jaas.config"})
_SECRET_WORD = re.compile(
    r"passw(or)?d|passphrase|secret|credential|token|(api|access|private|account|signing)[-_.]?key|authorization", re.I
)
"""Names of secrets, whatever they hold."""
_SECRET_NUMBER = re.compile(r"(passw(or)?d|passphrase|secret)$", re.I)
"""Names of secrets where they hold a number."""
_SECRET_TEXT = re.compile(
    r"(?:(?:^|[-_. ])(?i:pass|pwd|auth|cookie|bearer|sas|sig|signature|jwt)"
    r"|[a-z0-9](?:Pass|Pwd|Auth|Cookie|Bearer|Sas|Sig|Signature|Jwt)"
    r"|(?i:connection[-_.]?string|shared[-_.]?access[-_.]?signature))$"
)
"""Names of secrets where they hold a text: they may be names of much else."""
_SECRET_PARAMETER = re.compile(r"^(code|sid|session_?id)$|sig|key", re.I)
"""Names that are secrets' in addresses alone."""
_KINDS = frozenset(
    {"true", "false", "none", "null", "basic", "bearer", "digest", "kerberos", "string", "long", "float", "double"}
)
"""What is no secret: a way to sign in, or the type of a column."""
_WHERE = frozenset({"type", "variable"})
"""Of a password provider: that it is taken from the environment, and from which variable. Druid: PasswordProvider"""
_PROGRAMS = frozenset({"pattern", "expression", "expr", "function"})
"""Fields that speak of columns: in `token=(.*)` is no secret. Nor is one looked for in rows that are given inline."""

_SIGNS = ("=", ":", "bearer", "basic", "private key")
_WORDS = (
    *("://", "passw", "passphrase", "secret", "credential", "token", "key", "authorization", "bearer", "basic"),
    *("pass", "pwd", "auth", "cookie", "sas", "sig", "jwt", "connection"),
)
"""In lower case; a text with a secret has one of both, and most texts of a spec have none of the first."""
_LITERALS = frozenset({"true", "false", "null"})
_ADDRESS = re.compile(r"(?P<scheme>\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)+//)(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
"""A text that is an address, be it one that no client could use: what stands in it may be a secret all the same."""
_PASSWORD_BEGUN = re.compile(r"^[^\[:]*:.*[^0-9]")
"""What is before the first slash, where a host's port would be a number."""
_USER = re.compile(r"://(?P<user>[^/?#\s\"'\]]+)@")
"""Of further addresses in the same text, and of those in the midst of one."""
_PARAMETER = re.compile(r"(?P<begin>[?&#;])(?P<name>[^=&#;?\"'\]]*+)=(?P<value>[^&#]+)")
_PARAMETER_IN_TEXT = re.compile(r"(?P<begin>[?&#;])(?P<name>[^=&#;?\s\"'\]]*+)=(?P<value>[^&#\s\"'\]>,]+)")
_PRIVATE_KEY = re.compile(
    r"(?P<begin>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)(?P<value>.*?)(?P<end>-----END|\Z)", re.DOTALL
)
_SIGNED_IN = re.compile(
    r"(?P<begin>(?i:\bauthorization\\*[\"']?\s{0,3}[:=]\s{0,3}\\*[\"']?(?:(?:bearer|basic|digest|negotiate|token)\s+)?"
    r"|\b(?:bearer|basic)\s+(?=[\w~+/-]*[0-9.=])(?=\S{10})))(?P<value>[^\s\"',;\\]+)"
)
"""A header, or what stands in one: `Basic` alone is an ordinary word."""
_ASSIGNED = re.compile(
    r"(?P<begin>(?<![\w./%-])(?P<name>[\w.-]++)"
    # JSON, properties, JAAS: a value in quotes; or one without, directly after its sign
    r"(?:(?:\\*[\"'])?\s{0,3}(?::|=(?!=))\s{0,3}(?=\\*[\"'])|=(?=[^=\s\"'\\])))"
    r"(?:(?P<escaped_quote>\\+[\"'])(?P<escaped>.*?)(?=(?P=escaped_quote)|\Z)"
    r"|(?P<quote>[\"'])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)"
    r"|(?P<bare>[^\s,;&\"')\]}]+))",
    re.DOTALL,
)
