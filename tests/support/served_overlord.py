"""`FakeOverlord` over HTTP, for an operator that is a process of its own."""

import asyncio
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from druid_core.errors import InvalidTask, Unavailable
from druid_core.runner import AttemptReport
from tests.support.operator_overlord import FakeOverlord

_LOOK_SECONDS = 0.02
_REPEAT_SECONDS = 5.0
"""An order that was given so recently is no news."""


class ServedOverlord:
    """One `FakeOverlord` behind a lock, at `url`."""

    def __init__(self) -> None:
        self.fake = FakeOverlord()
        self.lock = threading.RLock()
        self.announced: set[str] = set()
        """Who announced itself."""
        self._told: dict[str, float] = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, query: dict[str, list[str]], body: Any, headers: Any) -> tuple[int, Any]:
        try:
            return 200, self._answer(path, query, body, headers)
        except InvalidTask as error:
            return 400, {"error": str(error)}
        except Unavailable as error:
            return 503, {"error": str(error)}

    def _answer(self, path: str, query: dict[str, list[str]], body: Any, headers: Any) -> Any:
        match path.removeprefix("/nemeton/v1/runner/").removeprefix("/druid/indexer/v1/").split("/"):
            case ["announce"]:
                return self._orders(body)[0]
            case ["assignments"]:
                deadline = time.monotonic() + float(query["wait"][0])
                while True:
                    orders, is_news = self._orders(body)
                    if is_news or time.monotonic() > deadline:
                        return orders
                    time.sleep(_LOOK_SECONDS)
            case ["report"]:
                with self.lock:
                    asyncio.run(self.fake.report([AttemptReport.model_validate(raw) for raw in body]))
                return {}
            case ["explain"]:
                with self.lock:
                    found = asyncio.run(self.fake.explain(body))
                return {task_id: explanation.to_wire() for task_id, explanation in found.items()}
            case ["task"]:
                with self.lock:
                    submitter, runner = headers["X-Nemeton-Submitter"], headers["X-Nemeton-Runner"]
                    return {"task": asyncio.run(self.fake.submit(body, submitter, runner))}
            case ["task", task_id, "shutdown"]:
                with self.lock:
                    asyncio.run(self.fake.shut_down(task_id))
                return {"task": task_id}
            case _:
                raise Unavailable(f"no such endpoint: {path}")

    def _orders(self, body: Any) -> tuple[Any, bool]:
        listed = {(ref["taskId"], ref["attempt"]) for ref in body["attempts"]}
        with self.lock:
            self.announced.add(body["runnerId"])
            orders = self.fake.orders(listed).to_wire()
            now, is_news = time.monotonic(), False
            for kind in ("start", "stop", "forget", "outcomes"):
                for order in orders[kind]:
                    key = f"{kind} {orjson.dumps(order).decode()}"
                    if now - self._told.get(key, float("-inf")) > _REPEAT_SECONDS:
                        self._told[key] = now
                        is_news = True
        return orders, is_news


@contextmanager
def serving_overlord() -> Generator[ServedOverlord]:
    """Answers until the block ends."""
    overlord = ServedOverlord()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = "/".join(unquote(part) for part in parts.path.split("/"))
            body = orjson.loads(raw) if raw else None
            status, answer = overlord.answer(path, parse_qs(parts.query), body, self.headers)
            data = orjson.dumps(answer)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # an operator that was killed does not wait for its answer

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", overlord.port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield overlord
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
