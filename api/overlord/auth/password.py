"""
Passwords: what is stored of them, and whether one is right. Argon2id, so that a stolen table is of little use.

A hash costs some 20 ms and 19 MiB by intent. Few are counted at once, and whoever was right a moment ago is known
without counting again.
"""

import asyncio
import functools
import hashlib
import hmac
import secrets
from collections import OrderedDict

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The least that OWASP recommends (Password Storage Cheat Sheet): more would let a few guessers take all memory."""

_AT_ONCE = 2
"""Hashes counted at a time: the cores of a small replica, and 38 MiB."""

_REMEMBERED = 10_000
"""Callers whose password is known to be right: more than any replica serves within an hour; a megabyte."""


@functools.cache
def _nobodys() -> str:
    """Counted for names that nobody has, so that they take as long as others."""
    return _HASHER.hash(secrets.token_urlsafe(16))


def stored_form(password: str) -> str:
    """What is kept of a password. Takes some 20 ms: call it in a thread."""
    return _HASHER.hash(password)


class Passwords:
    """Whether a password is right, for one replica."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def is_right(self, stored: str | None, password: str) -> bool:
        """`stored` is what is kept of the right one now; None where there is none."""
        # keyed by what is stored: of a password that was changed nothing is remembered
        seal = hmac.digest(self._key, f"{stored}\0{password}".encode(), hashlib.sha256)
        if seal in self._right:
            self._right.move_to_end(seal)
            return True
        async with self._room:
            right = await asyncio.to_thread(_verify, stored, password)
        if not right or stored is None:
            return False
        self._right[seal] = None
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return True


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(stored or _nobodys(), password)
    except (Argon2Error, InvalidHashError):
        return False
