"""Health and metrics over HTTP: for the kubelet's probes and for Prometheus."""

import time

from aiohttp import web

from overlord_operator.service import Service

_STUCK_SECONDS = 30.0
"""Without a turn of the event loop: something blocks it."""
_DEAF_FACTOR = 3
"""So many resyncs without any word of the cluster: a restart may help. The API server's absence alone does not."""


class HealthServer:
    """`/healthz` alive, `/readyz` has seen the cluster, `/metrics`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """The port it listens on. Raises OSError where it is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._alive),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        now = time.monotonic()
        if now - self._service.beat_at > _STUCK_SECONDS:
            return web.Response(status=503, text="the event loop is stuck\n")
        return web.Response(text="alive\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._service.mirror.is_complete:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="the cluster has not been listed yet\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=metrics_text(self._service), content_type="text/plain", charset="utf-8")


def metrics_text(service: Service) -> str:
    """In Prometheus' text format."""
    lines: list[str] = []

    def family(name: str, kind: str, help_text: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP nemeton_operator_{name} {help_text}")
        lines.append(f"# TYPE nemeton_operator_{name} {kind}")
        lines.extend(f"nemeton_operator_{name}{labels} {value:g}" for labels, value in samples)

    family("leader", "gauge", "1 while this replica leads.", ("", float(service.election.is_leader)))
    family("overlord_up", "gauge", "1 while the Overlord answers.", ("", float(not service.runner.overlord_is_away)))
    family("tasks", "gauge", "DruidTasks that are known.", ("", len(service.mirror)))
    family("pods", "gauge", "Pods of peons that are known.", ("", service.mirror.pod_count))
    family("waiting_tasks", "gauge", "Tasks that wait for the Overlord.", ("", len(service.reconciler.waiting)))
    family("queue_length", "gauge", "Tasks to be looked at.", ("", len(service.queue)))
    family("storage_work", "gauge", "Logs and reports under way.", ("", len(service.storage)))
    family("reconciles_total", "counter", "Looks at a task.", ("", service.reconciler.passes))
    family(
        "heard_seconds",
        "gauge",
        "Since anything was heard of the cluster.",
        ("", time.monotonic() - service.seen_at),
    )
    family(
        "api_calls_total",
        "counter",
        "Calls to the API server, watches aside; status 0 is no answer.",
        *(
            (f'{{verb="{verb}",kind="{kind}",status="{status}"}}', count)
            for (verb, kind, status), count in sorted(service.cluster.calls.items())
        ),
    )
    return "\n".join(lines) + "\n"
