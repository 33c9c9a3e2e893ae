"""
The peon's life: read the task, run it, say how it ended.

Only what every task needs is imported at the top. A noop is to end within half a second of being asked for, and the
modules of real tasks take longer than that to load; each is imported when its task runs.
"""

import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from druid_core import tracing
from druid_core.chat_key import chat_key
from druid_core.errors import NemetonError, TaskFailure
from druid_core.redaction import covered, secrets_in
from peon import allowance
from peon.chat import ChatServer
from peon.failure import in_words
from peon.last_word import LastWord
from peon.log_lines import cover_in_log, write_log_to_stdout
from peon.overlord_client import AttemptVoid, OverlordClient, TaskHeader
from peon.settings import PeonSettings, read_settings
from peon.stop import StopSignal, TaskCanceled, stop_on_signals

if TYPE_CHECKING:
    from peon.toolbox import Toolbox

_INGESTION_TYPES = ("index", "index_parallel")
_TOLD_TO_STOP = 128 + signal.SIGTERM

_log = logging.getLogger(__name__ if __name__ != "__main__" else "peon.run")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one task. 0 when it ran, whether it succeeded or failed; 1 when it could not start, or counts no more; 143 when
    it was told to stop in a pod.

    Druid: CliPeon
    """
    settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    stop = StopSignal()
    stop_on_signals(stop)
    write_log_to_stdout()
    if settings.is_gated and not _pass_gate(settings.begun_file):
        return 1
    started_ms = _now_ms()
    try:
        overlord = OverlordClient(settings.overlord, settings.token, stop.wait) if settings.overlord else None
        raw_task = _read_task(settings, overlord)
        secrets = secrets_in(raw_task)
        cover_in_log(secrets)
        header = TaskHeader(
            id=str(raw_task["id"]),
            type=str(raw_task["type"]),
            group_id=raw_task.get("groupId"),
            data_source=raw_task.get("dataSource"),
        )
        key = chat_key(settings.token) if settings.token else None
        chat = ChatServer(settings.host, settings.port, header.id, settings.log_file, secrets, key)
    except (NemetonError, OSError, KeyError, ValueError) as error:
        _log.error("The peon cannot start: %s", in_words(error))
        return 1
    chat.start()
    if overlord is not None:
        overlord.speak_for(header)
    _log.info("Running task [%s] of type [%s]", header.id, header.type)
    life = _Life(settings, overlord, header, raw_task, secrets, chat, stop)
    parent = (raw_task.get("context") or {}).get(tracing.TRACEPARENT)
    try:
        with (
            _tracing(parent),
            tracing.span("run task", parent, task_id=header.id, task_type=header.type or "") as traced,
        ):
            if overlord is not None:
                overlord.trace_below(traced.traceparent)
            report, error_msg = life.run_task()
            traced.note(status="SUCCESS" if error_msg is None else "FAILED")
            life.say_how_it_ended(report, LastWord(header.id, _now_ms() - started_ms, error_msg))
    except AttemptVoid as error:
        _log.error("The peon ends and leaves nothing, for its attempt counts no more: %s", error)
        return 1
    except TaskCanceled as error:
        # A pod is told to stop when its node is drained, too. Its word would be final; the operator knows what it is.
        _log.info("%s; whether the task has failed with it is not for the peon to say", error)
        return _TOLD_TO_STOP
    finally:
        if overlord is not None:
            overlord.close()
    return 0


@contextlib.contextmanager
def _tracing(parent: object) -> Generator[None]:
    """
    Sends the block's spans, where the task has a trace and the environment a collector. Traces are never worth a task:
    what goes wrong with them is logged.
    """
    if parent is None or tracing.is_on() or not tracing.has_collector():
        yield
        return
    with _or_log("send traces"):
        tracing.start("nemeton-peon")
    try:
        yield
    finally:
        tracing.stop()


class _Life:
    """One task between its start and its last word."""

    def __init__(
        self,
        settings: PeonSettings,
        overlord: OverlordClient | None,
        header: TaskHeader,
        raw_task: dict[str, Any],
        secrets: frozenset[str],
        chat: ChatServer,
        stop: StopSignal,
    ) -> None:
        self._settings = settings
        self._overlord = overlord
        self._header = header
        self._raw_task = raw_task
        self._secrets = secrets
        self._chat = chat
        self._stop = stop
        self._toolbox: Toolbox | None = None

    def run_task(self) -> tuple[dict[str, Any] | None, str | None]:
        """
        The task's report, where it has one, and its error message, where it failed.

        Raises AttemptVoid, and, in a pod, TaskCanceled.
        """
        try:
            self._tell_location()
            return self._perform(), None
        except TaskCanceled as error:
            if self._settings.is_in_pod:
                raise
            _log.info("%s", error)
            error_msg = str(error)
        except AttemptVoid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a task dies of becomes its error message
            _log.exception("Task [%s] failed", self._header.id)
            error_msg = in_words(error, self._toolbox.progress.doing if self._toolbox else None)
        finally:
            self._chat.handler = None
        error_msg = covered(error_msg, self._secrets)
        return self._failure_report(error_msg), error_msg

    def say_how_it_ended(self, report: dict[str, Any] | None, word: LastWord) -> None:
        """
        Report, status file, and the word to the Overlord, in this order: who hears the word finds the rest.

        Whatever cannot be stored is named in the log and keeps no other part back. Raises AttemptVoid before anything
        is pushed: what the attempt after this one has stored must stay.
        """
        settings = self._settings
        if settings.is_in_pod:
            self._check_attempt()
        if report is not None:
            with _or_log("store the report"):
                raw_report = covered(orjson.dumps(report).decode(), self._secrets).encode()
                if settings.report_file is not None:
                    _write_whole(settings.report_file, raw_report)
                if settings.task_logs is not None:
                    self._push("report.json", raw_report)
        raw_status = orjson.dumps(word.to_wire())
        if settings.status_file is not None:
            with _or_log("write the status file"):
                _write_whole(settings.status_file, raw_status)
        if settings.is_in_pod and settings.task_logs is not None:
            with _or_log("store the status"):
                self._push("status.json", raw_status)
        _log.info(
            "Task [%s] ended: %s%s", word.task_id, word.status_code, f", {word.error_msg}" if word.error_msg else ""
        )
        if self._overlord is not None:
            with _or_log("tell the Overlord how the task ended"):
                self._overlord.send_last_word(word.to_wire())
        _log.info("Finished peon task")

    def _perform(self) -> dict[str, Any] | None:
        """Run the task by its type; its report."""
        match self._header.type:
            case "noop":
                from peon.task import noop

                noop.run(self._raw_task.get("runTime"), self._stop)
                return None
            case "kill":
                from druid_core.task import KillTask, load_task
                from peon.task import kill

                with self._open_toolbox() as toolbox:
                    task = load_task(self._raw_task)
                    assert isinstance(task, KillTask)
                    return kill.run(task, toolbox).report
            case "index" | "index_parallel":
                from druid_core.task import IndexParallelTask, IndexTask, load_task
                from peon.live import LiveIngestion
                from peon.task import index

                with self._open_toolbox() as toolbox:
                    task = load_task(self._raw_task)
                    assert isinstance(task, IndexTask | IndexParallelTask)
                    self._chat.handler = LiveIngestion(toolbox)
                    return index.run(task, toolbox).report
            case other:
                raise TaskFailure(f"This peon cannot run tasks of type [{other}]")

    @contextlib.contextmanager
    def _open_toolbox(self) -> "Generator[Toolbox]":
        # Before pyarrow is loaded, which sizes its threads by this, else by the machine.
        os.environ.setdefault("OMP_NUM_THREADS", str(allowance.cores()))
        from druid_core.input_policy import UNBOUND, InputPolicy
        from druid_core.storage.deep_storage import DeepStorage
        from druid_core.storage.task_logs import TaskLogs
        from peon.actions import TaskActions
        from peon.local_overlord import LocalOverlord
        from peon.toolbox import Toolbox

        raw_policy = None if self._overlord is None else self._overlord.raw_input_policy
        settings = self._settings
        if settings.deep_storage is None:
            raise TaskFailure("The peon was not told where segments are stored (--deep-storage)")
        if self._overlord is not None:
            send = self._overlord.send_action
        else:
            assert settings.status_file is not None  # the settings know no task without Overlord and without files
            send = LocalOverlord(
                self._header.group_id or self._header.id,
                self._header.data_source or "",
                settings.status_file.with_name("segments.json"),
                _now_ms,
            ).answer
        with _work_dir(settings.work_dir) as work_dir:
            self._toolbox = Toolbox(
                task_id=self._header.id,
                overlord=TaskActions(send),
                work_dir=work_dir,
                deep_storage=DeepStorage.from_url(settings.deep_storage),
                task_logs=TaskLogs.from_url(settings.task_logs) if settings.task_logs else None,
                clock=_now_ms,
                stop=self._stop,
                disk_budget_bytes=settings.task_dir_bytes,
                memory_bytes=allowance.memory_bytes(),
                keeper_began_ms=settings.keeper_began_ms,
                input_policy=UNBOUND if raw_policy is None else InputPolicy.model_validate_json(raw_policy),
            )
            yield self._toolbox

    def _failure_report(self, error_msg: str) -> dict[str, Any] | None:
        """What an ingestion that failed had counted until then."""
        if self._toolbox is None or self._header.type not in _INGESTION_TYPES:
            return None
        return self._toolbox.progress.final_report(
            self._header.id, self._raw_task.get("context") or {}, error_msg=error_msg
        )

    def _tell_location(self) -> None:
        """Tell the Overlord where the chat server is, unless a runner does and knows it."""
        if self._overlord is None or (self._settings.is_under_runner and self._chat.port == self._settings.port):
            return
        location = {"host": self._settings.host, "port": self._chat.port, "tlsPort": -1}
        self._overlord.send_action({"type": "updateLocation", "location": location})

    def _check_attempt(self) -> None:
        """Raises AttemptVoid. An Overlord that cannot be asked has voided nothing that we know of."""
        if self._overlord is None:
            return
        try:
            self._overlord.check_attempt()
        except AttemptVoid:
            raise
        except NemetonError as error:
            _log.warning("The Overlord did not say whether this attempt still counts: %s", in_words(error))

    def _push(self, name: str, data: bytes) -> None:
        from druid_core.storage.task_logs import TaskLogName, TaskLogs

        assert self._settings.task_logs is not None
        TaskLogs.from_url(self._settings.task_logs).push(self._header.id, TaskLogName(name), data)


def _pass_gate(begun_file: Path | None) -> bool:
    """
    Wait for the word to begin; whether it came.

    The mark it leaves tells a peon that began from one whose starter went away first: that one may be started anew.
    """
    if not sys.stdin.readline():
        _log.error("Whoever started this peon went away before the task could begin")
        return False
    if begun_file is not None:
        begun_file.parent.mkdir(parents=True, exist_ok=True)
        begun_file.touch()
    return True


def _read_task(settings: PeonSettings, overlord: OverlordClient | None) -> dict[str, Any]:
    """The task's payload, from its file or from the Overlord; a bare one in a file gets what the Overlord would add."""
    if settings.task_file is not None and settings.task_file.is_file():
        raw_task = orjson.loads(settings.task_file.read_bytes())
        if not isinstance(raw_task, dict) or "type" not in raw_task:
            raise TaskFailure(f"{settings.task_file} holds no task: expected a JSON object with a type")
        if "id" not in raw_task:
            from druid_core.task import parse_task

            return parse_task(raw_task, _now_ms()).to_wire()
        return raw_task
    assert overlord is not None  # the settings ask for it where there is no file
    assert settings.task_id is not None
    return overlord.fetch_payload(settings.task_id)


@contextlib.contextmanager
def _or_log(what: str) -> Generator[None]:
    try:
        yield
    except (NemetonError, OSError) as error:
        _log.error("Could not %s: %s", what, in_words(error))


@contextlib.contextmanager
def _work_dir(wanted: Path | None) -> Generator[Path]:
    """An empty folder of the task's own, gone afterwards."""
    if wanted is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="peon-") as folder:
            yield Path(folder)
        return
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(parents=True)
    try:
        yield wanted
    finally:
        shutil.rmtree(wanted, ignore_errors=True)


def _write_whole(file: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_bytes(data)
    unfinished.replace(file)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
