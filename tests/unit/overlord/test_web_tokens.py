"""Which JWTs are good: issuer, audience, time and signature, and keys that the issuer changes."""

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

from druid_core.errors import InvalidInput, Unavailable
from overlord.auth.key_set import check_issuer_url
from overlord.auth.web_token import BadWebToken, WebTokenClaims, WebTokenRules, WebTokens

ISSUER = "https://login.example.com/realm"
RULES = WebTokenRules(ISSUER, "nemeton", 30.0, "sub", "realm_access.roles")
KEYS = {name: generate_private_key(65537, 2048) for name in ("old", "new")}


class Issuer:
    """Answers with the keys that it has now; counts questions."""

    def __init__(self) -> None:
        self.key_ids = ["old"]
        self.asked: list[str] = []
        self.is_away = False
        self.now = 1000.0

    def fetch(self, url: str) -> dict[str, Any]:
        self.asked.append(url)
        if self.is_away:
            raise Unavailable("it does not answer")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": "https://login.example.com/keys"}
        return {"keys": [_public(name) for name in self.key_ids]}

    def clock(self) -> float:
        return self.now

    def tokens(self, rules: WebTokenRules = RULES) -> WebTokens:
        return WebTokens(rules, None, self.clock, self.fetch)


def _public(name: str) -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True) | {"kid": name, "use": "sig", "alg": "RS256"}


def token(key: str = "old", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good one, but for what is given; a claim that is None is left out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "nemeton", "sub": "ana", "exp": now + 60, "realm_access": {"roles": ["reader"]}}
    given = {name: value for name, value in (good | claims).items() if value is not None}
    return jwt.encode(given, KEYS[key], "RS256", headers={"kid": key} | (headers or {}))


async def test_a_good_token_names_its_user_and_roles() -> None:
    assert await Issuer().tokens().read(token()) == WebTokenClaims("ana", ("reader",))
    assert await Issuer().tokens().read(token(aud=["other", "nemeton"])) == WebTokenClaims("ana", ("reader",))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": "another service"}, "[Aa]udience"),
        ({"aud": None}, "aud"),
        ({"iss": "https://evil.example.com"}, "[Ii]ssuer"),
        ({"iss": None}, "iss"),
        ({"nbf": 99_999_999_999}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"headers": {"kid": "unknown"}}, "no key"),
        ({"key": "new", "headers": {"kid": "old"}}, "[Ss]ignature"),
    ],
)
async def test_a_token_that_says_something_else_is_refused(claims: dict[str, Any], why: str) -> None:
    with pytest.raises(BadWebToken, match=why):
        await Issuer().tokens().read(token(**claims))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_no_signature_and_no_shared_secret_is_taken(algorithm: str) -> None:
    """The public key, which everybody has, as the secret of an HMAC: an old trick."""
    claims = {"iss": ISSUER, "aud": "nemeton", "sub": "ana", "exp": int(time.time()) + 60}
    forged = jwt.encode(claims, "" if algorithm == "none" else "x" * 64, algorithm, headers={"kid": "old"})
    with pytest.raises(BadWebToken, match="algorithm"):
        await Issuer().tokens().read(forged)


@pytest.mark.parametrize("text", ["a.b.c", "..", "a.b", "e30.e30.", "é.é.é", "." * 10_000])
async def test_what_is_no_token_is_refused_and_breaks_nothing(text: str) -> None:
    with pytest.raises(BadWebToken):
        await Issuer().tokens().read(text)


async def test_clocks_may_be_apart_by_the_skew_and_no_more() -> None:
    now = int(time.time())
    await Issuer().tokens().read(token(exp=now - 10))
    with pytest.raises(BadWebToken, match="expired"):
        await Issuer().tokens().read(token(exp=now - 60))


@pytest.mark.parametrize(
    ("roles_claim", "claims", "roles"),
    [
        ("roles", {"roles": ["a", "b"]}, ("a", "b")),
        ("scope", {"scope": "a b"}, ("a", "b")),
        ("https://x/roles.all", {"https://x/roles.all": ["a"]}, ("a",)),
        ("roles", {}, ()),
        ("roles", {"roles": 7}, ()),
        ("roles", {"roles": ["a", 7, None]}, ("a",)),
        ("realm_access.roles", {"realm_access": "flat"}, ()),
    ],
)
async def test_roles_are_found_where_the_setting_says(
    roles_claim: str, claims: dict[str, Any], roles: tuple[str, ...]
) -> None:
    rules = WebTokenRules(ISSUER, "nemeton", 30.0, "sub", roles_claim)
    assert (await Issuer().tokens(rules).read(token(**claims))).roles == roles


async def test_keys_are_fetched_once_for_many_tokens() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    for _ in range(5):
        await tokens.read(token())
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", "https://login.example.com/keys"]


async def test_a_key_that_is_new_is_found_at_its_first_token_and_one_taken_back_is_soon_gone() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    await tokens.read(token("old"))
    issuer.key_ids = ["new"]
    issuer.now += 11
    await tokens.read(token("new"))
    with pytest.raises(BadWebToken, match="no key"):
        await tokens.read(token("old"))


async def test_a_key_that_was_taken_back_is_gone_after_five_minutes_at_the_latest() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    await tokens.read(token("old"))
    issuer.key_ids = ["new"]
    issuer.now += 301
    with pytest.raises(BadWebToken, match="no key"):
        await tokens.read(token("old"))


async def test_tokens_with_invented_keys_do_not_make_us_hammer_the_issuer() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    for number in range(50):
        with pytest.raises(BadWebToken):
            await tokens.read(token(headers={"kid": f"invented {number}"}))
    assert len(issuer.asked) == 2


async def test_an_issuer_that_is_away_for_a_while_locks_nobody_out_and_one_away_for_long_does() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    await tokens.read(token())
    issuer.is_away = True
    issuer.now += 1800
    await tokens.read(token())
    issuer.now += 1801
    with pytest.raises(Unavailable):
        await tokens.read(token())


async def test_without_any_key_nobody_is_let_in_by_guess() -> None:
    issuer = Issuer()
    issuer.is_away = True
    with pytest.raises(Unavailable, match=ISSUER):
        await issuer.tokens().read(token())


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://login.example.com/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://login.example.com/keys", False),
        ("ftp://login.example.com", False),
        ("login.example.com", False),
        ("", False),
    ],
)
def test_keys_come_by_a_way_on_which_nobody_changes_them(url: str, good: bool) -> None:
    if good:
        check_issuer_url("jwt_jwks_url", url)
        return
    with pytest.raises(InvalidInput, match="jwt_jwks_url"):
        check_issuer_url("jwt_jwks_url", url)
