"""`/metrics`, in whichever of Prometheus' formats is asked for."""

from collections.abc import Iterable

from fastapi import APIRouter
from prometheus_client import exposition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from overlord.metrics.meters import REGISTRY
from overlord.metrics.rows import RowGauges
from overlord.task.queue import TaskQueue
from overlord.web import PlainResponse

router = APIRouter(tags=["Node"])


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """
    Answers while Postgres is away, too: this replica's own counts, and `nemeton_database_up 0`.

    Druid: the prometheus-emitter, strategy `exporter`
    """
    gauges: RowGauges = request.app.state.row_gauges
    queue: TaskQueue = request.app.state.queue
    families = [*await gauges.families(), *_of_this_replica(queue)]
    registry = CollectorRegistry()
    registry.register(_Given(families))
    registry.register(_Given(REGISTRY.collect()))
    encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
    return PlainResponse(encode(registry), 200, content_type)


def _of_this_replica(queue: TaskQueue) -> list[Metric]:
    return [
        GaugeMetricFamily("druid_service_heartbeat", "1: this replica answers, and leads as all do.", value=1),
        GaugeMetricFamily(
            "nemeton_queue_idle_seconds", "Since this replica last looked at the queue.", value=queue.idle_seconds
        ),
    ]


class _Given(Collector):
    """Families that were made beforehand."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families
