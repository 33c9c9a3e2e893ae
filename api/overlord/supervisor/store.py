"""
Specs as rows of `druid_supervisors`: every change is a new row, the newest of an id counts.

Druid: SQLMetadataSupervisorManager. The rows are all there is: no replica remembers a supervisor.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from druid_core.instant import format_instant
from druid_core.supervisor import SupervisorSpec, load_supervisor
from overlord.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Version:
    """A row: what the spec of an id was from then on."""

    spec_id: str
    created: str
    wire: dict[str, Any]


async def lock(tx: Connection, spec_id: str) -> None:
    """Until the transaction ends nobody else changes the supervisor of this id."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('nemeton supervisor ' || $1, 0))", spec_id)


async def current(tx: Connection) -> list[SupervisorSpec]:
    """The supervisors that were not terminated, by id."""
    rows = await tx.fetch(
        "SELECT DISTINCT ON (spec_id) spec_id, payload FROM druid_supervisors ORDER BY spec_id, id DESC"
    )
    specs = (load_supervisor(row["spec_id"], _json(row["payload"])) for row in rows)
    return [spec for spec in specs if spec is not None]


async def get(tx: Connection, spec_id: str) -> SupervisorSpec | None:
    """The supervisor of this id, if it was not terminated."""
    payload: bytes | None = await tx.fetchval(
        "SELECT payload FROM druid_supervisors WHERE spec_id = $1 ORDER BY id DESC LIMIT 1", spec_id
    )
    return None if payload is None else load_supervisor(spec_id, _json(payload))


async def history(tx: Connection, spec_id: str | None = None, count: int | None = None) -> list[Version]:
    """All that the specs ever were, newest first: of all ids, or of one, `count` at most."""
    rows = await tx.fetch(
        """
        SELECT spec_id, created_date, payload FROM druid_supervisors
        WHERE $1::text IS NULL OR spec_id = $1 ORDER BY id DESC LIMIT $2
        """,
        spec_id,
        count,
    )
    return [Version(row["spec_id"], row["created_date"], _json(row["payload"])) for row in rows]


async def insert(tx: Connection, spec_id: str, wire: Any, now_ms: int) -> bytes:
    """The spec of an id from now on; as it is stored."""
    payload = orjson.dumps(wire)
    await tx.execute(
        "INSERT INTO druid_supervisors (spec_id, created_date, payload) VALUES ($1, $2, $3)",
        spec_id,
        format_instant(now_ms),
        payload,
    )
    return payload


def _json(payload: bytes) -> dict[str, Any]:
    """What a person broke is a spec of no type."""
    try:
        value: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
