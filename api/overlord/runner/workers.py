"""Runners as Druid shows them: workers, capacity, worker configuration. Druid: OverlordResource"""

from typing import Any, cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidTask
from druid_core.instant import format_instant
from druid_core.redaction import without_secrets
from overlord import configuration
from overlord.audit import author_of
from overlord.db import hints
from overlord.db.pool import connection, transaction
from overlord.problems import Unreadable
from overlord.replica import replica_of
from overlord.task.queue_config import check_task_limits
from overlord.web import empty_answer, is_json, json_answer, json_body, raw_json_answer

router = APIRouter(prefix="/druid/indexer/v1", tags=["Workers"])

CONFIG_KEY = "worker.config"
"""In `druid_config` and `druid_audit`. Druid: WorkerBehaviorConfig.CONFIG_KEY"""


@router.get("/workers", summary="The workers and what they run")
async def list_workers(request: Request) -> Response:
    """Every runner that was heard of lately. One that takes no work has an empty version, as in Druid."""
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        rows = await tx.fetch(
            """
            SELECT runner.announcement, runner.enabled AND NOT runner.disabled_here AS enabled, slots.capacity,
                   runner.last_completed_ms, runner.last_seen_ms,
                   COALESCE(array_agg(attempt.task_id ORDER BY attempt.task_id)
                       FILTER (WHERE attempt.task_id IS NOT NULL), '{}') AS tasks,
                   COALESCE(array_agg(attempt.group_id ORDER BY attempt.task_id)
                       FILTER (WHERE attempt.task_id IS NOT NULL), '{}') AS groups,
                   count(*) FILTER (WHERE task.type = 'index_parallel')::int AS parallel
            FROM nemeton_runners AS runner JOIN nemeton_slots AS slots USING (runner_id)
            LEFT JOIN nemeton_attempts AS attempt ON attempt.runner_id = runner.runner_id
                AND attempt.state IN ('ASSIGNED', 'STARTING', 'RUNNING')
            LEFT JOIN druid_tasks AS task ON task.id = attempt.task_id
            WHERE runner.last_seen_ms >= $1 GROUP BY runner.runner_id, slots.capacity ORDER BY runner.runner_id
            """,
            replica.clock_ms() - replica.settings.runner_timeout_ms,
        )
    return json_answer([_worker(row) for row in rows])


@router.get("/totalWorkerCapacity", summary="Slots, all and used")
async def total_capacity(request: Request) -> Response:
    """-1 where something is unknown."""
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        row = await tx.fetchrow(
            """
            SELECT LEAST(COALESCE(sum(capacity), 0), 2147483647)::int AS capacity,
                   (SELECT count(*) FROM nemeton_attempts
                    WHERE state IN ('ASSIGNED', 'STARTING', 'RUNNING'))::int AS used
            FROM nemeton_slots WHERE last_seen_ms >= $1
            """,
            replica.clock_ms() - replica.settings.runner_timeout_ms,
        )
    assert row is not None
    return json_answer(
        {
            "currentClusterCapacity": row["capacity"],
            "maximumCapacityWithAutoScale": -1,
            "usedClusterCapacity": row["used"],
        }
    )


@router.get("/scaling", summary="Autoscaler statistics: there is no autoscaler")
async def scaling() -> Response:
    return raw_json_answer(b"")


@router.post("/worker/{host}/enable", summary="Let a worker take work again")
async def enable(request: Request, host: str) -> Response:
    return await _set_disabled(request, host, disabled=False)


@router.post("/worker/{host}/disable", summary="Give a worker no more work")
async def disable(request: Request, host: str) -> Response:
    """What it runs goes on."""
    return await _set_disabled(request, host, disabled=True)


@router.get("/worker", summary="The worker configuration, empty while none was set")
async def get_config(request: Request) -> Response:
    async with connection(replica_of(request).pool) as tx:
        config = await configuration.read(tx, CONFIG_KEY)
    return json_answer(without_secrets(orjson.loads(config))) if config else raw_json_answer(b"")


@router.post("/worker", summary="Set the worker configuration")
async def set_config(request: Request) -> Response:
    """Stored and audited for the tools that set it; runners are chosen by load alone."""
    if not is_json(request):
        return empty_answer(415)
    raw: Any = await json_body(request)
    if raw is None:
        raise Unreadable("The request body holds no worker config")
    if not isinstance(raw, dict):
        raise InvalidTask("Cannot read the body of the worker config: expected a JSON object")
    payload = orjson.dumps(_effective_config(cast("dict[str, Any]", raw)))
    replica = replica_of(request)
    async with transaction(replica.pool) as tx:
        await configuration.write(tx, CONFIG_KEY, payload, author_of(request), replica.clock_ms())
    return empty_answer(200)


@router.get("/worker/history", summary="Changes of the worker configuration, by time or by count")
async def config_history(request: Request) -> Response:
    """The newest `count`, newest first; or those of `interval`, by default the last week's, oldest first."""
    return await configuration.history_answer(request, CONFIG_KEY)


async def _set_disabled(request: Request, host: str, *, disabled: bool) -> Response:
    async with transaction(replica_of(request).pool) as tx:
        tag = await tx.execute("UPDATE nemeton_runners SET disabled_here = $2 WHERE host = $1", host, disabled)
        await hints.send(tx, hints.QUEUE)
    if tag == "UPDATE 0":
        return json_answer({"error": f"Worker on host {host} does not exists"}, 500)
    return json_answer({host: "disabled" if disabled else "enabled"})


def _worker(row: Any) -> dict[str, Any]:
    announced = orjson.loads(row["announcement"])
    completed_ms = row["last_completed_ms"] or row["last_seen_ms"]
    return {
        "worker": {
            "scheme": announced["scheme"],
            "host": announced["host"],
            "ip": announced["ip"],
            # what it offers, also while it is disabled; for pods the dynamic configuration may say otherwise
            "capacity": row["capacity"] or announced["capacity"],
            "version": announced["version"] if row["enabled"] else "",
            "category": announced["category"],
        },
        "currCapacityUsed": len(row["tasks"]),
        "currParallelIndexCapacityUsed": row["parallel"],
        "availabilityGroups": row["groups"],
        "runningTasks": row["tasks"],
        "lastCompletedTaskTime": format_instant(completed_ms),
    }


def _effective_config(raw: dict[str, Any]) -> dict[str, Any]:
    """
    With the defaults that Druid fills in; a strategy that it does not know is its default one.

    Raises InvalidTask for a strategy that would run a script or is no object, and for limits that nobody could keep.
    """
    strategy: Any = raw.get("selectStrategy")
    if strategy is not None:
        if not isinstance(strategy, dict):
            raise InvalidTask("Cannot read selectStrategy of the worker config: expected a JSON object")
        fields = cast("dict[str, Any]", strategy)
        if fields.get("type") == "javascript":
            raise InvalidTask("Cannot construct instance of `worker select strategy`, problem: JavaScript is disabled")
        check_task_limits(fields.get("taskLimits") or {})
        kind = named if (named := str(fields.get("type"))) in _STRATEGIES else "equalDistribution"
        preference = _STRATEGIES[kind]
        limits: dict[str, Any] = {"maxSlotCountByType": {}, "maxSlotRatioByType": {}}
        strategy = {
            "type": kind,
            preference: fields.get(preference),
            "taskLimits": fields.get("taskLimits") or limits,
        }
    return {"type": "default", "selectStrategy": strategy, "autoScaler": raw.get("autoScaler")}


_STRATEGIES = {
    "equalDistribution": "affinityConfig",
    "equalDistributionWithAffinity": "affinityConfig",
    "equalDistributionWithCategorySpec": "workerCategorySpec",
    "fillCapacity": "affinityConfig",
    "fillCapacityWithAffinity": "affinityConfig",
    "fillCapacityWithCategorySpec": "workerCategorySpec",
}
"""Druid's strategies, and the field in which each is told whom to prefer."""
