"""An Overlord that says what the test tells it to: client commands meet every kind of answer."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"


@dataclass
class ScriptedOverlord:
    """Answers each `METHOD path` with its answers in turn; the last one stays. Anything else is 404."""

    url: str = ""
    script: dict[str, list[Answer]] = field(default_factory=dict[str, list[Answer]])
    asked: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    """Every request as `METHOD path?query`, with its body."""
    sent: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The headers of each, by names in lower case."""

    def on(self, request: str, *answers: Answer | bytes) -> None:
        self.script[request] = [answer if isinstance(answer, Answer) else Answer(body=answer) for answer in answers]

    def answer(self, request: str, body: bytes) -> Answer:
        self.asked.append((request, body))
        answers = self.script.get(request) or self.script.get(request.partition("?")[0]) or [Answer(404, b"")]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def serving() -> Generator[ScriptedOverlord]:
    """The Overlord at its `url`, until the block ends."""
    overlord = ScriptedOverlord()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def do_DELETE(self) -> None:
            self._respond()

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            overlord.sent.append({name.lower(): value for name, value in self.headers.items()})
            answer = overlord.answer(f"{self.command} {self.path.removeprefix('/druid/indexer/v1')}", body)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    overlord.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield overlord
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
