"""How a peon is told to stop, and how its task notices."""

import signal
import threading

from druid_core.errors import TaskFailure

_STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TaskCanceled(TaskFailure):
    """The task ends because its peon was told to stop."""


class StopSignal:
    """
    Set once, from any thread. A task calls `check` wherever it may be left in the middle: at the borders of batches.

    Druid: Task.stopGracefully
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._reason = ""

    def stop(self, reason: str) -> None:
        """Tell the task to stop; of several reasons the first one counts."""
        if not self._stopped.is_set():
            self._reason = reason
            self._stopped.set()

    @property
    def is_set(self) -> bool:
        return self._stopped.is_set()

    def check(self) -> None:
        """Raises TaskCanceled once the task was told to stop."""
        if self._stopped.is_set():
            raise TaskCanceled(f"Canceled: {self._reason}")

    def wait(self, seconds: float) -> None:
        """Wait so long, in seconds. Raises TaskCanceled as soon as the task is told to stop."""
        self._stopped.wait(seconds)
        self.check()


def stop_on_signals(stop: StopSignal) -> None:
    """
    Have SIGTERM and SIGINT set `stop`. To be called in the main thread, before any other thread is started.

    A thread waits for the signals instead of a handler: a handler would run in the main thread, between any two of
    its instructions, and could find the event's lock held by the very thread it interrupts.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING_SIGNALS)

    def watch() -> None:
        number = signal.sigwait(_STOPPING_SIGNALS)
        stop.stop(f"the peon was told to stop ({signal.Signals(number).name})")

    threading.Thread(target=watch, name="signals", daemon=True).start()
