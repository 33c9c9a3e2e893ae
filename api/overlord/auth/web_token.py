"""JWTs of an OpenID Connect issuer as credentials: who a bearer is, and the names of his roles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
from jwt.exceptions import PyJWTError

from druid_core.errors import NemetonError
from overlord.auth.key_set import Fetch, KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key. Never `none`, and no shared secrets: whoever checks such a token could make it."""


class BadWebToken(NemetonError):
    """A token that says nothing here: expired, for another audience, signed by nobody we know."""


@dataclass(frozen=True, slots=True)
class WebTokenClaims:
    """What a token says of its bearer."""

    user: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WebTokenRules:
    """What a token has to be."""

    issuer: str
    audience: str
    clock_skew_seconds: float
    user_claim: str
    roles_claim: str
    """Names of claims, from the outside in, joined by dots: `realm_access.roles`."""


class WebTokens:
    """Whether a token is good, for one replica."""

    def __init__(
        self, rules: WebTokenRules, jwks_url: str | None, clock: Callable[[], float], fetch: Fetch | None = None
    ) -> None:
        self._rules = rules
        self._keys = KeySet(rules.issuer, jwks_url, clock, fetch)

    async def read(self, token: str) -> WebTokenClaims:
        """Raises BadWebToken with the reason, Unavailable where it cannot be known."""
        rules = self._rules
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise BadWebToken(f"the algorithm [{header.get('alg')}] is not one of {', '.join(ALGORITHMS)}")
            key = await self._keys.key(header.get("kid"))
            if key is None:
                raise BadWebToken(f"its issuer has no key [{header.get('kid')}]")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.clock_skew_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
        except PyJWTError as error:
            raise BadWebToken(str(error)) from error
        user = claims.get(rules.user_claim)
        if not isinstance(user, str) or not user:
            raise BadWebToken(f"it has no claim [{rules.user_claim}], which names the user")
        return WebTokenClaims(user, _texts(_claim(claims, rules.roles_claim)))


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim whose name has dots itself is found too, as a whole."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, Any]", found).get(name)
    return found


def _texts(value: Any) -> tuple[str, ...]:
    """A list of names, or names in one text with blanks between, as in `scope`."""
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(each for each in cast("list[Any]", value) if isinstance(each, str))
    return ()
