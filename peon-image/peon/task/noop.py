"""A task that does nothing, for a while. Druid: NoopTask"""

import logging

from peon.stop import StopSignal

_log = logging.getLogger(__name__)

_DEFAULT_RUN_TIME_MS = 2500
"""Of a runTime that is 0 or absent. Druid: NoopTask.DEFAULT_RUN_TIME"""


def run(run_time_ms: int | None, stop: StopSignal) -> None:
    """
    Wait for `run_time_ms` milliseconds. Raises TaskCanceled as soon as the peon is told to stop.

    Takes no toolbox: making one would take longer than most noop tasks.
    """
    wanted_ms = run_time_ms or _DEFAULT_RUN_TIME_MS
    _log.info("Running noop task for %d ms", wanted_ms)
    stop.wait(wanted_ms / 1000)
    _log.info("Woke up")
