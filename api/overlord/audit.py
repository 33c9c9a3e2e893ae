"""
Who changed what, when and why: a row of `druid_audit` for every change that a person may ask about later.

Druid: AuditManager, SQLAuditManager. A row's payload is the whole entry, as Druid's own services read it.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.redaction import without_secrets
from overlord.access import caller_of
from overlord.db.pool import Connection
from overlord.problems import Unreadable

HISTORY_MS = 7 * 86_400_000
"""How far back a history goes where nothing is asked for. Druid: druid.audit.manager.auditHistoryMillis"""

_TEXT_CHARACTERS, _COMMENT_CHARACTERS = 255, 2048
"""What Druid's columns hold; the entry itself has the whole."""

_MOST_ENTRIES = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and why. Druid: AuditInfo"""

    name: str = ""
    comment: str = ""
    ip: str = ""
    identity: str = "allowAll"
    """As whom the call was authenticated. Druid: AuthenticationResult.getIdentity"""

    @property
    def column_name(self) -> str:
        """The name, as long as Druid's column is."""
        return self.name[:_TEXT_CHARACTERS]

    @property
    def column_comment(self) -> str:
        """The comment, as long as Druid's column is."""
        return self.comment[:_COMMENT_CHARACTERS]

    def to_wire(self) -> dict[str, str]:
        """Druid: AuditInfo"""
        return {"author": self.name, "identity": self.identity, "comment": self.comment, "ip": self.ip}


NOBODY = Author()


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """The call that changed something. Druid: RequestInfo"""

    method: str
    uri: str
    query: str | None

    def to_wire(self) -> dict[str, str | None]:
        """Druid: RequestInfo"""
        return {"service": "overlord", "method": self.method, "uri": self.uri, "queryParams": self.query}


def author_of(request: Request) -> Author:
    """As the call's headers say, without secrets, and as whom the caller was known."""
    return Author(
        without_secrets(request.headers.get("x-druid-author", "")),
        without_secrets(request.headers.get("x-druid-comment", "")),
        request.client.host if request.client else "",
        caller_of(request).name,
    )


def call_of(request: Request) -> AuditedCall:
    """The call itself, as an entry tells of it."""
    return AuditedCall(request.method, request.url.path, request.url.query or None)


def entry(
    key: str, kind: str, payload: bytes, author: Author, now_ms: int, call: AuditedCall | None = None
) -> dict[str, Any]:
    """
    What happened to `key`; `payload` is the JSON of what it is now. Druid: AuditEntry

    `kind` says what the key is the key of: `worker.config`, `supervisor`, `task`.
    """
    return {
        "key": key,
        "type": kind,
        "auditInfo": author.to_wire(),
        "request": None if call is None else call.to_wire(),
        "payload": payload.decode(),
        "auditTime": format_instant(now_ms),
    }


async def record(
    tx: Connection,
    key: str,
    kind: str,
    payload: bytes,
    author: Author,
    now_ms: int,
    call: AuditedCall | None = None,
) -> None:
    """Remember a change, in the transaction that makes it; secrets in `payload` are covered."""
    payload = orjson.dumps(without_secrets(orjson.loads(payload)))
    await tx.execute(
        "INSERT INTO druid_audit (audit_key, type, author, comment, created_date, payload) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        key[:_TEXT_CHARACTERS],
        kind,
        author.column_name,
        author.column_comment,
        format_instant(now_ms),
        orjson.dumps(entry(key, kind, payload, author, now_ms, call)),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """Which entries are asked for: those of a time, or the newest `count`."""

    interval: Interval
    count: int | None

    @classmethod
    def parse(cls, interval: str | None, count: str | None, now_ms: int) -> "Window":
        """
        From query parameters; by default the last week's. `count` means nothing beside an interval.

        Raises ValueError for a count that is no Java int, InvalidInput for one below 1, Unreadable for an interval
        that is none.
        """
        try:
            window = Interval.parse(interval) if interval else Interval(0 if count else now_ms - HISTORY_MS, now_ms + 1)
        except InvalidInput as error:
            raise Unreadable(str(error)) from error
        limit = int(count) if count and not interval else None
        if limit is not None and limit > _MOST_ENTRIES:
            raise ValueError(count)
        if limit is not None and limit < 1:
            raise InvalidInput("Limit must be greater than zero!")
        return cls(window, limit)


async def entries(tx: Connection, key: str, kind: str, window: Window) -> list[bytes]:
    """The entries of `key`: those of a time oldest first, those of a count newest first, as in Druid."""
    order = "" if window.count is None else "DESC"
    rows = await tx.fetch(
        f"""
        SELECT payload FROM druid_audit
        WHERE audit_key = $1 AND type = $2 AND created_date >= $3 AND created_date < $4
        ORDER BY created_date {order}, id {order} LIMIT $5
        """,
        key,
        kind,
        window.interval.start,
        window.interval.end,
        window.count,
    )
    return [row["payload"] for row in rows]
