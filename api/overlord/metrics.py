"""Metrics as Prometheus reads them: gauges from the rows, the same at every replica, and this one's own counter."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from overlord.db.pool import connection
from overlord.replica import replica_of
from overlord.task.intake import Intake
from overlord.web import PlainResponse

router = APIRouter(tags=["Node"])

_RUNNER_STATES = {
    "WAITING": "waiting",
    "PENDING": "pending",
    "ASSIGNED": "pending",
    "STARTING": "pending",
    "RUNNING": "running",
}


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Druid: task/waiting/count, task/pending/count, task/running/count, taskSlot/total/count, taskSlot/used/count"""
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        states = await tx.fetch(
            "SELECT state, count(*)::int AS attempts FROM nemeton_attempts "
            "WHERE state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING') GROUP BY state"
        )
        slots = await tx.fetchval(
            "SELECT COALESCE(sum(capacity), 0)::bigint FROM nemeton_slots WHERE last_seen_ms >= $1",
            replica.clock_ms() - replica.settings.runner_timeout_ms,
        )
    counts: dict[str, int] = {"waiting": 0, "pending": 0, "running": 0}
    used = 0
    for row in states:
        counts[_RUNNER_STATES[row["state"]]] += row["attempts"]
        used += row["attempts"] if row["state"] in ("ASSIGNED", "STARTING", "RUNNING") else 0
    intake: Intake = request.app.state.intake
    lines = [
        "# HELP nemeton_tasks Attempts that are not over, by where they stand.",
        "# TYPE nemeton_tasks gauge",
        *(f'nemeton_tasks{{state="{state}"}} {count}' for state, count in counts.items()),
        "# HELP nemeton_slots Slots of all runners.",
        "# TYPE nemeton_slots gauge",
        f'nemeton_slots{{kind="total"}} {slots}',
        f'nemeton_slots{{kind="used"}} {used}',
        "# HELP nemeton_tasks_accepted_total Tasks that this replica has stored since its start.",
        "# TYPE nemeton_tasks_accepted_total counter",
        f"nemeton_tasks_accepted_total {intake.accepted}",
        "",
    ]
    return PlainResponse("\n".join(lines).encode(), 200, "text/plain; version=0.0.4; charset=utf-8")
