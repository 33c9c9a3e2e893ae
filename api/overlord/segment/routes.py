"""
`/druid/indexer/v1/datasources/…`: segments marked used and unused. Druid: OverlordDataSourcesResource

Marking unused is what makes segments killable, marking used is how to have them back until then.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from druid_core.errors import InvalidInput
from druid_core.interval import ETERNITY, Interval
from druid_core.redaction import without_secrets
from overlord import audit
from overlord.db.pool import Connection, transaction
from overlord.replica import replica_of
from overlord.segment import mark
from overlord.web import empty_answer, is_json, json_answer, json_body, may_be_json, raw_json_answer, words_of

router = APIRouter(prefix="/druid/indexer/v1/datasources", tags=["Segments"])

Change = Callable[[Connection, int], Awaitable[int]]
"""Changes rows at an instant in milliseconds; how many."""

_EITHER = (
    "Invalid request payload. Specify either 'interval' or 'segmentIds', but not both. "
    "Optionally, include 'versions' only when 'interval' is provided."
)


@router.post("/{data_source}")
async def mark_all_used(request: Request, data_source: str) -> Response:
    """Mark every unused segment of the datasource as used, unless a newer one lies over it."""
    if not may_be_json(request):
        return empty_answer(415)
    return await _changed(request, lambda tx, now_ms: mark.mark_used(tx, data_source, ETERNITY, None, now_ms))


@router.delete("/{data_source}")
async def mark_all_unused(request: Request, data_source: str) -> Response:
    """Mark every segment of the datasource as unused."""
    return await _changed(
        request, _audited(request, data_source, lambda tx, now: mark.mark_unused(tx, data_source, ETERNITY, None, now))
    )


@router.post("/{data_source}/markUsed")
async def mark_used(request: Request, data_source: str) -> Response:
    """Mark segments as used: `{"interval", "versions"}` or `{"segmentIds"}`; overshadowed ones stay as they are."""
    return await _filtered(
        request,
        lambda interval, versions: lambda tx, now_ms: mark.mark_used(tx, data_source, interval, versions, now_ms),
        lambda ids: lambda tx, now_ms: mark.mark_ids_used(tx, data_source, ids, now_ms),
    )


@router.post("/{data_source}/markUnused")
async def mark_unused(request: Request, data_source: str) -> Response:
    """Mark segments as unused: those wholly inside `{"interval", "versions"}`, or `{"segmentIds"}`."""
    return await _filtered(
        request,
        lambda interval, versions: _audited(
            request, data_source, lambda tx, now: mark.mark_unused(tx, data_source, interval, versions, now)
        ),
        lambda ids: _audited(request, data_source, lambda tx, now: mark.mark_ids_unused(tx, data_source, ids, now)),
    )


@router.post("/{data_source}/segments/{segment_id}")
async def mark_segment_used(request: Request, data_source: str, segment_id: str) -> Response:
    """Mark one segment as used, whatever lies over it."""
    if not may_be_json(request):
        return empty_answer(415)
    if not mark.is_segment_id(data_source, segment_id):
        return _no_segment_id(data_source, segment_id)
    return await _changed(request, lambda tx, now_ms: mark.mark_one_used(tx, data_source, segment_id, now_ms))


@router.delete("/{data_source}/segments/{segment_id}")
async def mark_segment_unused(request: Request, data_source: str, segment_id: str) -> Response:
    """Mark one segment as unused."""
    if not mark.is_segment_id(data_source, segment_id):
        return _no_segment_id(data_source, segment_id)
    return await _changed(request, lambda tx, now_ms: mark.mark_ids_unused(tx, data_source, [segment_id], now_ms))


async def _filtered(
    request: Request,
    by_interval: Callable[[Interval, list[str] | None], Change],
    by_ids: Callable[[list[str]], Change],
) -> Response:
    """A change of what the request's filter selects. Druid: SegmentsToUpdateFilter"""
    if not is_json(request):
        return empty_answer(415)
    raw: Any = await json_body(request)
    if not isinstance(raw, dict):
        return _refused(_EITHER)
    fields = cast("dict[str, Any]", raw)
    interval, versions, ids = fields.get("interval"), fields.get("versions"), fields.get("segmentIds")
    if (interval is None) == (ids is None) or (ids is not None and (versions is not None or not ids)):
        return _refused(_EITHER)
    if interval is not None:
        try:
            wanted = Interval.parse(str(interval))
        except InvalidInput as error:
            return json_answer({"error": words_of(error, request)}, 400)
        return await _changed(request, by_interval(wanted, _texts("versions", versions)))
    return await _changed(request, by_ids(_texts("segmentIds", ids) or []))


def _audited(request: Request, data_source: str, change: Change) -> Change:
    """The change, and an entry of the audit: what was asked for or, of a whole datasource, what came of it."""

    async def audited(tx: Connection, now_ms: int) -> int:
        changed = await change(tx, now_ms)
        told = await request.body() or orjson.dumps(_outcome(changed))
        author, call = audit.author_of(request), audit.call_of(request)
        await audit.record(tx, data_source, "segment.markUnused", told, author, now_ms, call)
        return changed

    return audited


async def _changed(request: Request, change: Change) -> Response:
    replica = replica_of(request)
    async with transaction(replica.pool) as tx:
        changed = await change(tx, replica.clock_ms())
    return json_answer(_outcome(changed))


def _outcome(changed: int) -> dict[str, Any]:
    """Druid: SegmentUpdateResponse"""
    return {"numChangedSegments": changed, "segmentStateChanged": changed > 0}


def _no_segment_id(data_source: str, segment_id: str) -> Response:
    return _refused(f"Could not parse Segment ID[{segment_id}] for DataSource[{data_source}]")


def _refused(words: str) -> Response:
    """Druid's words as they are, under the media type of JSON."""
    return raw_json_answer(without_secrets(words).encode(), 400)


def _texts(name: str, raw: object) -> list[str] | None:
    """A list of texts; None stays None. Raises InvalidInput for anything else."""
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise InvalidInput(f"[{name}] must be a list of texts")
    return [str(each) for each in cast("list[object]", raw)]
