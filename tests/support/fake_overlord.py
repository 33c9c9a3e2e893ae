"""
An Overlord that fails on demand: the runner protocol and task actions over real HTTP, decisions by the test.

It grants what it is asked, remembers every word, and is away or refuses when told to.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

Ref = tuple[str, int]


class FakeOverlord:
    """One Overlord on a port of its own; `go_away` and `come_back` keep the port."""

    def __init__(self) -> None:
        self.payloads: dict[str, dict[str, Any]] = {}
        self.assigned: list[Ref] = []
        self.to_stop: set[Ref] = set()
        self.announcements: deque[dict[str, Any]] = deque(maxlen=1000)
        self.reports: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.results: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.tokens: list[str | None] = []
        self.refusals: deque[tuple[int, dict[str, Any]]] = deque()
        """Answers given to the next actions instead of performing them."""
        self.forgets_ended = True
        self._news = threading.Condition()
        self._port = 0
        self._server: _Server | None = None
        self.come_back()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def come_back(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Exchange)
        self._server.overlord = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def assign(self, payload: dict[str, Any], attempt: int = 1) -> Ref:
        """Hand a task out to whoever asks next."""
        with self._news:
            self.payloads[payload["id"]] = payload
            self.assigned.append((payload["id"], attempt))
            self._news.notify_all()
        return payload["id"], attempt

    def stop(self, ref: Ref) -> None:
        with self._news:
            self.to_stop.add(ref)
            self._news.notify_all()

    def wait_for(self, what: Callable[[], Any], seconds: float = 20) -> Any:
        """The first true value of `what`, asked again whenever something was said. Fails after a while."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not (value := what()):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s; reports: {self.reports}; actions: {self.actions}"
                self._news.wait(min(left, 0.05))
        return value

    def last_word(self, task_id: str) -> dict[str, Any] | None:
        """What a peon said with updateStatus."""
        words = [
            said["action"]["statusFull"]
            for said in self.actions
            if said["action"]["type"] == "updateStatus" and said["task"]["id"] == task_id
        ]
        return words[-1] if words else None

    def report_of(self, ref: Ref, state: str) -> dict[str, Any] | None:
        """The runner's latest report of an attempt, if it is in this state."""
        of_attempt = [report for report in self.reports if (report["taskId"], report["attempt"]) == ref]
        return of_attempt[-1] if of_attempt and of_attempt[-1]["state"] == state else None

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str | None
    ) -> tuple[int, Any]:
        with self._news:
            try:
                match method, path:
                    case "POST", "/nemeton/v1/runner/announce":
                        self.announcements.append(body)
                        return 200, self._orders(body)
                    case "POST", "/nemeton/v1/runner/assignments":
                        self.announcements.append(body)
                        deadline = time.monotonic() + float(query["wait"][0])
                        server = self._server
                        while not any(self._orders(body).values()) and time.monotonic() < deadline:
                            self._news.wait(0.1)
                            if self._server is not server:
                                break
                        return 200, self._orders(body)
                    case "POST", "/nemeton/v1/runner/report":
                        self.reports += body
                        return 200, {}
                    case "POST", "/druid/indexer/v1/action":
                        self.tokens.append(token)
                        if self.refusals:
                            return self.refusals.popleft()
                        self.actions.append(body)
                        result = self.results.get(body["action"]["type"], lambda _: None)
                        return 200, {"result": result(body["action"])}
                    case "GET", _ if path.startswith("/nemeton/v1/task/") and path.endswith("/payload"):
                        task_id = path.removeprefix("/nemeton/v1/task/").removesuffix("/payload")
                        self.tokens.append(token)
                        if task_id in self.payloads:
                            return 200, self.payloads[task_id]
                        return 404, {"error": f"Cannot find any task with id: [{task_id}]"}
                    case _:
                        return 404, {"error": f"no such endpoint: {path}"}
            finally:
                self._news.notify_all()

    def _orders(self, announcement: dict[str, Any]) -> dict[str, Any]:
        has = {(ref["taskId"], ref["attempt"]) for ref in announcement["attempts"]}
        ended = {ref for ref in has if self.report_of(ref, "ENDED")}
        settled = {(report["taskId"], report["attempt"]) for report in self.reports if report["state"] == "ENDED"}
        wanted = [ref for ref in self.assigned if ref not in has | settled]
        return {
            "start": [self._assignment(*ref) for ref in wanted[: announcement["capacity"]]],
            "stop": [_wire(ref) for ref in self.to_stop & (has - ended)],
            "forget": [_wire(ref) for ref in ended] if self.forgets_ended else [],
        }

    def _assignment(self, task_id: str, attempt: int) -> dict[str, Any]:
        payload = self.payloads[task_id]
        return {
            "taskId": task_id,
            "attempt": attempt,
            "type": payload["type"],
            "dataSource": payload.get("dataSource", "none"),
            "groupId": payload.get("groupId", task_id),
            "token": f"token-of-{task_id}-{attempt}",
        }


def _wire(ref: Ref) -> dict[str, Any]:
    return {"taskId": ref[0], "attempt": ref[1]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    overlord: FakeOverlord

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that were cut off are what is wanted."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = orjson.loads(raw) if raw else None
        authorization = self.headers.get("Authorization")
        status, answer = self.server.overlord.answer(
            method, unquote(parts.path), parse_qs(parts.query), body, authorization
        )
        data = orjson.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
