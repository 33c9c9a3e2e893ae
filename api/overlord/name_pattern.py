"""
The regular expression of a permission, for the whole name of a resource. Druid: Pattern.matcher(name).matches()

Whoever holds a role chooses the names that its expressions are tried on, so trying must be cheap whatever both look
like: RE2 needs time that grows with the length of the name alone. What it cannot do for that reason, looking around and
back references, is refused when a role is written.
"""

import functools
from typing import Any

import re2

from druid_core.errors import InvalidInput

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20
"""Bytes that a compiled expression may take; a list of some thousand names is well within."""

_SHOWN_CHARACTERS = 200
"""Of an expression, and of what is wrong with it, in an error."""


class NamePattern:
    """One expression, ready to be tried."""

    def __init__(self, expression: str, where: str) -> None:
        """`where` says whose it is. Raises InvalidInput for what is no expression, or one that RE2 does not take."""
        try:
            self._compiled = _compiled(expression)
        except (re2.error, UnicodeEncodeError) as error:
            raise InvalidInput(f"{where} [{expression[:_SHOWN_CHARACTERS]}]: {_why(error)}") from error

    def fits(self, name: str) -> bool:
        """Whether the expression describes all of `name`. A dot is no line break, as in Java."""
        try:
            return self._compiled.fullmatch(name) is not None
        except UnicodeEncodeError:
            return False  # half a character: no name that anything has


@functools.lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    """Roles are read anew every second, and are mostly what they were."""
    return re2.compile(expression, _OPTIONS)


def _why(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    words = (said.decode(errors="replace") if isinstance(said, bytes) else str(said))[:_SHOWN_CHARACTERS]
    if "perl operator" in words or "escape sequence" in words or "bad repetition" in words:
        return (
            f"its name is a regular expression that is not taken ({words}): looking ahead or behind, back references "
            "and possessive repetition are left out, so that no name can keep the Overlord busy. Say what fits "
            "instead, in several permissions where one is not enough"
        )
    return f"its name is no regular expression: {words}"
