"""What a keeper does while its peon lives, and when it has ended."""

import contextlib
import json
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peon.growing_log import GrowingLog
from peon.log_shipping import LogShipping

_DEFAULT_PATIENCE_SECONDS = 30.0
"""How long a log that cannot be stored keeps a container whose peon has ended: a restart of the storage. What is not
stored then is stored by whoever looks after the pod. NEMETON_LOG_PATIENCE_SECONDS"""
_READ_BYTES = 1 << 16
_OUTPUT_BYTES = select.PIPE_BUF
"""Of the container's output at a time: as many as a pipe that says it takes something takes without making us wait."""
_BACKLOG_BYTES = 4 << 20
"""How far the container's output may be behind before some of it is left out. Its reader stands still then, and
the peon is not to stand still for that."""
_LAST_OUTPUT_MS = 2000
"""How long an output that takes nothing is waited for when the peon has ended; the log has it all."""
_KILLED = 128
"""Exit codes above this are a signal's number, as shells and the kubelet have it."""
_MESSAGE_BYTES = 4000
"""The kubelet takes 4096 of a termination message."""
_LAST_LINE_BYTES = 2048
_LAST_LINE_CHARACTERS = 300


class Watch:
    """
    Over one peon, a child of ours: `peon` is its process id, `output` the reading end of its pipe.

    All in the main thread, woken by bytes and by signals; storage has a thread of its own.
    """

    def __init__(
        self, peon: int, output: int, log_file: Path, status_file: Path, environment: Mapping[str, str]
    ) -> None:
        self._peon = peon
        self._output = output
        self._status_file = status_file
        self._message_file = Path(environment.get("NEMETON_TERMINATION_LOG") or "/dev/termination-log")
        self._task_id = environment.get("NEMETON_TASK_ID", "")
        self._attempt = int(environment.get("NEMETON_ATTEMPT") or 1)
        self._patience_seconds = float(environment.get("NEMETON_LOG_PATIENCE_SECONDS") or _DEFAULT_PATIENCE_SECONDS)
        self._log = GrowingLog(log_file)
        task_logs = environment.get("NEMETON_TASK_LOGS")
        self._shipping = LogShipping(self._log, task_logs, self._task_id, self._attempt) if task_logs else None
        self._shown = _ContainerOutput()
        self._has_ended = self._was_told_to_stop = False
        self._exit_code = 0
        self._signal: int | None = None
        self._peak_rss_bytes = 0

    def keep(self) -> int:
        """Until the peon has ended and its log is stored, or cannot be for too long; the exit code."""
        if self._shipping is not None:
            self._shipping.start()
        self._attend()
        self._shown.flush(_LAST_OUTPUT_MS)
        self._leave_message()
        if self._shipping is not None:
            self._shipping.finish(self._patience_seconds)
        return self._exit_code

    def _attend(self) -> None:
        """Serve bytes and signals until the peon has ended and all that it wrote is here."""
        os.set_blocking(self._output, False)
        woken = _wake_on_signals()
        waiting = select.poll()
        waiting.register(self._output, select.POLLIN)
        waiting.register(woken, select.POLLIN)
        is_open = True
        while is_open or not self._has_ended:
            if self._shown.is_behind:
                waiting.register(self._shown.fd, select.POLLOUT)
            for fd, _ in waiting.poll():
                if fd == woken:
                    self._hear(os.read(woken, _READ_BYTES))
                elif fd == self._shown.fd:
                    self._shown.advance()
                    if not self._shown.is_behind:
                        waiting.unregister(fd)
                elif not self._take() and is_open:
                    is_open = False
                    waiting.unregister(fd)
            if self._has_ended:
                # What it wrote is in the pipe. A process that it left behind may hold the pipe open; nobody waits.
                while is_open and self._take(at_once=True):
                    pass
                is_open = False

    def _take(self, *, at_once: bool = False) -> bool:
        """Take what the peon has written; False where there will be no more, or, `at_once`, where there is none now."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return not at_once
        if data:
            self._log.append(data)
            self._shown.add(data)
            if self._shipping is not None:
                self._shipping.notice()
        return bool(data)

    def _hear(self, numbers: bytes) -> None:
        """Signals that came: to stop, and that a process has ended. As the first process we bury all of them."""
        for number in numbers:
            if number != signal.SIGCHLD and not self._was_told_to_stop and not self._has_ended:
                self._was_told_to_stop = True
                os.kill(self._peon, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, usage = ended
                if pid == self._peon:
                    self._has_ended = True
                    self._signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
                    self._exit_code = _KILLED + self._signal if self._signal else os.waitstatus_to_exitcode(status)
                    self._peak_rss_bytes = usage.ru_maxrss << 10  # Linux counts KiB

    def _leave_message(self) -> None:
        """Say how the peon ended where Kubernetes shows it; before the log is stored, for that may take too long."""
        status = self._read_status()
        message = {
            "taskId": self._task_id,
            "attempt": self._attempt,
            "exitCode": self._exit_code,
            "signal": self._signal,
            "peakRssBytes": self._peak_rss_bytes,
            "status": status.get("status"),
            "errorMsg": status.get("errorMsg") or (self._last_line() if 0 < self._exit_code < _KILLED else None),
        }
        with contextlib.suppress(OSError):
            self._message_file.write_bytes(_fitting(message))

    def _read_status(self) -> dict[str, Any]:
        try:
            return json.loads(self._status_file.read_bytes())
        except (OSError, ValueError):
            return {}

    def _last_line(self) -> str | None:
        size = self._log.size
        lines = self._log.read(max(0, size - _LAST_LINE_BYTES), size).decode(errors="replace").strip().splitlines()
        return lines[-1][:_LAST_LINE_CHARACTERS] if lines else None


class _ContainerOutput:
    """Our own standard output. What its reader does not take yet waits, up to a bound."""

    fd = 1

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._left_out_bytes = 0

    @property
    def is_behind(self) -> bool:
        return bool(self._waiting)

    def add(self, data: bytes) -> None:
        if len(self._waiting) + len(data) > _BACKLOG_BYTES:
            self._left_out_bytes += len(data)
            return
        if self._left_out_bytes:
            self._waiting += b"\n[%d bytes are left out here; the task's log has them]\n" % self._left_out_bytes
            self._left_out_bytes = 0
        self._waiting += data

    def advance(self) -> None:
        """Write a little, once the output takes something. One that takes nothing ever again is let be."""
        try:
            del self._waiting[: os.write(self.fd, self._waiting[:_OUTPUT_BYTES])]
        except OSError:
            self._waiting.clear()

    def flush(self, within_ms: int) -> None:
        """Write all, unless nothing is taken for so long."""
        waiting = select.poll()
        waiting.register(self.fd, select.POLLOUT)
        while self._waiting and waiting.poll(within_ms):
            self.advance()


def _wake_on_signals() -> int:
    """A descriptor from which the numbers of signals can be read, a byte each."""
    woken, waking = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    heard = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    for number in heard:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
    return woken


def _fitting(message: dict[str, Any]) -> bytes:
    """As a line of JSON, the error's text cut until the kubelet takes the whole."""
    while len(raw := json.dumps(message, ensure_ascii=False).encode()) > _MESSAGE_BYTES and message["errorMsg"]:
        message = message | {"errorMsg": message["errorMsg"][: len(message["errorMsg"]) // 2]}
    return raw + b"\n"
