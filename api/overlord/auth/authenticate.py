"""
From the headers of a call to whoever sent it. Druid: Authenticator, AllowAllAuthenticator, BasicHTTPAuthenticator

`none` asks nobody, and serves this machine and networks that are trusted. Beside each authenticator the tokens of
running attempts and the runners' own secret are good, each for its own narrow part.
"""

import asyncio
import functools
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import State

from overlord import events
from overlord.access import ANYBODY, Caller, CallerKind, TaskScope
from overlord.auth.directory import Directory
from overlord.auth.pace import Pace
from overlord.auth.password import Passwords
from overlord.auth.web_token import BadWebToken, WebTokens
from overlord.db.pool import Pool, connection
from overlord.problems import Forbidden, NotSignedIn, TooManyRequests
from overlord.task.token import attempt_token, basic, bearer, may_be_attempts, task_of_token

Network = IPv4Network | IPv6Network

REALM = "druid"

RUNNER = Caller(CallerKind.RUNNER, "runner")

_TURNS = 64
"""Addresses whose passwords may be looked at side by side; more share a turn."""


@dataclass(frozen=True, slots=True)
class Authenticators:
    """Which ways there are to be recognised; None: not this one."""

    passwords: Passwords | None
    web_tokens: WebTokens | None
    directory: Directory
    runner_token: str | None
    trusted: tuple[Network, ...]
    """With neither passwords nor web tokens: from where nobody is asked."""
    wrong_guesses: Pace
    """By address: a wrong password takes one."""
    turns: tuple[asyncio.Lock, ...] = field(default_factory=lambda: tuple(asyncio.Lock() for _ in range(_TURNS)))
    """By address: passwords are looked at one after the other."""

    @property
    def asks(self) -> bool:
        """Whether anybody is asked who he is."""
        return self.passwords is not None or self.web_tokens is not None

    @property
    def challenges(self) -> list[str]:
        """How to say who one is: what WWW-Authenticate answers."""
        basic = [f'Basic realm="{REALM}"'] if self.passwords is not None else []
        # an attempt's token is always a way to sign in, so there is always one to name
        return [*basic, f'Bearer realm="{REALM}"']

    async def caller(self, headers: Mapping[bytes, bytes], address: str, state: State) -> Caller:
        """
        `state` is the application's.

        Raises NotSignedIn for nobody we know, Forbidden for the token of an attempt that is void, TooManyRequests for
        an address that guesses, Unavailable where it cannot be known.
        """
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        token = bearer(authorization)
        if token is not None and self.is_runners(token):
            return RUNNER
        if not self.asks and is_within(address, self.trusted):
            return ANYBODY
        if token is not None:
            if self.web_tokens is not None and "." in token:
                return await self._of_web_token(token, address, state.pool)
            if not may_be_attempts(token):
                raise NotSignedIn("The bearer token is none of a kind that is known here", self.challenges)
            return await _of_attempt(state.pool, token)
        if (shown := attempt_token(authorization)) is not None:
            return await _of_attempt(state.pool, shown)
        if self.passwords is not None and authorization[:6].lower() == "basic ":
            return await self._of_password(self.passwords, authorization, address, state.pool)
        raise NotSignedIn(self._who_are_you(address), self.challenges)

    def is_runners(self, token: str) -> bool:
        return self.runner_token is not None and hmac.compare_digest(token.encode(), self.runner_token.encode())

    async def _of_password(self, passwords: Passwords, authorization: str, address: str, pool: Pool) -> Caller:
        try:
            user, password = basic(authorization) or ("", "")
        except ValueError as error:
            raise NotSignedIn(str(error), self.challenges) from error
        people = await self.directory.current(pool)
        # one after the other: of many that come at once each must know how the ones before it ended
        async with self.turns[hash(address) % len(self.turns)]:
            wait = self.wrong_guesses.wait_seconds(address)
            if wait > 0:
                raise TooManyRequests(f"Too many wrong passwords came from [{address}]; wait before the next one", wait)
            if not await passwords.is_right(people.hashes.get(user), password):
                self.wrong_guesses.take(address)
                events.warning("a sign-in was refused", user=user[:255], address=address)
                raise NotSignedIn("User authentication failed: no such user, or a wrong password", self.challenges)
        return Caller(CallerKind.USER, user, people.permissions_of_user(user))

    async def _of_web_token(self, token: str, address: str, pool: Pool) -> Caller:
        assert self.web_tokens is not None
        try:
            claims = await self.web_tokens.read(token)
        except BadWebToken as error:
            events.warning("a token was refused", why=str(error), address=address)
            challenge = f'Bearer realm="{REALM}", error="invalid_token"'
            raise NotSignedIn(f"The bearer token is not good here: {error}", [challenge]) from error
        people = await self.directory.current(pool)
        return Caller(CallerKind.USER, claims.user, people.permissions_of_roles(claims.roles))

    def _who_are_you(self, address: str) -> str:
        if self.asks:
            return "This call needs credentials"
        return (
            f"Nobody is asked who he is here, and [{address}] is in none of the trusted networks "
            "(setting trusted_networks): set authenticators, or trust its network"
        )


async def _of_attempt(pool: Pool, token: str) -> Caller:
    """Raises Forbidden for a token that is void or never was one: another try would not help."""
    async with connection(pool) as tx:
        owner = await task_of_token(tx, token)
        row = await tx.fetchrow(
            "SELECT group_id, data_source FROM nemeton_attempts WHERE task_id = $1 AND attempt = $2",
            owner.task_id,
            owner.attempt,
        )
    if row is None:
        raise Forbidden("This token belongs to no attempt of a task")
    task = TaskScope(owner.task_id, row["group_id"], row["data_source"])
    return Caller(CallerKind.PEON, f"task {owner.task_id}", task=task)


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Raises ValueError for what is no network in CIDR notation."""
    return tuple(ip_network(text, strict=False) for text in texts)


@functools.lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of these; what is none, such as a socket's path, is this machine's own."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address in ("", "localhost")
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        ip = mapped
    return any(ip.version == network.version and ip in network for network in networks)
