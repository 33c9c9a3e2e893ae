"""
Which intervals are locked: asked by the Coordinator before it compacts, and by people. Druid: OverlordResource
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from druid_core.errors import InvalidInput
from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from druid_core.wire import WireModel
from overlord.db.pool import connection
from overlord.lock import store
from overlord.lock.store import LockRow
from overlord.replica import replica_of
from overlord.web import empty_answer, is_json, json_answer, json_body, text_answer

router = APIRouter(tags=["Locks"])


_EXAMPLE = '{"datasource": "web", "priority": 0}'
_EXPECTED = {
    "datasource": "the name of a datasource",
    "priority": "a whole number",
    "intervals": 'a list of intervals such as "2026-01-01/2026-01-02"',
    "context": "an object",
}
_SHOWN_CHARACTERS = 80
"""Of a wrong value, in a message."""


class LockFilter(WireModel):
    """Which locks of a datasource to show: those of at least this priority. Druid: LockFilterPolicy"""

    datasource: str
    priority: int = 0
    intervals: list[Interval] | None = None
    context: dict[str, Any] | None = None


@router.post("/lockedIntervals/v2")
async def locked_intervals(request: Request) -> Response:
    """The intervals that are locked, by datasource. Body: a list of `{"datasource", "priority", "context"}`."""
    return await _answer(request, intervals_shown)


@router.post("/activeLocks")
async def active_locks(request: Request) -> Response:
    """The locks themselves, by datasource. Body: a list of `{"datasource", "priority", "intervals", "context"}`."""
    return await _answer(request, locks_shown)


async def _answer(
    request: Request, answer: Callable[[Sequence[LockRow], list[LockFilter]], dict[str, Any]]
) -> Response:
    if not is_json(request):
        return empty_answer(415)
    raw: Any = await json_body(request)
    if not raw:
        return text_answer("No filter provided", 400)
    filters = parse_filters(raw)
    async with connection(replica_of(request).pool) as held:
        rows = await store.of_data_sources(held, {each.datasource for each in filters})
    return json_answer(answer(rows, filters))


def parse_filters(raw: object) -> list[LockFilter]:
    """Raises InvalidInput that names the field which is wrong, and what it should be."""
    if not isinstance(raw, list):
        raise InvalidInput(f"Expected a list of lock filters such as {_EXAMPLE}, not {_kind(raw)}")
    return [_parse_filter(each, position) for position, each in enumerate(cast("list[object]", raw))]


def _parse_filter(raw: object, position: int) -> LockFilter:
    if not isinstance(raw, dict):
        raise InvalidInput(f"Lock filter [{position}]: expected an object such as {_EXAMPLE}, not {_kind(raw)}")
    fields = cast("dict[str, Any]", raw)
    try:
        return LockFilter.model_validate(fields)
    except (ValidationError, InvalidInput) as error:
        # InvalidInput is the interval's own
        field = str(error.errors()[0]["loc"][0]) if isinstance(error, ValidationError) else "intervals"
        if field in fields:
            problem = f"[{field}] must be {_EXPECTED[field]}, not {_kind(fields[field])}"
        else:
            strange = [f"[{name}]" for name in fields if name not in LockFilter.model_fields]
            instead = f"; {' and '.join(strange)} means nothing here" if strange else ""
            problem = f"[{field}] is missing: expected {_EXPECTED[field]}{instead}"
        raise InvalidInput(f"Lock filter [{position}]: {problem}") from error


def _kind(raw: object) -> str:
    """What a JSON value is, for those who sent it; short ones as they are."""
    match raw:
        case dict():
            return "an object"
        case list() if len(str(cast("list[object]", raw))) > _SHOWN_CHARACTERS:
            return "this list"
        case _:
            text = orjson.dumps(raw).decode()
            return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def intervals_shown(rows: Sequence[LockRow], filters: list[LockFilter]) -> dict[str, Any]:
    """The answer of `/lockedIntervals/v2`, given all locks. Druid: TaskLockbox.getLockedIntervals"""
    shown: dict[str, dict[str, None]] = {}
    for wanted in filters:
        context = wanted.context or {}
        beside_appends = context.get("useConcurrentLocks") is True or context.get("taskLockType") == LockType.REPLACE
        for row in rows:
            if _is_shown(row, wanted) and not (beside_appends and row.lock.type is LockType.APPEND):
                shown.setdefault(row.lock.data_source, {})[str(row.lock.interval)] = None
    return {data_source: list(intervals) for data_source, intervals in shown.items()}


def locks_shown(rows: Sequence[LockRow], filters: list[LockFilter]) -> dict[str, Any]:
    """The answer of `/activeLocks`, given all locks. Druid: TaskLockbox.getActiveLocks"""
    shown: dict[str, dict[TaskLock | int, dict[str, Any]]] = {}
    for wanted in filters:
        context = wanted.context or {}
        concurrent = context.get("useConcurrentLocks")
        appends = concurrent is True or (concurrent is None and context.get("taskLockType") == LockType.APPEND)
        for row in rows:
            overlaps = wanted.intervals is None or any(row.lock.interval.overlaps(each) for each in wanted.intervals)
            if overlaps and _is_shown(row, wanted) and not (appends and row.lock.type is LockType.APPEND):
                key = row.lock if row.lock.is_shared else row.id
                shown.setdefault(row.lock.data_source, {})[key] = row.lock.to_stored()
    return {
        "datasourceToLocks": {
            data_source: sorted(locks.values(), key=lambda wire: Interval.parse(wire["interval"]))
            for data_source, locks in shown.items()
        }
    }


def _is_shown(row: LockRow, wanted: LockFilter) -> bool:
    return (
        row.lock.data_source == wanted.datasource
        and not row.lock.revoked
        and (row.lock.priority or 0) >= wanted.priority
    )
