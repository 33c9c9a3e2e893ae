import base64
import socket
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from druid_core.errors import TaskFailure
from druid_core.input_policy import UNBOUND, InputPolicy
from druid_core.spec.input import HttpSource, InlineSource, JsonFormat, LocalSource
from peon.read import guarded
from peon.read.http_stream import HttpStream
from peon.read.source import entities
from tests.support.reading import read_file

DATA = b"".join(b"line %d\n" % i for i in range(30_000))


def _paths(source: LocalSource) -> list[str]:
    return [entity.path for entity in entities(source, UNBOUND)]


def _files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_files_below_the_folder_are_found_by_name_in_a_fixed_order(tmp_path: Path) -> None:
    _files(tmp_path, "b.json", "a.json", "sub/deeper/c.json", ".hidden/d.json", "e.txt", "xa.JSON")
    source = LocalSource(base_dir=str(tmp_path), filter="*.json")
    assert _paths(source) == [
        str(tmp_path / name) for name in (".hidden/d.json", "a.json", "b.json", "sub/deeper/c.json")
    ]


@pytest.mark.parametrize(
    ("wildcard", "found"),
    [("?.json", ["a.json"]), ("*", ["[a].json", "a.json"]), ("[a].json", ["[a].json"]), ("*.xml", [])],
)
def test_only_star_and_question_mark_are_wild(wildcard: str, found: list[str], tmp_path: Path) -> None:
    _files(tmp_path, "a.json", "[a].json")
    names = [Path(path).name for path in _paths(LocalSource(base_dir=str(tmp_path), filter=wildcard))]
    assert sorted(names) == sorted(found)


def test_what_does_not_exist_or_is_empty_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    gone = str(tmp_path / "gone")
    assert _paths(LocalSource(base_dir=gone, filter="*", files=[gone, str(tmp_path / "empty.json")])) == []


def test_a_listed_file_is_read_once_and_last(tmp_path: Path) -> None:
    _files(tmp_path, "a.json", "b.json")
    source = LocalSource(base_dir=str(tmp_path), filter="*", files=[str(tmp_path / "a.json")])
    assert _paths(source) == [str(tmp_path / "b.json"), str(tmp_path / "a.json")]


def test_a_file_that_cannot_be_opened_ends_the_task_and_is_named(tmp_path: Path) -> None:
    [entity] = entities(LocalSource(files=[str(tmp_path)]), UNBOUND)
    with pytest.raises(TaskFailure, match=str(tmp_path)):
        entity.open()


def test_messages_call_a_file_by_its_uri_and_inline_data_by_nothing(tmp_path: Path) -> None:
    _files(tmp_path, "a b.json")
    [file] = entities(LocalSource(files=[str(tmp_path / "a b.json")]), UNBOUND)
    [inline] = entities(InlineSource(data="x"), UNBOUND)
    assert (file.uri, inline.uri) == (f"file:{tmp_path}/a%20b.json", None)
    assert inline.open().read() == b"x"


def test_a_record_can_tell_what_file_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"t":1,"a":2}\n')
    reading = read_file(file, JsonFormat(), system_fields=("__file_uri", "__file_path", "__file_bucket"))
    assert reading.rows == [(1, {"a": 2, "__file_uri": f"file:{file}", "__file_path": str(file)})]


class _Server(BaseHTTPRequestHandler):
    """Breaks the connection as often as `breaks` says, each time after some more bytes."""

    breaks: ClassVar[int] = 0
    ranges: ClassVar[bool] = True
    requests: ClassVar[list[Message]] = []
    failures: ClassVar[list[int]] = []
    redirect: ClassVar[str | None] = None

    def do_GET(self) -> None:
        cls = type(self)
        cls.requests.append(self.headers)
        if cls.redirect is not None:
            self.send_response(302)
            self.send_header("Location", cls.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if cls.failures or self.path != "/data.json":
            self.send_error(cls.failures.pop() if cls.failures else 404)
            return
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and cls.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if cls.breaks:
            cls.breaks -= 1
            self.wfile.write(DATA[start : start + 70_000])
            self.close_connection = True
            return
        self.wfile.write(DATA[start:])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def http() -> Iterator[str]:
    _Server.breaks, _Server.ranges, _Server.failures, _Server.redirect = 0, True, [], None
    _Server.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _read(uri: str, pauses: list[float] | None = None) -> bytes:
    with HttpStream(uri, {}, None, sleep=[].append if pauses is None else pauses.append) as stream:
        return stream.readall()


def test_a_uri_is_read_with_its_headers_and_credentials(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "pass")
    source = HttpSource.model_construct(
        uris=[f"{http}/data.json"],
        http_authentication_username="me",
        http_authentication_password={"type": "environment", "variable": "SECRET_OF_TEST"},
        request_headers={"X-Extra": "1"},
        system_fields=[],
    )
    [entity] = entities(source, UNBOUND)
    with entity.open() as stream:
        assert stream.read() == DATA
    assert _Server.requests[0]["Authorization"] == "Basic " + base64.b64encode(b"me:pass").decode()
    assert _Server.requests[0]["X-Extra"] == "1"


def test_a_protocol_that_is_not_allowed_ends_the_task(http: str) -> None:
    with pytest.raises(TaskFailure, match="https"):
        list(entities(HttpSource(uris=[f"{http}/data.json"]), InputPolicy(protocols=("https",))))


@pytest.mark.parametrize("variable", ["NEMETON_TASK_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_what_the_peon_signs_in_with_is_no_password_for_a_server_of_a_specs_choice(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "canary")
    source = HttpSource(
        uris=["http://127.0.0.1:1/"],
        http_authentication_username="me",
        http_authentication_password={"type": "environment", "variable": variable},
    )
    with pytest.raises(TaskFailure, match="not for passwords") as refusal:
        list(entities(source, UNBOUND))
    assert "canary" not in str(refusal.value)


# where a name or a link really leads


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("metadata.example.org", "169.254.169.254"),
        ("metadata.example.org", "::ffff:169.254.169.254"),
        ("metadata.example.org", "64:ff9b::a9fe:a9fe"),
        ("metadata.example.org", "fe80::1%eth0"),
        ("metadata.example.org", "fd00:ec2::254"),
    ],
)
def test_a_name_that_leads_to_a_denied_address_is_not_connected_to(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))

    def resolved(*_: object, **__: object) -> list[Any]:
        return [good, (family, socket.SOCK_STREAM, 6, "", (address, 80))]

    def connected(*_: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(guarded, "create_connection", connected)
    for scheme in ("http", "https"):
        with pytest.raises(TaskFailure, match="denied"):
            HttpStream(f"{scheme}://{name}/latest/meta-data", {}, sleep=lambda _: None)


def test_the_address_that_was_asked_about_is_the_one_that_is_connected_to(
    http: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers otherwise at the second question (DNS rebinding) is not asked a second time."""
    asked: list[object] = []
    port = int(http.rpartition(":")[2])

    def resolved(host: str, *_: object, **__: object) -> list[Any]:
        if host == "127.0.0.1":  # an address, not a name
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with HttpStream(f"http://rebound.example.org:{port}/data.json", {}) as stream:
        assert stream.read() == DATA
    assert asked == ["rebound.example.org"]


def test_a_redirect_is_asked_about_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with pytest.raises(TaskFailure, match="denied"):
            HttpStream(f"http://127.0.0.1:{server.server_port}/a", {}, sleep=lambda _: None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_link_out_of_the_listed_folder_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "data.json").write_text("x")
    policy = InputPolicy(local_paths=(str(inside),))
    assert len(list(entities(LocalSource(base_dir=str(inside), filter="*"), policy))) == 1
    (inside / "link.json").symlink_to(outside / "data.json")
    (inside / "folder").symlink_to(outside)
    for source in (
        LocalSource(base_dir=str(inside), filter="link.json"),
        LocalSource(base_dir=str(inside), filter="*"),
        LocalSource(files=[str(inside / "link.json")]),
        LocalSource(base_dir=str(inside / "folder"), filter="*"),
        LocalSource(files=[str(outside / "data.json")]),
        LocalSource(files=[str(inside / ".." / "out" / "data.json")]),
    ):
        with pytest.raises(TaskFailure, match="local_input_paths"):
            list(entities(source, policy))


def test_another_answer_than_200_ends_the_task_with_uri_and_status(http: str) -> None:
    with pytest.raises(TaskFailure, match=rf"{http}/none.json\]: it answered 404"):
        _read(f"{http}/none.json")


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connections_are_resumed_where_they_broke(ranges: bool, http: str) -> None:
    _Server.breaks, _Server.ranges = 2, ranges
    assert _read(f"{http}/data.json") == DATA
    assert len(_Server.requests) == 3
    assert "Range" in _Server.requests[1]


def test_a_busy_server_is_asked_again_after_growing_pauses(http: str) -> None:
    _Server.failures = [503, 429]
    pauses: list[float] = []
    assert _read(f"{http}/data.json", pauses) == DATA
    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", "inputSource may not follow a redirect to [file:]: only http and https are followed"),
        ("ftp://example.org/a", "inputSource may not follow a redirect to [ftp:]: only http and https are followed"),
        ("http://:80/a", "inputSource may not follow a redirect to [http://]: it names no host"),
        ("http://169.254.169.254/a", "its address 169.254.169.254 is denied"),
    ],
)
def test_a_redirect_that_can_never_work_is_not_tried_again(http: str, location: str, why: str) -> None:
    _Server.redirect = location
    pauses: list[float] = []
    with pytest.raises(TaskFailure) as failure:
        _read(f"{http}/data.json", pauses)
    assert why in str(failure.value)
    assert (len(_Server.requests), pauses) == (1, [])


def test_a_circle_of_redirects_is_gone_round_once(http: str) -> None:
    _Server.redirect = "/data.json"
    pauses: list[float] = []
    with pytest.raises(TaskFailure, match="it redirects from address to address"):
        _read(f"{http}/data.json", pauses)
    assert (len(_Server.requests), pauses) == (6, [])


def test_patience_ends(http: str) -> None:
    _Server.failures = [503] * 10
    with pytest.raises(TaskFailure, match="503"):
        _read(f"{http}/data.json")
    assert len(_Server.requests) == 5


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://127.0.0.1:9/x", "nobody listens there"),
        ("http://no.such.host.invalid/x", "no machine has that name"),
    ],
)
def test_nobody_at_the_other_end_ends_the_task_in_a_sentence(uri: str, why: str) -> None:
    with pytest.raises(TaskFailure) as failure:
        _read(uri)
    assert str(failure.value) == (
        f"Cannot read [{uri}] after 5 attempts: {why}; is the address in inputSource.uris right, and its server up?"
    )


def test_a_connection_that_is_always_broken_off_ends_the_task_in_a_sentence(http: str) -> None:
    _Server.breaks = 10_000
    _Server.ranges = False
    with pytest.raises(TaskFailure) as failure:
        _read(f"{http}/data.json")
    why = "the connection keeps breaking: it broke the connection off"
    assert str(failure.value) == f"Cannot read [{http}/data.json]: {why}"
