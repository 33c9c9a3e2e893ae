"""At a start: the gate as the settings want it, and somebody who can sign in."""

import time

from druid_core.errors import InvalidInput
from overlord import events
from overlord.auth import people
from overlord.auth.authenticate import Authenticators, parse_networks
from overlord.auth.directory import Directory
from overlord.auth.gate import Gate
from overlord.auth.key_set import check_issuer_url
from overlord.auth.pace import Pace
from overlord.auth.password import Passwords, stored_form
from overlord.auth.web_token import WebTokenRules, WebTokens
from overlord.db.pool import Pool, connection, transaction
from overlord.settings import OverlordSettings

ADMINISTRATOR = "admin"
"""The user, and the role. Druid: BasicAuthUtils.ADMIN_NAME"""


def gate_of(settings: OverlordSettings, directory: Directory) -> Gate:
    """Raises InvalidInput for an issuer whose keys could be changed on their way."""
    clock = time.monotonic
    authenticators = Authenticators(
        passwords=Passwords() if "basic" in settings.authenticators else None,
        web_tokens=_web_tokens(settings) if "jwt" in settings.authenticators else None,
        directory=directory,
        runner_token=settings.runner_token,
        trusted=parse_networks(settings.trusted_networks),
        wrong_guesses=Pace(settings.wrong_passwords_per_minute / 60, settings.wrong_passwords_per_minute, clock),
    )
    rate = settings.rate_limit_per_second
    return Gate(authenticators, None if rate is None else Pace(rate, settings.rate_limit_burst, clock))


async def ensure_administrator(pool: Pool, password: str | None) -> None:
    """
    The user `admin` with this password, where there is no such user; one who is there keeps his.

    Raises InvalidInput where nobody at all could sign in: nobody could then ever change that.
    """
    async with connection(pool) as tx:
        there = await tx.fetch("SELECT user_name FROM nemeton_credentials WHERE password_hash IS NOT NULL")
    if any(row["user_name"] == ADMINISTRATOR for row in there):
        return
    if password is None:
        if there:
            return
        raise InvalidInput(
            "authenticators has basic, and no user has a password yet: set initial_admin_password (environment: "
            f"NEMETON_INITIAL_ADMIN_PASSWORD) for the first start; the user is [{ADMINISTRATOR}]"
        )
    async with transaction(pool) as tx:
        if await people.make_administrator(tx, ADMINISTRATOR, stored_form(password)):
            events.info("the first administrator was made", user=ADMINISTRATOR)


def _web_tokens(settings: OverlordSettings) -> WebTokens:
    issuer, audience = settings.jwt_issuer or "", settings.jwt_audience or ""
    check_issuer_url(*(("jwt_jwks_url", settings.jwt_jwks_url) if settings.jwt_jwks_url else ("jwt_issuer", issuer)))
    rules = WebTokenRules(
        issuer, audience, settings.jwt_clock_skew_seconds, settings.jwt_user_claim, settings.jwt_roles_claim
    )
    return WebTokens(rules, settings.jwt_jwks_url, time.monotonic)
