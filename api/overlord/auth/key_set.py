"""
The public keys of whoever issues JWTs: fetched, kept for a while, fetched anew when a token names one that is unknown.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3
from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

from druid_core.errors import InvalidInput, Unavailable
from overlord import events

FRESH_SECONDS = 300.0
"""Keys are asked for again after this: a key that was taken back is good for as long here, and no longer."""

PAUSE_SECONDS = 10.0
"""Between two fetches at least: tokens that name keys which never were must not make us hammer the issuer."""

STALE_SECONDS = 3600.0
"""How long the keys we have are good while the issuer does not answer: its restart is not to be our outage."""

_TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
_MOST_BYTES = 1 << 20

Fetch = Callable[[str], dict[str, Any]]
"""GET of a JSON object. Raises Unavailable."""


class KeySet:
    """
    The keys at `jwks_url`, or where the discovery document of `issuer` says. OpenID Connect Discovery 1.0, RFC 7517

    A key that the issuer has just begun to sign with is found at its first token.
    """

    def __init__(
        self, issuer: str, jwks_url: str | None, clock: Callable[[], float], fetch: Fetch | None = None
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._fetch = fetch or fetch_json
        self._keys: list[PyJWK] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._turn = asyncio.Lock()

    async def key(self, key_id: str | None) -> PyJWK | None:
        """
        The key of this id; without an id the only key there is. None where the issuer has none such.

        Raises Unavailable where there are no keys and the issuer does not answer.
        """
        found = self._known(key_id) if self._age(self._fetched_at) < FRESH_SECONDS else None
        if found is not None:
            return found
        async with self._turn:
            found = self._known(key_id) if self._age(self._fetched_at) < FRESH_SECONDS else None
            if found is None and self._age(self._tried_at) >= PAUSE_SECONDS:
                await self._renew()
            if self._age(self._fetched_at) >= STALE_SECONDS:
                raise Unavailable(f"The keys of the token issuer [{self._issuer}] cannot be had at present")
            return self._known(key_id)

    async def _renew(self) -> None:
        self._tried_at = self._clock()
        try:
            raw = await asyncio.to_thread(self._ask)
            self._keys = PyJWKSet.from_dict(raw).keys
            self._fetched_at = self._clock()
        except (Unavailable, InvalidInput, PyJWTError) as error:
            events.warning("the keys of the token issuer cannot be had", issuer=self._issuer, why=str(error))

    def _ask(self) -> dict[str, Any]:
        url = self._jwks_url
        if url is None:
            about = self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != self._issuer:
                raise Unavailable(f"its discovery document is that of another issuer, [{about.get('issuer')}]")
            url = str(about.get("jwks_uri"))
            check_issuer_url("jwks_uri", url)
        return self._fetch(url)

    def _known(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    def _age(self, instant: float | None) -> float:
        return float("inf") if instant is None else self._clock() - instant


def check_issuer_url(name: str, url: str) -> None:
    """Raises InvalidInput for what is no URL, and for http beyond this machine: whoever is on the way changes keys."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise InvalidInput(f"{name} must be an https URL, not [{url}]")


def fetch_json(url: str) -> dict[str, Any]:
    """Raises Unavailable where no JSON object is answered."""
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
            answer = pool.request("GET", url, preload_content=False)
            body = answer.read(_MOST_BYTES + 1)
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(f"[{url}] does not answer: {error}") from error
    if answer.status != 200 or len(body) > _MOST_BYTES:
        raise Unavailable(f"[{url}] answered {answer.status} and {len(body)} bytes")
    try:
        raw: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"[{url}] did not answer JSON") from error
    if not isinstance(raw, dict):
        raise Unavailable(f"[{url}] did not answer a JSON object")
    return raw
