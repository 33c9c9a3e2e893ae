"""
How far a supervisor's tasks have read: `druid_datasource`, moved on together with the segments that hold what was read.

A task says where it started and where it ended. It may commit only when it started where the last commit ended, so
nothing is published twice and nothing is left out. Druid: IndexerSQLMetadataStorageCoordinator.updateDataSourceMetadata
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from druid_core.instant import format_instant
from overlord.db.pool import Connection

Metadata = dict[str, Any]
"""Druid's DataSourceMetadata JSON: a stream's offsets by partition, or one object that is compared whole."""


class Step(Enum):
    """How a task's start lies to what is stored."""

    FITS = "fits"  # it starts where the last commit ended
    AHEAD = "ahead"  # another task must commit first
    DIVERGED = "diverged"  # it never will fit


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """From `start` to `end`, for one supervisor (the key is its id, only by default the name of the datasource)."""

    supervisor_id: str
    start: Metadata
    end: Metadata


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """Why a change was not made, and whether it may be worth another try."""

    reason: str
    retryable: bool


async def commit(tx: Connection, change: MetadataChange, now_ms: int) -> CommitRefused | None:
    """Move a supervisor's metadata on, if the change starts where the stored metadata end."""
    stored_bytes: bytes | None = await tx.fetchval(
        "SELECT commit_metadata_payload FROM druid_datasource WHERE datasource = $1 FOR UPDATE", change.supervisor_id
    )
    stored: Metadata | None = None if stored_bytes is None else orjson.loads(stored_bytes)
    match step_from(stored, change.start):
        case Step.AHEAD:
            return CommitRefused(
                f"The new start metadata state[{_text(change.start)}] is ahead of the last committed end "
                f"state[{_text(stored)}]. Try resetting the supervisor.",
                retryable=True,
            )
        case Step.DIVERGED:
            return CommitRefused(
                f"Inconsistency between stored metadata state[{_text(stored)}] and target state"
                f"[{_text(change.start)}]: another task has committed since. Try resetting the supervisor.",
                retryable=False,
            )
        case Step.FITS:
            pass
    payload = orjson.dumps(change.end if stored is None else merged(stored, change.end))
    sha1 = hashlib.sha1(payload, usedforsecurity=False).hexdigest().upper()
    if stored is None:
        tag = await tx.execute(
            """
            INSERT INTO druid_datasource (datasource, created_date, commit_metadata_payload, commit_metadata_sha1)
            VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
            """,
            change.supervisor_id,
            format_instant(now_ms),
            payload,
            sha1,
        )
    else:
        tag = await tx.execute(
            """
            UPDATE druid_datasource SET commit_metadata_payload = $2, commit_metadata_sha1 = $3 WHERE datasource = $1
            """,
            change.supervisor_id,
            payload,
            sha1,
        )
    if tag.endswith(" 0"):
        return CommitRefused(f"Failed to compare-and-swap metadata of [{change.supervisor_id}]", retryable=True)
    return None


def step_from(stored: Metadata | None, start: Metadata) -> Step:
    """
    How `start` lies to the stored metadata. Pure.

    Streams: the partitions that both name must agree; ahead when no offset is behind and one is beyond.
    """
    if "partitions" not in start:
        before = None if stored is None else stored.get("theObject")
        return Step.FITS if before == start.get("theObject") else Step.DIVERGED
    if stored is None:
        return Step.FITS
    there, given = stored.get("partitions") or {}, start["partitions"]
    offsets, starts = _offsets(there), _offsets(given)
    shared = [(offsets[partition], starts[partition]) for partition in starts if partition in offsets]
    if _stream(there) != _stream(given):
        return Step.DIVERGED
    if all(before == after for before, after in shared):
        return Step.FITS
    return Step.AHEAD if all(_is_not_behind(after, before) for before, after in shared) else Step.DIVERGED


def merged(stored: Metadata, end: Metadata) -> Metadata:
    """The stored metadata moved on to `end`; partitions it does not name stay. Druid: DataSourceMetadata.plus"""
    if "partitions" not in end or _stream(stored.get("partitions") or {}) != _stream(end["partitions"]):
        return end
    ends: Metadata = end["partitions"]
    name = "partitionOffsetMap" if "partitionOffsetMap" in ends else "partitionSequenceNumberMap"
    moved = _offsets(stored["partitions"]) | _offsets(ends)
    partitions = {key: moved if key in ("partitionOffsetMap", name) else value for key, value in ends.items()}
    return end | {"partitions": partitions}


def _offsets(partitions: Metadata) -> dict[str, Any]:
    """Kafka's sequence numbers are written under two names; the old one is what older Druids read."""
    return partitions.get("partitionSequenceNumberMap") or partitions.get("partitionOffsetMap") or {}


def _stream(partitions: Metadata) -> Any:
    return partitions.get("stream", partitions.get("topic"))


def _is_not_behind(after: Any, before: Any) -> bool:
    """Offsets are numbers (Kafka) or decimal texts of any length (Kinesis)."""
    try:
        return int(after) >= int(before)
    except (TypeError, ValueError):
        return False


def _text(metadata: Metadata | None) -> str:
    return "null" if metadata is None else orjson.dumps(metadata).decode()
