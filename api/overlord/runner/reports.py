"""What runners report of attempts, written down. Every report may be repeated, and come late."""

from typing import assert_never

from druid_core.runner import AttemptReport, AttemptState
from overlord.db.pool import Connection, transaction
from overlord.replica import Replica
from overlord.task.settle import Ending, settle


async def take(replica: Replica, report: AttemptReport) -> None:
    """One report, in a transaction of its own. Calling twice is calling once."""
    now_ms = replica.clock_ms()
    async with transaction(replica.pool) as tx:
        match report.state:
            case AttemptState.STARTING | AttemptState.RUNNING:
                await _progress(tx, report, now_ms)
            case AttemptState.ENDED:
                ending = Ending(report.task_id, report.attempt, report.reason, report.status)
                await settle(tx, ending, now_ms)
            case _:
                assert_never(report.state)


async def _progress(tx: Connection, report: AttemptReport, now_ms: int) -> None:
    """An attempt that lives. It never goes back, and a void one stays void. A location that is known stays known."""
    location = report.location
    known = location is not None and location.is_known
    await tx.execute(
        """
        UPDATE nemeton_attempts SET
            state = CASE WHEN state = 'RUNNING' THEN state ELSE $3 END,
            started_ms = CASE WHEN $3 = 'RUNNING' THEN COALESCE(started_ms, $4) ELSE started_ms END,
            reported_ms = $4,
            host = CASE WHEN $5 THEN $6 ELSE host END,
            port = CASE WHEN $5 THEN $7 ELSE port END,
            tls_port = CASE WHEN $5 THEN $8 ELSE tls_port END,
            k8s_pod_name = CASE WHEN $5 THEN COALESCE($9, k8s_pod_name) ELSE k8s_pod_name END
        WHERE task_id = $1 AND attempt = $2 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        """,
        report.task_id,
        report.attempt,
        report.state.value,
        now_ms,
        known,
        location.host if location is not None else None,
        location.port if location is not None else -1,
        location.tls_port if location is not None else -1,
        location.k8s_pod_name if location is not None else None,
    )
