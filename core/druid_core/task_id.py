"""Ids of tasks: how they are made and which are allowed."""

import re
import secrets
import uuid

from druid_core.errors import InvalidTask
from druid_core.instant import format_instant
from druid_core.interval import Interval

ID_LIMIT = 255
"""Characters of an id at most: the width of the `id` column in Druid's tasks table."""

_PLAIN = re.compile(r"[0-9A-Za-z _:\-+@#%&=~,;!(){}\[\]^$*'\"`|<>?\\][0-9A-Za-z _:\-+@#%&=~,;!(){}\[\]^$*'\"`|<>?\\.]*")
"""What needs no closer look."""


def random_suffix() -> str:
    """Eight letters of a to p. Druid: IdUtils.getRandomId"""
    return "".join(chr(97 + byte % 16) for byte in secrets.token_bytes(8))


def new_task_id(kind: str, data_source: str, now_ms: int, interval: Interval | None = None) -> str:
    """`kind_dataSource_suffix[_start_end]_now`. Druid: IdUtils.newTaskId"""
    span = "" if interval is None else f"{interval.start}_{interval.end}_"
    return f"{kind}_{data_source}_{random_suffix()}_{span}{format_instant(now_ms)}"


def new_noop_id(now_ms: int) -> str:
    """`noop_now_uuid`. Druid: NoopTask"""
    return f"noop_{format_instant(now_ms)}_{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}"


def check_name(field: str, value: object, java_class: str) -> None:
    """
    Whether `value` may be a task id or the name of a datasource. Druid: IdUtils.validateId

    Stricter than Druid in three things that it accepts and then stumbles over: NUL and the last control characters,
    and (task ids) more than ID_LIMIT characters. Raises InvalidTask.
    """
    problem = _problem(field, value)
    if problem is not None:
        text = f"Cannot construct instance of `{java_class}`, problem: Invalid value for field [{field}]: {problem}"
        raise InvalidTask(text.partition("\n")[0].encode("utf-8", "backslashreplace").decode())


def check_storable(field: str, value: str, java_class: str) -> None:
    """
    Whether the metadata store can hold a text that Druid does not check.

    Raises InvalidTask for a NUL, a lone surrogate, more than ID_LIMIT characters, or a datasource without a name.
    """
    if not value and field == "dataSource":
        problem = "must not be empty"
    elif len(value) > ID_LIMIT:
        problem = f"Value has {len(value)} characters, more than the {ID_LIMIT} that the metadata store holds."
    elif value.isprintable() or not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
        return
    else:
        problem = "Value contains a character that the metadata store cannot hold."
    raise InvalidTask(
        f"Cannot construct instance of `{java_class}`, problem: Invalid value for field [{field}]: {problem}"
    )


def _problem(field: str, value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return "must not be null"
    if len(value) > ID_LIMIT and field == "task ID":
        return f"Value has {len(value)} characters, more than the {ID_LIMIT} that the metadata store holds."
    if _PLAIN.fullmatch(value):
        return None
    if value.startswith("."):
        return f"Value [{value}] cannot start with '.'."
    if "/" in value:
        return f"Value [{value}] cannot contain '/'."
    if any(letter in "\t\n\x0b\f\r" for letter in value):
        return f"Value [{value}] contains illegal whitespace characters.  Only space is allowed."
    for position, letter in enumerate(value):
        code = ord(letter)
        if code > 0xFFFF:  # Java sees the surrogates of a pair
            code = 0xD800 + ((code - 0x10000) >> 10)
        if code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xF8FF or code > 0xFFF0:
            return f"Value [{value}] contains illegal UTF8 character [#{code}] at position [{position}]"
    return None
