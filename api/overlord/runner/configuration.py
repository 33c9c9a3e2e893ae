"""
Configurations that are set while the Overlord runs: a row of `druid_config` each, and a row of `druid_audit` for every
change. Druid: JacksonConfigManager, AuditManager
"""

from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.redaction import without_secrets
from overlord.db.pool import Connection, connection
from overlord.problems import Unreadable
from overlord.replica import replica_of
from overlord.web import empty_answer, json_answer, query, raw_json_answer

HISTORY_MS = 7 * 86_400_000
"""How far back a history goes where nothing is asked for. Druid: druid.audit.manager.auditHistoryMillis"""


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and why. Druid: AuditInfo"""

    name: str
    comment: str
    ip: str


def author_of(request: Request) -> Author:
    """As the call's headers say."""
    return Author(
        request.headers.get("x-druid-author", ""),
        request.headers.get("x-druid-comment", ""),
        request.client.host if request.client else "",
    )


async def read(tx: Connection, key: str) -> bytes | None:
    """The configuration as it is stored; None while it was never set."""
    payload: bytes | None = await tx.fetchval("SELECT payload FROM druid_config WHERE name = $1", key)
    return payload


async def write(tx: Connection, key: str, payload: bytes, author: Author, now_ms: int) -> None:
    """Set it, and remember who did. Druid: AuditEntry"""
    await tx.execute(
        "INSERT INTO druid_config (name, payload) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET payload = $2",
        key,
        payload,
    )
    entry = {
        "key": key,
        "type": key,
        "auditInfo": {"author": author.name, "identity": "allowAll", "comment": author.comment, "ip": author.ip},
        "request": None,
        "payload": orjson.dumps(without_secrets(orjson.loads(payload))).decode(),
        "auditTime": format_instant(now_ms),
    }
    await tx.execute(
        "INSERT INTO druid_audit (audit_key, type, author, comment, created_date, payload) "
        "VALUES ($1, $1, $2, $3, $4, $5)",
        key,
        author.name[:255],
        author.comment[:2048],
        entry["auditTime"],
        orjson.dumps(entry),
    )


async def history_answer(request: Request, key: str) -> Response:
    """Changes, newest first: `count` of them, or those of `interval`; by default the last week's."""
    replica = replica_of(request)
    interval, count = query(request, "interval"), query(request, "count")
    now_ms = replica.clock_ms()
    try:
        window = Interval.parse(interval) if interval else Interval(0 if count else now_ms - HISTORY_MS, now_ms + 1)
    except InvalidInput as error:
        raise Unreadable(str(error)) from error
    try:
        limit = int(count) if count and not interval else None
    except ValueError:
        return empty_answer(404)
    if limit is not None and limit < 1:
        return json_answer({"error": "Limit must be greater than zero!"}, 400)
    async with connection(replica.pool) as tx:
        rows = await tx.fetch(
            """
            SELECT payload FROM druid_audit
            WHERE audit_key = $1 AND type = $1 AND created_date >= $2 AND created_date < $3
            ORDER BY created_date DESC, id DESC LIMIT $4
            """,
            key,
            window.start,
            window.end,
            limit,
        )
    return raw_json_answer(b"[" + b",".join(row["payload"] for row in rows) + b"]")
