"""A client of an Overlord as a benchmark needs one: one kept connection, nothing between the clock and the wire."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TASKS = "/druid/indexer/v1"
FINISHED = ("SUCCESS", "FAILED")


class TaskFailedError(RuntimeError):
    """A task of the benchmark did not end in SUCCESS; the numbers would mean nothing."""


class Client:
    """One HTTP connection, for one thread; opened again when the other side closed it."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        address = urlsplit(url)
        self._headers = dict(headers or {})
        self._connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=300)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of a 2xx answer; RuntimeError with status and text for any other."""
        raw = None if body is None else json.dumps(body).encode()
        headers = self._headers if raw is None else {**self._headers, "Content-Type": "application/json"}
        try:
            answer = self._send(method, path, raw, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            answer = self._send(method, path, raw, headers)
        text = answer.read()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return text

    def _send(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request(method, path, body=raw, headers=headers)
        return self._connection.getresponse()

    def submit(self, task: dict[str, Any]) -> str:
        return json.loads(self.ask("POST", f"{TASKS}/task", task))["task"]

    def status(self, task_id: str) -> dict[str, Any]:
        return json.loads(self.ask("GET", f"{TASKS}/task/{task_id}/status"))["status"]

    def shut_down(self, task_id: str) -> None:
        self.ask("POST", f"{TASKS}/task/{task_id}/shutdown")

    def run(self, task: dict[str, Any], poll_s: float, timeout_s: float = 900) -> tuple[str, float]:
        """Submits the task and waits for SUCCESS. Its id, and the seconds from POST to the status that says so."""
        started = time.perf_counter()
        task_id = self.submit(task)
        while True:
            status = self.status(task_id)
            elapsed = time.perf_counter() - started
            if status["statusCode"] == "SUCCESS":
                return task_id, elapsed
            if status["statusCode"] in FINISHED or elapsed > timeout_s:
                raise TaskFailedError(f"{task_id}: {status['statusCode']} {status.get('errorMsg')}")
            time.sleep(poll_s)
