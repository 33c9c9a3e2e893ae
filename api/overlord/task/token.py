"""
Tokens of attempts: what a peon shows to act for its own task.

A peon of ours shows it as bearer. Druid's own can sign in with a user and a password alone (its `druid.escalator.*`),
so the token is good as the password of `TASK_USER` too.

A token is derived from the secret of the database, the task and the attempt, so that any replica can hand it out
again to a runner that asks again; only its SHA-256 is stored beside the attempt.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from overlord.db.pool import Connection, Pool, connection
from overlord.problems import Forbidden

_SECRET = "attempt-tokens"

TASK_USER = "nemeton-task"
"""Nobody's name: whoever gives it has the token of an attempt for a password."""


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The attempt that a token was made for."""

    task_id: str
    attempt: int


async def load_secret(pool: Pool) -> bytes:
    """The secret of this database, made at its first use; replicas that race for it agree."""
    async with connection(pool) as held:
        await held.execute(
            "INSERT INTO nemeton_secrets (name, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            _SECRET,
            secrets.token_bytes(32),
        )
        return bytes(await held.fetchval("SELECT secret FROM nemeton_secrets WHERE name = $1", _SECRET) or b"")


def mint(secret: bytes, task_id: str, attempt: int) -> str:
    """The token of one attempt, 43 characters that are safe in a header."""
    mac = hmac.digest(secret, f"{attempt}:{task_id}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def may_be_attempts(token: str) -> bool:
    """Whether a text has the form that `mint` gives to tokens."""
    return _FORM.fullmatch(token) is not None


_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header; None when it carries none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def basic(authorization: str | None) -> tuple[str, str] | None:
    """
    User and password of an Authorization header; None when it carries none.

    Raises ValueError for what is no base64 of UTF-8 with a colon.
    """
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("Basic credentials are the base64 of user:password") from error
    if not colon:
        raise ValueError("Basic credentials are a user, a colon and a password")
    return user, password


def attempt_token(authorization: str | None) -> str | None:
    """The token of an attempt in an Authorization header, however it is shown; None when it carries none."""
    try:
        credentials = basic(authorization)
    except ValueError:
        return None
    if credentials is None:
        return bearer(authorization)
    user, password = credentials
    return password if user == TASK_USER else None


async def task_of_token(tx: Connection, token: str) -> TokenOwner:
    """
    The attempt that holds `token`.

    Raises Forbidden when the token is unknown or its attempt is void: final, another try would not help.
    """
    row = await tx.fetchrow(
        "SELECT task_id, attempt, state FROM nemeton_attempts WHERE token_sha256 = $1", digest(token)
    )
    if row is None:
        raise Forbidden("This token belongs to no attempt of a task")
    if row["state"] in ("LOST", "ENDED"):
        raise Forbidden(f"Attempt {row['attempt']} of task [{row['task_id']}] is void")
    return TokenOwner(row["task_id"], row["attempt"])
