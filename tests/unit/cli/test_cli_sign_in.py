"""How the command says who calls: by everything but its command line."""

import base64
import getpass
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nemeton.client import sign_in
from nemeton.main import app
from tests.support.certificates import write_certificate
from tests.support.scripted_overlord import Answer, ScriptedOverlord

CHALLENGED = Answer(401, b'{"error":"Unauthorized request","errorMessage":"This call needs credentials"}')


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests says nothing of himself."""
    for name in ("TOKEN", "TOKEN_FILE", "USER", "PASSWORD", "PASSWORD_FILE", "CA_FILE", "OVERLORD"):
        monkeypatch.delenv(f"NEMETON_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def tasks(overlord: ScriptedOverlord, **environment: str) -> Result:
    overlord.script.setdefault("GET /tasks", [Answer(body=b"[]")])
    return CliRunner(env=environment).invoke(app, ["tasks", "--overlord", overlord.url])


def netrc(folder: Path, text: str) -> str:
    file = folder / "netrc"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def file_of(folder: Path, text: str) -> str:
    (folder / "secret").write_text(text)
    return str(folder / "secret")


def test_nobody_is_named_where_nothing_is_said(scripted_overlord: ScriptedOverlord) -> None:
    assert tasks(scripted_overlord).exit_code == 0
    assert "authorization" not in scripted_overlord.sent[0]


def test_user_and_password_come_from_the_environment(scripted_overlord: ScriptedOverlord) -> None:
    assert tasks(scripted_overlord, NEMETON_USER="ana", NEMETON_PASSWORD="p:€ w").exit_code == 0
    assert scripted_overlord.sent[0]["authorization"] == basic("ana", "p:€ w")


def test_a_password_may_lie_in_a_file(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    file = file_of(tmp_path, "from a file\n")
    assert tasks(scripted_overlord, NEMETON_USER="ana", NEMETON_PASSWORD_FILE=file).exit_code == 0
    assert scripted_overlord.sent[0]["authorization"] == basic("ana", "from a file")


@pytest.mark.parametrize("in_file", [False, True])
def test_a_bearer_token_goes_before_a_user(scripted_overlord: ScriptedOverlord, tmp_path: Path, in_file: bool) -> None:
    token = {"NEMETON_TOKEN_FILE": file_of(tmp_path, "a.b.c\n")} if in_file else {"NEMETON_TOKEN": "a.b.c"}
    assert tasks(scripted_overlord, NEMETON_USER="ana", NEMETON_PASSWORD="x", **token).exit_code == 0
    assert scripted_overlord.sent[0]["authorization"] == "Bearer a.b.c"


def test_a_line_of_the_netrc_is_for_its_machine_alone(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    file = netrc(tmp_path, "machine elsewhere login me password no\nmachine 127.0.0.1 login ana password yes\n")
    assert tasks(scripted_overlord, NETRC=file).exit_code == 0
    file = netrc(tmp_path, "machine elsewhere login me password no\ndefault login me password no\n")
    assert tasks(scripted_overlord, NETRC=file).exit_code == 0
    assert scripted_overlord.sent[0]["authorization"] == basic("ana", "yes")
    assert "authorization" not in scripted_overlord.sent[1]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NEMETON_USER": "ana"}, "NEMETON_USER is set, and neither NEMETON_PASSWORD"),
        ({"NEMETON_TOKEN_FILE": "/no/such/file"}, "NEMETON_TOKEN_FILE [/no/such/file] cannot be read: No such file"),
        ({"NEMETON_CA_FILE": "/no/such/file"}, "NEMETON_CA_FILE [/no/such/file] cannot be used: No such file"),
        ({"NEMETON_CA_FILE": "/dev/null"}, "NEMETON_CA_FILE [/dev/null] cannot be used: it holds no certificate"),
        ({"NEMETON_USER": "ana", "NEMETON_PASSWORD_FILE": "/dev/null"}, "NEMETON_PASSWORD_FILE [/dev/null] is empty"),
    ],
)
def test_what_is_said_by_half_is_refused_before_any_call(
    scripted_overlord: ScriptedOverlord, environment: dict[str, str], words: str
) -> None:
    result = tasks(scripted_overlord, **environment)
    assert result.exit_code == 2
    assert words in result.stderr
    assert scripted_overlord.asked == []


def test_a_netrc_that_cannot_be_read_is_told_without_what_is_in_it(
    scripted_overlord: ScriptedOverlord, tmp_path: Path
) -> None:
    result = tasks(scripted_overlord, NETRC=netrc(tmp_path, "machine x login y passwort canary\n"))
    assert result.exit_code == 2
    assert "cannot be read as a .netrc" in result.stderr
    assert "canary" not in result.output


def test_who_says_nothing_and_is_asked_learns_how_to_say_it(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("GET /tasks", CHALLENGED)
    result = tasks(scripted_overlord)
    assert result.exit_code == 2
    assert "This call needs credentials: sign in with NEMETON_USER and NEMETON_PASSWORD" in result.stderr
    assert len(scripted_overlord.asked) == 1


def test_a_person_at_a_terminal_is_asked_once(
    scripted_overlord: ScriptedOverlord, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_overlord.on("GET /tasks", CHALLENGED, b"[]")
    monkeypatch.setattr(sign_in, "is_with_a_person", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "typed")
    result = CliRunner().invoke(app, ["tasks", "--overlord", scripted_overlord.url], input="ana\n")
    assert (result.exit_code, result.stdout) == (0, "no tasks\n")
    assert scripted_overlord.sent[1]["authorization"] == basic("ana", "typed")
    assert "typed" not in result.output


def test_a_wrong_password_is_not_asked_for_again(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("GET /tasks", Answer(401, b'{"errorMessage":"no such user, or a wrong password"}'))
    result = tasks(scripted_overlord, NEMETON_USER="ana", NEMETON_PASSWORD="canary")
    assert (result.exit_code, result.stderr) == (2, "nemeton: no such user, or a wrong password\n")
    assert len(scripted_overlord.asked) == 1, "each one counts against the address"


def test_no_list_of_processes_shows_a_secret() -> None:
    for command in (["tasks"], ["user", "add"], ["user", "password"]):
        options = CliRunner().invoke(app, [*command, "--help"]).output
        assert "--token" not in options
        assert "--password " not in options


def test_an_authority_of_ones_own_is_trusted_by_name(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    with https_server(certificate, key) as port:
        command = [sys.executable, "-m", "nemeton", "tasks", "--overlord", f"https://localhost:{port}"]
        stranger = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert stranger.returncode == 2
        assert "name a PEM file of its authority in NEMETON_CA_FILE" in stranger.stderr
        trusting = CliRunner(env={"NEMETON_CA_FILE": str(certificate)}).invoke(app, command[3:])
        assert (trusting.exit_code, trusting.stdout) == (0, "no tasks\n")


class _NoTasks(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def https_server(certificate: Path, key: Path) -> Generator[int]:
    """An Overlord without tasks that speaks TLS; its port, for the time of the block."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), _NoTasks)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
