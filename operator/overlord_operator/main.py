"""The operator's process: settings, parts, signals, and an end in order."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time

import kopf

from druid_core.errors import InvalidInput, NemetonError
from druid_core.storage.task_logs import TaskLogs
from overlord_operator import handlers
from overlord_operator.cluster.client import Cluster
from overlord_operator.health import HealthServer
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.service import Service
from overlord_operator.settings import OperatorSettings

_log = logging.getLogger("overlord_operator")

_END_SECONDS = 10.0
"""For the watches to end."""

_GARBAGE = 20_000
"""New objects between two searches for cycles. By default it is 700, and with ten thousand tasks a search is long."""


def main() -> int:
    """Work until SIGTERM or SIGINT. 0 after that; 1 when it could not start, or a part of it broke."""
    try:
        settings = OperatorSettings.from_environment()
        _configure_logging(settings.log_level)
        cluster = Cluster(settings.calls_in_flight, settings.call_timeout_seconds)
        logs = TaskLogs.from_url(settings.task_logs) if settings.task_logs else None
    except NemetonError as error:
        print(f"The operator cannot start: {error}", file=sys.stderr)
        return 1
    gc.collect()
    gc.freeze()  # what the start made stays
    gc.set_threshold(_GARBAGE)
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(serve(settings, cluster, logs))
    except (OSError, InvalidInput) as error:
        _log.error("The operator cannot go on: %s", error)
        return 1
    return 0


async def serve(settings: OperatorSettings, cluster: Cluster, logs: TaskLogs | None) -> None:
    """Run one replica until it is told to stop. Raises what broke it."""
    lease_cluster = Cluster(1, settings.renew_seconds)
    service = Service(settings, cluster, OverlordClient(settings.overlord, settings.runner_token), logs, lease_cluster)
    health = HealthServer(service)
    port = await health.start(settings.host, settings.port)
    where = "the whole cluster" if settings.is_cluster_wide else ", ".join(settings.watched_namespaces)
    _log.info(
        "Operator of release %s: watching %s, Overlord %s, port %d", settings.release, where, settings.overlord, port
    )
    told_to_stop = asyncio.Event()
    stop_watching = asyncio.Event()
    loop = asyncio.get_running_loop()
    working = asyncio.create_task(service.run(), name="service")
    stopping = asyncio.create_task(told_to_stop.wait(), name="stop")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    # First our own list: what kopf lists when its watches begin is known by then, and costs little. The other way round
    # a leader's first look at thousands of tasks waits until kopf has handled each.
    listing = asyncio.create_task(service.has_listed.wait(), name="first list")
    await asyncio.wait([working, stopping, listing], return_when=asyncio.FIRST_COMPLETED)
    listing.cancel()
    here = asyncio.all_tasks(loop)  # this one among them
    watches = await kopf.spawn_tasks(
        registry=handlers.registry(service),
        settings=handlers.watching(settings),
        standalone=True,
        clusterwide=settings.is_cluster_wide,
        namespaces=settings.watched_namespaces,
        stop_flag=stop_watching,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # once more: kopf set its own, which would end its watches first and us not at all
        loop.add_signal_handler(number, told_to_stop.set)
    watching = asyncio.create_task(asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED), name="watches")
    await asyncio.wait([working, stopping, watching], return_when=asyncio.FIRST_COMPLETED)
    _log.info("Stopping")
    is_told = told_to_stop.is_set()
    stopping.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await service.stop()
    await health.stop()
    stop_watching.set()
    # kopf ends all tasks that came after its own start, ours included: nothing of ours may be left by now
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(kopf.run_tasks(watches, ignored=here), _END_SECONDS)
    if not is_told:
        raise OSError("its watches ended by themselves")


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed: with thousands of tasks the loop itself is a good part of the work."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _configure_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("{asctime}.{msecs:03.0f}Z {levelname} {name} - {message}", "%Y-%m-%dT%H:%M:%S", "{")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    try:
        _log.setLevel(level.upper())
    except ValueError as error:
        raise InvalidInput(f"setting log_level (environment: NEMETON_LOG_LEVEL): {error}") from error
