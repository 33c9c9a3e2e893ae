"""A peon's chat endpoints, and nothing behind them but what a test puts there."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class FakePeon:
    """Serves `log` with offsets, and `live_reports` where it is not None."""

    def __init__(self, task_id: str, port: int) -> None:
        self.task_id = task_id
        self.port = port
        self.log = b""
        self.live_reports: bytes | None = None
        self.shown: list[str | None] = []
        """What each caller showed as who he is."""

    def answer(self, address: str) -> tuple[int, bytes]:
        parts = urlsplit(address)
        prefix = "/druid/worker/v1/chat/"
        task_id, _, what = parts.path.removeprefix(prefix).partition("/")
        if unquote(task_id) != self.task_id:
            return 400, b'{"error":"another task"}'
        if what == "log":
            offset = int(parse_qs(parts.query).get("offset", ["0"])[0])
            return 200, self.log[offset:] if offset >= 0 else self.log[max(0, len(self.log) + offset) :]
        if self.live_reports is None:
            return 503, b'{"error":"Can\'t find chatHandler for handler[%s]"}' % self.task_id.encode()
        return 200, self.live_reports


@contextmanager
def serving_peon(task_id: str) -> Generator[FakePeon]:
    """A peon at a free port of 127.0.0.1 for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            peon.shown.append(self.headers.get("Authorization"))
            status, body = peon.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    peon = FakePeon(task_id, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield peon
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
