"""
Configurations that are set while the Overlord runs: a row of `druid_config` each, and an entry of the audit for every
change. Druid: JacksonConfigManager
"""

from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from overlord import audit
from overlord.audit import Author
from overlord.db.pool import Connection, connection
from overlord.replica import replica_of
from overlord.web import empty_answer, json_answer, query, raw_json_answer


async def read(tx: Connection, key: str) -> bytes | None:
    """The configuration as it is stored; None while it was never set."""
    payload: bytes | None = await tx.fetchval("SELECT payload FROM druid_config WHERE name = $1", key)
    return payload


async def lock(tx: Connection, key: str) -> None:
    """Until the transaction ends nobody else changes this one: who merges into what was set must not lose a change."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('nemeton config ' || $1, 0))", key)


async def write(tx: Connection, key: str, payload: bytes, author: Author, now_ms: int) -> None:
    """Set it, and remember who did."""
    await tx.execute(
        "INSERT INTO druid_config (name, payload) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET payload = $2",
        key,
        payload,
    )
    await audit.record(tx, key, key, payload, author, now_ms)


async def history_answer(request: Request, key: str) -> Response:
    """The newest `count` changes, newest first; or those of `interval`, by default the last week's, oldest first."""
    replica = replica_of(request)
    try:
        window = audit.Window.parse(query(request, "interval"), query(request, "count"), replica.clock_ms())
    except InvalidInput as error:
        return json_answer({"error": str(error)}, 400)
    except ValueError:
        return empty_answer(404)
    async with connection(replica.pool) as tx:
        found = await audit.entries(tx, key, key, window)
    return raw_json_answer(b"[" + b",".join(found) + b"]")
