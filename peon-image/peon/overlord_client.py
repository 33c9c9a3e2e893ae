"""
The Overlord, over HTTP, as one task sees it.

The standard library's client on one kept-alive connection: a peon talks to one server, mostly a word at a time, and
must start fast. Requests and answers are JSON here; `peon.actions` gives them types.
"""

import http.client
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from druid_core import tracing
from druid_core.errors import TaskFailure, Unavailable

_log = logging.getLogger(__name__)

_ACTION_PATH = "/druid/indexer/v1/action"
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
_PATIENCE_SECONDS = 600.0
"""How long the Overlord may be away before a task gives up: longer than any restart or failover. Druid: about 10 min"""
_ANSWER_TIMEOUT_SECONDS = 300.0
"""Longer than Druid's `taskLockTimeout` by default is not needed: an Overlord answers a waiting lock request sooner."""
_FORBIDDEN = 403
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class TaskHeader:
    """As much of a task as goes with each action. The Overlord trusts its own copy, not this."""

    id: str
    type: str | None = None
    group_id: str | None = None
    data_source: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return {"type": self.type, "id": self.id, "groupId": self.group_id, "dataSource": self.data_source}


class Refused(TaskFailure):
    """The Overlord refuses for good; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class AttemptVoid(Refused):
    """The attempt's token counts no more: the task has ended, or another attempt has it. No word of ours is wanted."""


class OverlordClient:
    """
    One task's line to the Overlord. Druid: RemoteTaskActionClient

    A refused connection and a 5xx are tried again, after 0.1 s doubling to 5 s, for ten minutes; a 4xx is final. `wait`
    sleeps so many seconds, and may raise to break off. Safe to share between threads; they take turns.
    """

    def __init__(self, url: str, token: str | None, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname or "127.0.0.1", parts.port, timeout=_ANSWER_TIMEOUT_SECONDS)
        self._base_path = parts.path.rstrip("/")
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "druid/peon/nemeton"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._wait = wait
        self._turn = threading.Lock()
        self._task = TaskHeader(id="")
        self.raw_input_policy: str | None = None
        """Where the task may read from, as JSON; the Overlord says it with the payload."""
        self._traceparent: str | None = None

    def speak_for(self, task: TaskHeader) -> None:
        """Whose actions are performed from now on."""
        self._task = task

    def trace_below(self, traceparent: str | None) -> None:
        """The span that actions are part of from now on."""
        self._traceparent = traceparent

    def close(self) -> None:
        """Hang up; the next call would open the line anew."""
        self._connection.close()

    def fetch_payload(self, task_id: str) -> dict[str, Any]:
        """The task's payload, whole. Raises Refused, Unavailable."""
        return self._call("GET", f"/nemeton/v1/task/{quote(task_id, safe='')}/payload", None, self._wait)

    def send_action(self, raw_action: dict[str, Any]) -> Any:
        """Perform an action, given as JSON object; its result as JSON value. Raises Refused, Unavailable."""
        return self._perform(raw_action, self._wait)

    def check_attempt(self) -> None:
        """Raises AttemptVoid where what we say counts no more. Waits for the Overlord as the last word does."""
        self._perform({"type": "lockList"}, time.sleep)

    def send_last_word(self, raw_status: dict[str, Any]) -> None:
        """Say how the task ended; waits for the Overlord even when the peon was told to stop. Raises as above."""
        self._perform({"type": "updateStatus", "status": "", "statusFull": raw_status}, time.sleep)

    def _perform(self, raw_action: dict[str, Any], wait: Callable[[float], None]) -> Any:
        body = orjson.dumps({"task": self._task.to_wire(), "action": raw_action})
        kind = raw_action["type"]
        with tracing.span(f"ask for {kind}", self._traceparent, "client", task_id=self._task.id) as traced:
            return self._call("POST", _ACTION_PATH, body, wait, traced.carried)["result"]

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        wait: Callable[[float], None],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        started = time.monotonic()
        pause = _FIRST_WAIT_SECONDS
        stale_allowed = True
        while True:
            try:
                status, answer = self._exchange(method, path, body, headers)
            except http.client.RemoteDisconnected as error:
                if stale_allowed:  # the server closed a connection that had been idle: no sign of trouble
                    stale_allowed = False
                    continue
                trouble = f"it closed the connection ({error})"
            except (OSError, http.client.HTTPException) as error:
                trouble = str(error) or type(error).__name__
            else:
                if status < 300:
                    return orjson.loads(answer)
                if status == _FORBIDDEN:
                    raise AttemptVoid(status, _words_of(status, answer))
                if 300 <= status < 500 and status != _TOO_MANY_REQUESTS:
                    raise Refused(status, _words_of(status, answer))
                trouble = _words_of(status, answer)
            waited = time.monotonic() - started
            if waited + pause > _PATIENCE_SECONDS:
                raise Unavailable(f"The Overlord at {self._url} did not answer for {waited:.0f} s: {trouble}")
            _log.warning("No answer from the Overlord at %s, next try in %.1f s: %s", self._url, pause, trouble)
            wait(pause)
            pause = min(2 * pause, _LONGEST_WAIT_SECONDS)

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        with self._turn:
            try:
                self._connection.request(method, self._base_path + path, body, {**self._headers, **headers})
                response = self._connection.getresponse()
                self.raw_input_policy = response.getheader("X-Nemeton-Input-Policy", self.raw_input_policy)
                return response.status, response.read()
            except BaseException:
                self._connection.close()  # the next request opens it anew
                raise


def _words_of(status: int, answer: bytes) -> str:
    """What the Overlord says is wrong: the text of its JSON error, else the status and the answer's start."""
    try:
        raw_error = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raw_error = None
    if isinstance(raw_error, dict):
        for key in ("errorMessage", "error"):
            if isinstance(text := raw_error.get(key), str) and text:
                return text
    return f"HTTP {status} {answer[:200].decode(errors='replace')}".strip()
