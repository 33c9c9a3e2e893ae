"""
What runners report of attempts, written down. Every report may be repeated, and come late.

A list is taken in few statements: one for all that live, one for the peons of tasks that are finished already, and a
transaction each only for those whose end decides over a task.
"""

from functools import partial
from typing import Any

import orjson

from druid_core import tracing
from druid_core.runner import AttemptReport, AttemptState
from druid_core.status import UNKNOWN_LOCATION
from overlord import events
from overlord.db import hints
from overlord.db.pool import Connection, after_commit, transaction
from overlord.metrics import meters
from overlord.replica import Replica
from overlord.task.settle import Ending, settle


async def take(replica: Replica, reports: list[AttemptReport]) -> None:
    """All of a list, of several reports of one attempt the last. Calling twice is calling once."""
    now_ms = replica.clock_ms()
    latest: dict[tuple[str, int], AttemptReport] = {}
    for report in reports:
        known = latest.get((report.task_id, report.attempt))
        if known is None or known.state is not AttemptState.ENDED:
            latest[report.task_id, report.attempt] = report
    alive = [report for report in latest.values() if report.state is not AttemptState.ENDED]
    ended = [report for report in latest.values() if report.state is AttemptState.ENDED]
    settled: set[tuple[str, int]] = set()
    if alive or len(ended) > 1:
        async with transaction(replica.pool) as tx:
            if alive:
                await _progress(tx, alive, now_ms)
            if len(ended) > 1:
                settled = await _end_of_finished(tx, ended, now_ms)
    for report in ended:
        if (report.task_id, report.attempt) not in settled:
            async with transaction(replica.pool) as tx:
                await settle(tx, _ending(report), replica.settings.max_attempts, now_ms)


async def _progress(tx: Connection, reports: list[AttemptReport], now_ms: int) -> None:
    """
    Attempts that live. None ever goes back, and a void one stays void. A location that is known stays known.

    One whose start waits for something stays ASSIGNED until its runner lists it: there may be no pod of it yet, and a
    runner that starts anew has to hear of it again.

    Rows are locked in one order, so that two lists do not wait for each other.
    """
    locations = [report.location or UNKNOWN_LOCATION for report in reports]
    rows: list[Any] = await tx.fetch(
        """
        WITH said AS (
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::int[], $7::text[],
                                 $8::text[])
                AS s (task_id, attempt, state, host, port, tls_port, k8s_pod_name, waiting_for)
        ),
        open AS (
            SELECT said.*, nemeton_attempts.started_ms IS NULL AND said.state = 'RUNNING' AS begins
            FROM nemeton_attempts JOIN said USING (task_id, attempt)
            WHERE nemeton_attempts.state IN ('ASSIGNED', 'STARTING', 'RUNNING')
            ORDER BY task_id, attempt FOR UPDATE OF nemeton_attempts
        )
        UPDATE nemeton_attempts AS attempt SET
            state = CASE WHEN attempt.state = 'RUNNING' THEN attempt.state
                         WHEN attempt.state = 'ASSIGNED' AND open.waiting_for IS NOT NULL THEN attempt.state
                         ELSE open.state END,
            started_ms = CASE WHEN open.state = 'RUNNING' THEN COALESCE(started_ms, $9) ELSE started_ms END,
            reported_ms = $9,
            waiting_for = open.waiting_for,
            host = COALESCE(open.host, attempt.host),
            port = CASE WHEN open.host IS NULL THEN attempt.port ELSE open.port END,
            tls_port = CASE WHEN open.host IS NULL THEN attempt.tls_port ELSE open.tls_port END,
            k8s_pod_name = COALESCE(open.k8s_pod_name, attempt.k8s_pod_name)
        FROM open WHERE attempt.task_id = open.task_id AND attempt.attempt = open.attempt
        RETURNING open.begins, attempt.task_id, attempt.attempt, attempt.runner_id, attempt.data_source,
                  attempt.submitted_ms, attempt.released_ms, attempt.assigned_ms, attempt.context,
                  (SELECT type FROM druid_tasks WHERE open.begins AND id = attempt.task_id) AS type
        """,
        [report.task_id for report in reports],
        [report.attempt for report in reports],
        [report.state.value for report in reports],
        [location.host for location in locations],
        [location.port for location in locations],
        [location.tls_port for location in locations],
        [location.k8s_pod_name for location in locations],
        [report.waiting_for for report in reports],
        now_ms,
    )
    for row in rows:
        if row["begins"]:
            after_commit(partial(_tell_begun, row, now_ms))


def _tell_begun(row: Any, now_ms: int) -> None:
    """The first word of a peon that runs, of each attempt once."""
    task_type: str = row["type"] or ""
    if row["attempt"] == 1:
        meters.task_began(task_type, row["submitted_ms"], row["released_ms"], now_ms)
    if tracing.is_on() and row["context"]:
        _trace_begun(row, now_ms)
    names = ("task_id", "attempt", "data_source", "runner_id")
    events.info("a task began", **{name: row[name] for name in names}, type=task_type)


def _trace_begun(row: Any, now_ms: int) -> None:
    """What the attempt waited for, as the spans that they were."""
    context: dict[str, Any] = orjson.loads(row["context"]) or {}
    parent = context.get(tracing.TRACEPARENT)
    about = {"task_id": row["task_id"], "attempt": row["attempt"], "runner_id": row["runner_id"]}
    released_ms = row["released_ms"] or row["submitted_ms"]
    assigned_ms = row["assigned_ms"] or now_ms
    if row["attempt"] == 1:
        tracing.past_span("wait for locks", parent, row["submitted_ms"], released_ms, **about)
    tracing.past_span("wait for a slot", parent, released_ms, assigned_ms, **about)
    tracing.past_span("assignment to peon", parent, assigned_ms, now_ms, **about)


async def _end_of_finished(tx: Connection, reports: list[AttemptReport], now_ms: int) -> set[tuple[str, int]]:
    """
    End the attempts whose task is finished, all in one statement; which these were.

    Nothing is left to decide for them: the usual case, since a peon says its last word before it goes.
    """
    rows: list[Any] = await tx.fetch(
        """
        WITH said AS (
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[]) AS s (task_id, attempt, reason, cause)
        ),
        over AS (
            SELECT said.* FROM nemeton_attempts JOIN said USING (task_id, attempt)
            WHERE finished AND state IN ('ASSIGNED', 'STARTING', 'RUNNING', 'LOST')
            ORDER BY task_id, attempt FOR UPDATE OF nemeton_attempts
        )
        UPDATE nemeton_attempts AS attempt SET state = 'ENDED', stop = FALSE, ended_ms = $5, told_ms = NULL,
            reason = COALESCE(over.reason, attempt.reason), cause = COALESCE(over.cause, attempt.cause)
        FROM over WHERE attempt.task_id = over.task_id AND attempt.attempt = over.attempt
        RETURNING attempt.task_id, attempt.attempt, attempt.runner_id
        """,
        [report.task_id for report in reports],
        [report.attempt for report in reports],
        [report.reason for report in reports],
        [report.cause for report in reports],
        now_ms,
    )
    runners = sorted({row["runner_id"] for row in rows if row["runner_id"] is not None})
    if runners:
        await tx.execute("UPDATE nemeton_runners SET last_completed_ms = $2 WHERE runner_id = ANY($1)", runners, now_ms)
        await hints.send(tx, *map(hints.of_runner, runners), hints.QUEUE)
    return {(row["task_id"], row["attempt"]) for row in rows}


def _ending(report: AttemptReport) -> Ending:
    return Ending(report.task_id, report.attempt, report.reason, report.status, report.cause, report.retry_after_ms)
