"""
Tokens of attempts: what a peon shows to act for its own task.

A token is derived from the secret of the database, the task and the attempt, so that any replica can hand it out
again to a runner that asks again; only its SHA-256 is stored beside the attempt.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from overlord.db.pool import Connection, Pool, connection
from overlord.problems import Forbidden

_SECRET = "attempt-tokens"


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


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header; None when it carries none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


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
