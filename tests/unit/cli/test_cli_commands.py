"""What the client commands print, and the exit status that a script goes by."""

import base64
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nemeton.client import logs as following
from nemeton.client import submit as submitting
from nemeton.main import app
from tests.support.scripted_overlord import Answer, ScriptedOverlord

ID = "noop_2026-01-01T00:00:00.000Z_a b"
QUOTED = "noop_2026-01-01T00%3A00%3A00.000Z_a%20b"


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "POLL_S", 0.0)
    monkeypatch.setattr(submitting, "PATIENCE_S", 0.0)
    monkeypatch.setattr(following, "POLL_S", 0.0)
    monkeypatch.setattr(following, "LATE_S", 0.0)


def nemeton(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def status(code: str, runner: str = "NONE", error: str | None = None) -> bytes:
    body = {"id": ID, "statusCode": code, "runnerStatusCode": runner, "duration": 1200, "errorMsg": error}
    return json.dumps({"task": ID, "status": body}).encode()


def spec(folder: Path, content: Any) -> str:
    file = folder / "task.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def test_help_names_every_command() -> None:
    text = nemeton("--help").output
    names = "up overlord middle-manager peon submit tasks logs report shutdown segment"
    assert all(f"\n  {name} " in text for name in names.split(" "))


def test_task_is_sent_as_it_is_and_its_id_printed(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    scripted_overlord.on("POST /task", json.dumps({"task": ID}).encode())
    text = '{"type": "noop",  "runTime": 1.0}'
    result = nemeton("submit", spec(tmp_path, text), "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert scripted_overlord.asked == [("POST /task", text.encode())]


def test_task_may_come_from_the_standard_input(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("POST /task", b'{"task":"x"}')
    assert nemeton("submit", "-", "--overlord", scripted_overlord.url, stdin='{"type":"noop"}').exit_code == 0
    assert scripted_overlord.asked == [("POST /task", b'{"type":"noop"}')]


def test_local_paths_beside_the_file_become_absolute(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    scripted_overlord.on("POST /task", b'{"task":"x"}')
    (tmp_path / "in").mkdir()
    (tmp_path / "a.json").touch()
    sources = [
        {"type": "local", "baseDir": "in", "filter": "*"},
        {"type": "local", "files": ["a.json", "of/another/machine.json", "/b.json"]},
        {"type": "http", "uris": ["in"]},
    ]
    nemeton("submit", spec(tmp_path, {"sources": sources}), "--overlord", scripted_overlord.url)
    assert json.loads(scripted_overlord.asked[0][1])["sources"] == [
        {"type": "local", "baseDir": str(tmp_path / "in"), "filter": "*"},
        {"type": "local", "files": [str(tmp_path / "a.json"), "of/another/machine.json", "/b.json"]},
        {"type": "http", "uris": ["in"]},
    ]


def test_watched_task_ends_with_its_own_status(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    scripted_overlord.on("POST /task", json.dumps({"task": ID}).encode())
    live = {"ingestionState": "BUILD_SEGMENTS", "rowStats": {"totals": {"buildSegments": {"processed": 39244}}}}
    report = json.dumps({"ingestionStatsAndErrors": {"payload": live}}).encode()
    scripted_overlord.on(f"GET /task/{QUOTED}/reports", Answer(404), report)
    states = [status("RUNNING", "PENDING"), status("RUNNING", "RUNNING"), status("SUCCESS")]
    scripted_overlord.on(f"GET /task/{QUOTED}/status", *states)
    result = nemeton("submit", spec(tmp_path, {}), "--watch", "--overlord", scripted_overlord.url)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["PENDING", "RUNNING", "SUCCESS"]
    assert "39,244 rows" in result.stderr


def test_failed_task_says_its_own_error_and_exits_1(scripted_overlord: ScriptedOverlord, tmp_path: Path) -> None:
    scripted_overlord.on("POST /task", json.dumps({"task": ID}).encode())
    scripted_overlord.on(f"GET /task/{QUOTED}/status", status("FAILED", error="disk full while writing"))
    result = nemeton("submit", spec(tmp_path, {}), "-w", "--overlord", scripted_overlord.url)
    assert result.exit_code == 1
    assert "FAILED: disk full while writing" in result.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(400, b'{"error":"druidException","errorMessage":"Task[x] already exists"}'), "Task[x] already exists"),
        (Answer(403, b'{"Access-Check-Result":"ana has no WRITE on DATASOURCE [x]"}'), "nemeton: ana has no WRITE"),
        (Answer(400, b'{"error":"Cannot construct instance"}'), "Cannot construct instance"),  # Druid's other shape
        (Answer(500, b"<html><style>p{}</style><h2>HTTP ERROR 500</h2></html>", "text/html"), "HTTP ERROR 500"),
        (Answer(429, b""), "HTTP 429"),  # nothing said: the status is all there is
        (Answer(503, b""), "is not ready"),
        (Answer(200, b"<html>a router</html>"), "is it an Overlord?"),
    ],
)
def test_refusal_is_told_in_the_overlords_words_and_exits_2(
    scripted_overlord: ScriptedOverlord, tmp_path: Path, answer: Answer, words: str
) -> None:
    scripted_overlord.on("POST /task", answer)
    result = nemeton("submit", spec(tmp_path, {}), "--overlord", scripted_overlord.url)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_file_that_is_no_json_is_refused_here_with_the_place(tmp_path: Path) -> None:
    result = nemeton("submit", spec(tmp_path, '{\n "type": }'))
    assert result.exit_code == 2
    assert "line 2, column 10" in result.stderr


def test_missing_file_is_told_in_words() -> None:
    result = nemeton("submit", "/no/such/file.json")
    assert (result.exit_code, result.stderr) == (
        2,
        "nemeton: cannot read /no/such/file.json: No such file or directory\n",
    )


def test_nobody_listening_is_told_with_what_to_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = nemeton("tasks", "--overlord", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert result.exit_code == 2
    assert "nobody listens" in result.stderr
    assert "nemeton up" in result.stderr


def test_words_in_brackets_are_shown_as_they_are(scripted_overlord: ScriptedOverlord) -> None:
    task = {
        "id": "a[i5]b",
        "type": "noop",
        "dataSource": "[red]",
        "statusCode": "FAILED",
        "errorMsg": "Cannot push to [/tmp/deep]: Disk full",
        "duration": -1,
        "createdTime": "2026-01-01T00:00:00.000Z",
    }
    scripted_overlord.on("GET /tasks", json.dumps([task]).encode())
    result = nemeton("tasks", "--overlord", scripted_overlord.url)
    assert result.exit_code == 0
    assert all(words in result.output for words in ("a[i5]b", "[red]", "[/tmp/deep]"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "18999", "--worker-port", "18999"], "are both 18999"),
        (["--deep-storage", "hdfs://x"], "is no object store: expected"),
        (["--task-logs", "ftp://x/y"], "is no object store: expected"),
        (["--port", "99999"], "less than or equal to 65535"),
    ],
)
def test_up_refuses_what_cannot_work_before_anything_starts(tmp_path: Path, options: list[str], words: str) -> None:
    result = nemeton("up", "--data", str(tmp_path / "data"), *options)
    assert result.exit_code != 0
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "data" / "postgres").exists()


def test_tasks_are_filtered_by_the_overlord_and_shown_a_line_each(scripted_overlord: ScriptedOverlord) -> None:
    task = {"id": ID, "type": "noop", "dataSource": "none", "createdTime": "2026-01-01T00:00:00.000Z"}
    running = task | {"statusCode": "RUNNING", "runnerStatusCode": "WAITING", "duration": -1, "errorMsg": None}
    scripted_overlord.on("GET /tasks", json.dumps([running]).encode())
    command = ["tasks", "--state", "running", "--type", "noop", "--max", "3", "--overlord", scripted_overlord.url]
    result = nemeton(*command)
    assert scripted_overlord.asked[0][0] == "GET /tasks?state=running&type=noop&max=3"
    assert "WAITING" in result.stdout
    assert "2026-01-01 00:00:00" in result.stdout
    assert json.loads(nemeton(*command, "--json").stdout) == [running]


def test_basic_authentication_in_the_url_is_sent_as_a_header_and_shown_nowhere(
    scripted_overlord: ScriptedOverlord,
) -> None:
    scripted_overlord.on("GET /tasks", Answer(403, b"no"))
    result = nemeton("tasks", "--overlord", scripted_overlord.url.replace("http://", "http://me:secret@"))
    assert result.exit_code == 2
    assert "secret" not in result.output


def test_a_password_in_the_url_may_have_any_characters(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("GET /tasks", b"[]")
    url = scripted_overlord.url.replace("http://", "http://me:a%20b%3A%40%2F@")
    assert nemeton("tasks", "--overlord", url).exit_code == 0
    assert scripted_overlord.sent[0]["authorization"] == "Basic " + base64.b64encode(b"me:a b:@/").decode()


def test_unknown_task_is_told_in_druids_words(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("GET /task/nope/log", Answer(404, b"Cannot find any task with id: [nope]", "text/plain"))
    result = nemeton("logs", "nope", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stderr) == (2, "Cannot find any task with id: [nope]\n")


def test_followed_log_is_fetched_by_offset_and_ends_with_the_task(scripted_overlord: ScriptedOverlord) -> None:
    running, done = status("RUNNING", "RUNNING"), status("SUCCESS")
    scripted_overlord.on(f"GET /task/{QUOTED}/status", running, running, running, done)
    scripted_overlord.on(f"GET /task/{QUOTED}/log", Answer(404), b"one\n")  # the peon has not started at the first look
    scripted_overlord.on(f"GET /task/{QUOTED}/log?offset=4", b"two\n")
    scripted_overlord.on(f"GET /task/{QUOTED}/log?offset=8", b"three\n")
    result = nemeton("logs", ID, "-f", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stdout) == (0, "one\ntwo\nthree\n")


def test_followed_tail_begins_at_the_last_bytes(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on(f"GET /task/{QUOTED}/status", status("SUCCESS"))
    scripted_overlord.on(f"GET /task/{QUOTED}/log", b"one\ntwo\n")
    scripted_overlord.on(f"GET /task/{QUOTED}/log?offset=8", b"")
    assert nemeton("logs", ID, "-f", "--offset", "-4", "--overlord", scripted_overlord.url).stdout == "two\n"


def test_log_of_a_task_that_ended_without_one_is_told_in_the_overlords_words(
    scripted_overlord: ScriptedOverlord,
) -> None:
    scripted_overlord.on(f"GET /task/{QUOTED}/status", status("FAILED"))
    scripted_overlord.on(f"GET /task/{QUOTED}/log", Answer(404, b"No log was found for this task."))
    result = nemeton("logs", ID, "-f", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stderr) == (2, "No log was found for this task.\n")


def test_report_and_shutdown_pass_through(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on(f"GET /task/{QUOTED}/reports", b'{"taskContext":{}}')
    scripted_overlord.on(f"GET /task/{QUOTED}/status", status("RUNNING", "RUNNING"))
    scripted_overlord.on(f"POST /task/{QUOTED}/shutdown", b'{"task":"x"}')
    assert json.loads(nemeton("report", ID, "--overlord", scripted_overlord.url).stdout) == {"taskContext": {}}
    assert nemeton("shutdown", ID, "--overlord", scripted_overlord.url).exit_code == 0
    assert scripted_overlord.asked[-1][0] == f"POST /task/{QUOTED}/shutdown"


def test_segment_dump_of_something_else_is_told_in_words(tmp_path: Path) -> None:
    result = nemeton("segment", "dump", str(tmp_path))
    assert result.exit_code == 2
    assert "version.bin" in result.stderr
