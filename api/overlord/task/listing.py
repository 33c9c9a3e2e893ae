"""
Lists and status of tasks, as Druid's TaskStatusPlus.

Rows become JSON without a model each: a list may hold ten thousand of them.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.interval import Interval
from overlord.db.pool import Connection

EPOCH = "1970-01-01T00:00:00.000Z"

_BATCH_TASKS = 500
"""Read at a time: some milliseconds of work, after which others get a turn."""

STATES = ("pending", "waiting", "running", "complete")

_RUNNER_STATUS = {
    "WAITING": "WAITING",
    "PENDING": "PENDING",
    "ASSIGNED": "PENDING",
    "STARTING": "PENDING",
    "RUNNING": "RUNNING",
}
"""What an open attempt's state is called in Druid's answers; no open attempt is WAITING."""

_STATES_OF = {
    "waiting": "(attempt.state IS NULL OR attempt.state = 'WAITING')",
    "pending": "attempt.state IN ('PENDING', 'ASSIGNED', 'STARTING')",
    "running": "attempt.state = 'RUNNING'",
}
"""The same, the other way round: a list of the few that run must not read the many that wait."""

_UNKNOWN_LOCATION: dict[str, Any] = {"host": None, "port": -1, "tlsPort": -1}

_COLUMNS = """
    task.id, task.created_date, task.datasource, task.type, task.group_id,
    CASE WHEN task.type IS NULL OR task.group_id IS NULL THEN task.payload END AS payload
"""
"""Rows of an older Druid have their type and group in the payload alone."""

_ATTEMPT = """
    LEFT JOIN nemeton_attempts AS attempt ON attempt.task_id = task.id
        AND attempt.state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING')
"""

_ATTEMPT_COLUMNS = (
    "attempt.state, attempt.released_ms, attempt.host, attempt.port, attempt.tls_port, attempt.k8s_pod_name"
)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What a list shows; None shows all."""

    state: str | None = None
    data_source: str | None = None
    type: str | None = None
    created: Interval | None = None
    finished_since_ms: int = 0
    """Finished tasks created before this are not shown, unless `created` says which ones are."""
    max_finished: int | None = None
    is_visible: Callable[[str], bool] | None = None
    """Which datasources whoever asks may see; None: all."""
    page: "Page | None" = None
    """A part of the list; None: the whole."""


class NoSuchPage(InvalidInput):
    """What is asked for is no page of a list."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. Druid has no pages."""

    limit: int
    after: str | None = None
    """The id of the last task of the page before; None: the first page."""


@dataclass(frozen=True, slots=True)
class _After:
    """Where a page begins: behind this task."""

    active: bool
    created: str
    task_id: str


def parse_window(text: str) -> Interval:
    """
    `createdTimeInterval`: an interval with `_` or `/` between its parts.

    Raises InvalidInput.
    """
    return Interval.parse(text if "/" in text else text.replace("_", "/", 1))


async def tasks_json(tx: Connection, wanted: TaskFilter) -> list[bytes]:
    """
    The list as a JSON array in pieces, all of one instant: a task that finishes meanwhile is neither lost nor doubled.

    A list without pages may be of a hundred thousand tasks. What is kept of it is its text alone, and others get their
    turn between two batches. Raises what `tasks` raises.
    """
    pieces: list[bytes] = []
    async with tx.transaction(isolation="repeatable_read", readonly=True):
        async for batch in tasks(tx, wanted):
            pieces += (b"," if pieces else b"[", orjson.dumps(batch)[1:-1])
    return [*(pieces or [b"["]), b"]"]


async def tasks(tx: Connection, wanted: TaskFilter) -> AsyncIterator[list[dict[str, Any]]]:
    """
    TaskStatusPlus of each task: finished ones first, newest first, then active ones, oldest first. In batches, none of
    which is empty; within a transaction.

    Raises InvalidInput when `max_finished` is negative, and NoSuchPage for a page after a task that is unknown.
    """
    if wanted.max_finished is not None and wanted.max_finished < 0:
        raise InvalidInput(f"Invalid value for max: [{wanted.max_finished}] is negative")
    page, after = wanted.page, None
    if page is not None and page.after is not None:
        row = await tx.fetchrow(
            "SELECT active, created_date, id, datasource FROM druid_tasks WHERE id = $1", page.after
        )
        # a task that may not be seen is as good as none: where a page begins would tell that it is there, and when
        if row is None or (wanted.is_visible is not None and not wanted.is_visible(row["datasource"])):
            raise NoSuchPage(f"Invalid value for after: no task has the id [{page.after}]")
        after = _After(row["active"], row["created_date"], row["id"])
    left = None if page is None else page.limit
    if wanted.state in (None, "complete") and (after is None or not after.active):
        async for batch in _finished(tx, wanted, _least(wanted.max_finished, left), after):
            left = None if left is None else left - len(batch)
            yield batch
    if wanted.state != "complete" and left != 0:
        async for batch in _active(tx, wanted, left, after if after is not None and after.active else None):
            yield batch


async def status_plus(tx: Connection, task_id: str) -> dict[str, Any] | None:
    """
    TaskStatusPlus of one task, None when it is unknown.

    Here a finished task's runnerStatusCode is WAITING and queueInsertionTime always the epoch, as Druid has it.
    """
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS}, task.status_payload, task.active, {_ATTEMPT_COLUMNS} "
        f"FROM druid_tasks AS task {_ATTEMPT} WHERE task.id = $1",
        task_id,
    )
    if row is None:
        return None
    shown = _active_task(row) if row["active"] else _finished_task(row)
    shown["queueInsertionTime"] = EPOCH
    if not row["active"]:
        shown["runnerStatusCode"] = "WAITING"
    return shown


async def statuses(
    tx: Connection, task_ids: list[str], group_id: str | None = None, data_source: str | None = None
) -> dict[str, Any]:
    """
    The stored status of each known id, with the location of its peon while it runs; with a `group_id` and a
    `data_source` of these alone. Druid: TaskStatus
    """
    rows = await tx.fetch(
        f"SELECT task.id, task.active, task.status_payload, {_ATTEMPT_COLUMNS} "
        f"FROM druid_tasks AS task {_ATTEMPT} WHERE task.id = ANY ($1) AND ($2::text IS NULL OR task.group_id = $2) "
        "AND ($3::text IS NULL OR task.datasource = $3)",
        task_ids,
        group_id,
        data_source,
    )
    found: dict[str, Any] = {}
    for row in rows:
        status = orjson.loads(row["status_payload"])
        found[row["id"]] = {
            "id": row["id"],
            "status": status["status"],
            "duration": status.get("duration", -1),
            "errorMsg": status.get("errorMsg"),
            "location": _location(row) if row["active"] else _stored_location(status),
        }
    return found


def _finished(
    tx: Connection, wanted: TaskFilter, most: int | None, after: _After | None
) -> AsyncIterator[list[dict[str, Any]]]:
    created_from = format_instant(wanted.created.start_ms if wanted.created else wanted.finished_since_ms)
    where = ["NOT task.active", "task.created_date >= $1"]
    values: list[Any] = [created_from]
    if wanted.created is not None:
        values.append(format_instant(wanted.created.end_ms))
        where.append(f"task.created_date < ${len(values)}")
    _narrow(wanted, where, values)
    if after is not None:
        values += [after.created, after.task_id]
        where.append(f"(task.created_date, task.id) < (${len(values) - 1}, ${len(values)})")
    statement = (
        f"SELECT {_COLUMNS}, task.status_payload FROM druid_tasks AS task WHERE {' AND '.join(where)} "
        "ORDER BY task.created_date DESC, task.id DESC"
    )
    return _batches(tx, statement, values, _finished_task, wanted, most)


def _active(
    tx: Connection, wanted: TaskFilter, most: int | None, after: _After | None
) -> AsyncIterator[list[dict[str, Any]]]:
    where, values = ["task.active"], list[Any]()
    if wanted.created is not None:
        values += [format_instant(wanted.created.start_ms), format_instant(wanted.created.end_ms)]
        where += ["task.created_date >= $1", "task.created_date < $2"]
    _narrow(wanted, where, values)
    if after is not None:
        values += [after.created, after.task_id]
        where.append(f"(task.created_date, task.id) > (${len(values) - 1}, ${len(values)})")
    if wanted.state is not None:
        where.append(_STATES_OF[wanted.state])
    statement = (
        f"SELECT {_COLUMNS}, {_ATTEMPT_COLUMNS} FROM druid_tasks AS task {_ATTEMPT} WHERE {' AND '.join(where)} "
        "ORDER BY task.created_date, task.id"
    )
    return _batches(tx, statement, values, _active_task, wanted, most)


async def _batches(
    tx: Connection,
    statement: str,
    values: list[Any],
    shown: Callable[[asyncpg.Record], dict[str, Any]],
    wanted: TaskFilter,
    most: int | None,
) -> AsyncIterator[list[dict[str, Any]]]:
    """The first `most` rows that may be seen: what nobody is shown does not count."""
    visible = wanted.is_visible
    limit = most if visible is None else None
    left = -1 if most is None else most
    batch: list[dict[str, Any]] = []
    async for row in tx.cursor(f"{statement} LIMIT ${len(values) + 1}", *values, limit, prefetch=_BATCH_TASKS):
        if left == 0:
            break
        if visible is not None and not visible(row["datasource"]):
            continue
        left -= 1
        batch.append(shown(row))
        if len(batch) == _BATCH_TASKS:
            yield batch
            batch = []
    if batch:
        yield batch


def _least(one: int | None, other: int | None) -> int | None:
    """The smaller of two limits, of which None is none."""
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _narrow(wanted: TaskFilter, where: list[str], values: list[Any]) -> None:
    """Datasource and type, in SQL, so that `max` counts only what is asked for (Druid filters the type after it)."""
    for column, value in (("datasource", wanted.data_source), ("type", wanted.type)):
        if value is not None:
            values.append(value)
            where.append(f"task.{column} = ${len(values)}")


def _finished_task(row: asyncpg.Record) -> dict[str, Any]:
    status = orjson.loads(row["status_payload"])
    code = status["status"]
    return {
        **_identity(row),
        "queueInsertionTime": EPOCH,
        "statusCode": code,
        "status": code,
        "runnerStatusCode": "NONE",
        "duration": status.get("duration", -1),
        "location": _stored_location(status),
        "dataSource": row["datasource"],
        "errorMsg": status.get("errorMsg"),
    }


def _active_task(row: asyncpg.Record) -> dict[str, Any]:
    released_ms = row["released_ms"]
    return {
        **_identity(row),
        "queueInsertionTime": EPOCH if released_ms is None else format_instant(released_ms),
        "statusCode": "RUNNING",
        "status": "RUNNING",
        "runnerStatusCode": _RUNNER_STATUS.get(row["state"], "WAITING"),
        "duration": -1,
        "location": _location(row),
        "dataSource": row["datasource"],
        "errorMsg": None,
    }


def _identity(row: asyncpg.Record) -> dict[str, Any]:
    task_type, group_id = row["type"], row["group_id"]
    if row["payload"] is not None:
        payload = orjson.loads(row["payload"])
        task_type, group_id = payload.get("type"), payload.get("groupId", row["id"])
    return {"id": row["id"], "groupId": group_id, "type": task_type, "createdTime": row["created_date"]}


def _location(row: asyncpg.Record) -> dict[str, Any]:
    if row["state"] != "RUNNING" or row["host"] is None:
        return _UNKNOWN_LOCATION
    location: dict[str, Any] = {"host": row["host"], "port": row["port"], "tlsPort": row["tls_port"]}
    if row["k8s_pod_name"] is not None:
        location["k8sPodName"] = row["k8s_pod_name"]
    return location


def _stored_location(status: dict[str, Any]) -> dict[str, Any]:
    return status.get("location") or _UNKNOWN_LOCATION
