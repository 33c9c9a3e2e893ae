"""
Gauges of what the rows say: the same at every replica, so take the maximum of them and not the sum.

One statement, whatever number of replicas and scrapers there is kept for CACHE_MS: it reads every task that is not
over, a tenth of a second with a hundred thousand of them.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from druid_core.errors import Unavailable
from overlord.db.pool import connection
from overlord.metrics.meters import OTHER
from overlord.replica import Replica

CACHE_MS = 5000
"""Prometheus asks every 15 to 60 s, and whoever looks at a dashboard waits for its next look anyhow."""

STATES = ("waiting", "pending", "running")

_LOOK = """
WITH open AS (
    SELECT data_source, submitted_ms,
        CASE state WHEN 'WAITING' THEN 'waiting' WHEN 'RUNNING' THEN 'running' ELSE 'pending' END AS state
    FROM nemeton_attempts
    WHERE state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING') AND NOT finished
),
summed AS (
    SELECT state, data_source, count(*) AS tasks, min(submitted_ms) AS oldest_ms FROM open GROUP BY state, data_source
),
ranked AS (
    SELECT data_source, row_number() OVER (ORDER BY sum(tasks) DESC, data_source) AS place
    FROM summed GROUP BY data_source
),
busy AS (
    SELECT runner_id, count(*) AS used FROM nemeton_attempts
    WHERE state IN ('ASSIGNED', 'STARTING', 'RUNNING') GROUP BY runner_id
),
runner AS (
    SELECT slots.kind, slots.capacity, slots.last_seen_ms >= $2 AS is_heard, COALESCE(busy.used, 0) AS used,
           CASE WHEN slots.capacity = 0 THEN known.capacity ELSE 0 END AS refused,
           COALESCE(known.announcement ->> 'category', '') AS category
    FROM nemeton_slots AS slots JOIN nemeton_runners AS known USING (runner_id) LEFT JOIN busy USING (runner_id)
)
SELECT 'tasks' AS what, state AS first, CASE WHEN place <= $1 THEN data_source ELSE $3::text END AS second,
       sum(tasks)::bigint AS number, min(oldest_ms)::bigint AS other
FROM summed JOIN ranked USING (data_source) GROUP BY 2, 3
UNION ALL
SELECT 'slots', category, '', sum(capacity)::bigint, sum(used)::bigint FROM runner WHERE is_heard GROUP BY category
UNION ALL
SELECT 'refused', category, '', sum(refused)::bigint, 0 FROM runner WHERE is_heard GROUP BY category
UNION ALL
SELECT 'runners', kind, '', count(*) FILTER (WHERE is_heard), count(*) FILTER (WHERE NOT is_heard AND used > 0)
FROM runner GROUP BY kind
UNION ALL
SELECT 'locks', '', '', count(*), 0 FROM druid_tasklocks
"""


class RowGauges:
    """The gauges of one replica, with what was read last."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._read_ms: int | None = None
        self._families: list[Metric] = []
        self._turn = asyncio.Lock()

    async def families(self) -> list[Metric]:
        """Never older than CACHE_MS; without the rows' own while Postgres is away."""
        async with self._turn:
            now_ms = self._replica.clock_ms()
            if self._read_ms is None or not 0 <= now_ms - self._read_ms < CACHE_MS:
                try:
                    self._families = await self._read(now_ms)
                    self._read_ms = now_ms
                except Unavailable:
                    self._read_ms = None
                    self._families = [_database_up(0)]
            return self._families

    async def _read(self, now_ms: int) -> list[Metric]:
        settings = self._replica.settings
        async with connection(self._replica.pool) as held:
            rows: list[Any] = await held.fetch(
                _LOOK, settings.metrics_data_sources, now_ms - settings.runner_timeout_ms, OTHER
            )
        return [_database_up(1), *_tasks(rows, now_ms), *_slots(rows), *_runners(rows), _locks(rows)]


def _database_up(value: int) -> Metric:
    return GaugeMetricFamily("nemeton_database_up", "Whether Postgres answered this replica.", value=value)


def _tasks(rows: list[Any], now_ms: int) -> Iterator[Metric]:
    words = {
        "waiting": "Tasks that wait for their locks.",
        "pending": "Tasks that wait for a slot, or whose peon starts.",
        "running": "Tasks whose peon runs.",
    }
    for state in STATES:
        family = GaugeMetricFamily(f"druid_task_{state}_count", words[state], labels=["dataSource"])
        for row in _of(rows, "tasks"):
            if row["first"] == state:
                family.add_metric([row["second"]], row["number"])
        yield family
    total = GaugeMetricFamily("nemeton_tasks", "Tasks that are not over, of all datasources.", labels=["state"])
    oldest = GaugeMetricFamily(
        "nemeton_task_oldest_age_seconds", "Since the submission of the oldest such task.", labels=["state"]
    )
    for state in STATES:
        of_state = [row for row in _of(rows, "tasks") if row["first"] == state]
        total.add_metric([state], sum(row["number"] for row in of_state))
        since_ms = min((row["other"] for row in of_state), default=now_ms)
        oldest.add_metric([state], max(0, now_ms - since_ms) / 1000)
    yield total
    yield oldest


def _slots(rows: list[Any]) -> Iterator[Metric]:
    def family(name: str, words: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"druid_taskslot_{name}_count", words, labels=["category"])

    total = family("total", "Slots of all runners that take work.")
    used = family("used", "Slots that are taken.")
    idle = family("idle", "Slots that are free.")
    lazy = family("lazy", "Slots of workers that an autoscaler is about to end; there is none.")
    for row in _of(rows, "slots"):
        total.add_metric([row["first"]], row["number"])
        used.add_metric([row["first"]], row["other"])
        idle.add_metric([row["first"]], max(0, row["number"] - row["other"]))
        lazy.add_metric([row["first"]], 0)
    refused = family("blacklisted", "Slots of runners that are disabled.")
    for row in _of(rows, "refused"):
        refused.add_metric([row["first"]], row["number"])
    yield from (total, used, idle, lazy, refused)


def _runners(rows: list[Any]) -> Iterator[Metric]:
    heard = GaugeMetricFamily("nemeton_runners", "Runners that were heard of lately.", labels=["kind"])
    silent = GaugeMetricFamily(
        "nemeton_runners_silent", "Runners that have tasks and were not heard of lately.", labels=["kind"]
    )
    for row in _of(rows, "runners"):
        heard.add_metric([row["first"] or ""], row["number"])
        silent.add_metric([row["first"] or ""], row["other"])
    yield heard
    yield silent


def _locks(rows: list[Any]) -> Metric:
    count = sum(row["number"] for row in _of(rows, "locks"))
    return GaugeMetricFamily("nemeton_locks", "Locks that tasks hold, revoked ones included.", value=count)


def _of(rows: list[Any], what: str) -> list[Any]:
    return [row for row in rows if row["what"] == what]
