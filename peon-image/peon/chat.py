"""
What a peon answers while it runs: its log, its rows counted, its live report.

The standard library's threading server: a handful of callers, and imports that cost little next to a web framework's.
Druid: ChatHandlerResource, IndexTask's and TaskReports' resources
"""

import hmac
import logging
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from druid_core.redaction import covered

_log = logging.getLogger(__name__)

_CHAT_PATH = "/druid/worker/v1/chat/"
_CHUNK_BYTES = 1 << 20


class ChatHandler(Protocol):
    """What a task that can be talked to answers; each value is ready for JSON. Druid: ChatHandler"""

    def row_stats(self, *, full: bool) -> Any: ...
    def live_report(self, *, full: bool) -> Any: ...
    def unparseable_events(self, *, full: bool) -> Any: ...


class ChatServer:
    """
    Serves `/druid/worker/v1/chat/{taskId}/…` and `/status/health` on daemon threads of its own.

    `port` is tried first; where it is taken, or 0, any free one is used. `handler` may be set when the task can answer
    and taken away again when it ends. No answer has one of `secrets` in it. Where there is a `key`, callers show it as
    bearer token; of `/status/health` nobody is asked.
    """

    def __init__(
        self,
        host: str,
        port: int,
        task_id: str,
        log_file: Path | None,
        secrets: frozenset[str] = frozenset(),
        key: str | None = None,
    ) -> None:
        self.task_id = task_id
        self.key = key
        self.secrets = secrets
        self.log_file = log_file
        self.handler: ChatHandler | None = None
        self._server = _listen(host, port)
        self._server.chat = self

    @property
    def port(self) -> int:
        """Where it really listens."""
        return self._server.server_address[1]

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="chat", daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    chat: ChatServer

    def __init__(self, address: tuple[str, int], exchange: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, exchange)

    def server_bind(self) -> None:
        """Without HTTPServer's own step, which looks up the host's name and may wait for a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("A caller of the chat server went away", exc_info=True)


class _Exchange(BaseHTTPRequestHandler):
    """One caller's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - no other server makes these

    def do_GET(self) -> None:
        chat, parts = self.server.chat, urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if parts.path == "/status/health":
            self._send_json(HTTPStatus.OK, True)
            return
        if not self._shows(chat.key):
            self._send_json(HTTPStatus.UNAUTHORIZED, {"error": "The Overlord serves this task's log and reports"})
            return
        raw_task_id, slash, what = parts.path.removeprefix(_CHAT_PATH).partition("/")
        if not parts.path.startswith(_CHAT_PATH) or not slash:
            self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")
            return
        task_id, meant_for = unquote(raw_task_id), self.headers.get("X-Druid-Task-Id")
        if meant_for is not None and unquote(meant_for) != chat.task_id:
            self._send_json(
                HTTPStatus.BAD_REQUEST, {"error": f"This is the peon of task [{chat.task_id}], not of [{meant_for}]"}
            )
        elif task_id == chat.task_id and what == "log":
            self._send_log(query.get("offset", [""])[0])
        elif chat.handler is None or task_id != chat.task_id:
            self._send_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"Can't find chatHandler for handler[{task_id}]"})
        else:
            self._ask(chat.handler, what, full="full" in query)

    def _shows(self, key: str | None) -> bool:
        shown = self.headers.get("Authorization", "").encode("latin-1", "replace")
        return key is None or hmac.compare_digest(shown, f"Bearer {key}".encode())

    def _ask(self, handler: ChatHandler, what: str, *, full: bool) -> None:
        match what:
            case "rowStats":
                self._send_json(HTTPStatus.OK, handler.row_stats(full=full))
            case "liveReports":
                self._send_json(HTTPStatus.OK, handler.live_report(full=full))
            case "unparseableEvents":
                self._send_json(HTTPStatus.OK, handler.unparseable_events(full=full))
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")

    def _send_log(self, raw_offset: str) -> None:
        """The log from a byte on (positive), its last bytes (negative), or whole; exactly as much as it has now."""
        try:
            offset = int(raw_offset or 0)
        except ValueError:
            self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")
            return
        log_file = self.server.chat.log_file
        if log_file is None or not log_file.exists():
            self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")
            return
        with log_file.open("rb") as log:
            size = log.seek(0, 2)
            start = min(offset, size) if offset >= 0 else max(0, size + offset)
            left = size - start
            log.seek(start)
            self._send_head(HTTPStatus.OK, left, "text/plain;charset=utf-8")
            while left > 0 and (chunk := log.read(min(left, _CHUNK_BYTES))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def _send_json(self, status: HTTPStatus, value: Any) -> None:
        body = orjson.dumps(value)
        if secrets := self.server.chat.secrets:
            body = covered(body.decode(), secrets).encode()
        self._send(status, body, "application/json")

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self._send_head(status, len(body), content_type)
        self.wfile.write(body)

    def _send_head(self, status: HTTPStatus, length: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Calls are not logged: the log is the task's."""


def _listen(host: str, port: int) -> _Server:
    try:
        return _Server((host, port), _Exchange)
    except OSError as error:
        if port == 0:
            raise
        _log.warning("Port %d of %s cannot be used (%s); any free one instead", port, host, error.strerror)
        return _Server((host, 0), _Exchange)
