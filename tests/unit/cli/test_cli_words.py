"""What the command says when something is not as the person thought."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nemeton import demo, invocation
from nemeton.main import app
from nemeton.up.folder import DataFolder
from tests.support.scripted_overlord import Answer, ScriptedOverlord


def nemeton(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def status(code: str) -> bytes:
    return json.dumps({"task": "t", "status": {"id": "t", "statusCode": code}}).encode()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:secret@127.0.0.1:1/druid", "[127.0.0.1:1/druid] does not answer: nobody listens there"),
        ("mysql://me:secret@127.0.0.1/druid", "expected postgresql://user:password@host:5432/database"),
        ("postgresql://me:secret@[::1/druid", "expected postgresql://user:password@host:5432/database"),
    ],
)
def test_overlord_without_its_database_says_one_sentence(url: str, words: str) -> None:
    command = [sys.executable, "-m", "nemeton", "overlord", "--database-url", url, "--port", "0"]
    environment = os.environ | {"NEMETON_DATABASE_WAIT_SECONDS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_overlord_names_the_flag_of_an_address_it_cannot_have() -> None:
    result = nemeton("overlord", "--database-url", "postgresql://127.0.0.1:1/x", "--host", "no.such.host.invalid")
    assert result.exit_code == 1
    assert "[no.such.host.invalid] is no address and no machine's name; see --host" in result.stderr


def test_up_names_the_flag_of_an_address_it_cannot_have(tmp_path: Path) -> None:
    result = nemeton("up", "--data", str(tmp_path), "--host", "no.such.host.invalid")
    assert result.exit_code == 1
    assert "see --host" in result.stderr
    assert "--port" not in result.stderr


@pytest.mark.parametrize("url", ["", "http://", "http://[bad", "ftp://127.0.0.1", "http://me:secret@:x/"])
def test_overlord_that_is_no_address_is_told_with_an_example(url: str) -> None:
    result = nemeton("tasks", "--overlord", url)
    assert result.exit_code == 2
    assert "is no Overlord's address: expected a URL such as http://127.0.0.1:8090" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("code", ["SUCCESS", "FAILED"])
def test_shutdown_of_a_finished_task_says_how_it_had_ended(scripted_overlord: ScriptedOverlord, code: str) -> None:
    scripted_overlord.on("GET /task/t/status", status(code))
    result = nemeton("shutdown", "t", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stdout) == (0, f"t had ended already: {code}\n")
    assert [request for request, _ in scripted_overlord.asked] == ["GET /task/t/status"]


def test_shutdown_of_a_running_task_says_that_it_was_asked(scripted_overlord: ScriptedOverlord) -> None:
    scripted_overlord.on("GET /task/t/status", status("RUNNING"))
    scripted_overlord.on("POST /task/t/shutdown", b'{"task":"t"}')
    result = nemeton("shutdown", "t", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stdout) == (0, "t was asked to end\n")
    assert scripted_overlord.asked[-1][0] == "POST /task/t/shutdown"


def test_shutdown_of_an_unknown_task_says_so(scripted_overlord: ScriptedOverlord) -> None:
    unknown = Answer(404, b"Cannot find any task with id: [t]", "text/plain")
    scripted_overlord.on("GET /task/t/status", unknown)
    result = nemeton("shutdown", "t", "--overlord", scripted_overlord.url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Cannot find any task with id: [t]\n"


@pytest.mark.parametrize(("duration", "shown"), [(0, "0.0 s"), (61_000, "1 m 01 s"), (-1, ""), (None, "")])
def test_what_a_task_took_is_shown_where_it_is_known(
    scripted_overlord: ScriptedOverlord, duration: int | None, shown: str
) -> None:
    task = {"id": "t", "type": "noop", "dataSource": "d", "createdTime": "2026-01-01T00:00:00.000Z"}
    scripted_overlord.on("GET /tasks", json.dumps([task | {"statusCode": "FAILED", "duration": duration}]).encode())
    line = nemeton("tasks", "--overlord", scripted_overlord.url).stdout.splitlines()[1]
    assert " ".join(line.split()) == " ".join(f"FAILED noop d 2026-01-01 00:00:00 {shown} t".split())


def test_version_is_that_of_the_package() -> None:
    result = nemeton("--version")
    assert (result.exit_code, result.stdout) == (0, f"nemeton {version('nemeton')}\n")


@pytest.mark.parametrize("content", [None, {}, {"a.txt": b"x"}, {"index": b"x"}])
def test_dump_of_what_is_no_segment_says_what_one_is(tmp_path: Path, content: dict[str, bytes] | None) -> None:
    path = tmp_path / "thing"
    if content is None:
        path.write_text("not a zip")
    else:
        path.mkdir()
        for name, data in content.items():
            (path / name).write_bytes(data)
    result = nemeton("segment", "dump", str(path))
    assert result.exit_code == 2
    words = f"no segment at {path}: expected index.zip, or a folder with version.bin and meta.smoosh\n"
    assert result.stderr == words


def test_dump_of_a_segment_that_lacks_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "version.bin").write_bytes(b"\0\0\0\x09")
    result = nemeton("segment", "dump", str(tmp_path))
    assert result.exit_code == 2
    assert "[meta.smoosh]" in result.stderr


def test_dump_finds_the_zip_in_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "index.zip", "w") as archive:
        archive.writestr("version.bin", b"\0\0\0\x09")
    result = nemeton("segment", "dump", str(tmp_path))
    assert "no segment" not in result.stderr
    assert "[meta.smoosh]" in result.stderr  # it was looked into


def a_program(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_hint_is_the_bare_name_where_the_shell_finds_this_very_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stranger = a_program(tmp_path / "ours/nemeton"), a_program(tmp_path / "stranger/nemeton")
    monkeypatch.setenv("PATH", str(ours.parent))
    assert invocation.as_started(str(ours)) == "nemeton"
    assert invocation.as_started(str(stranger)) == str(stranger)


def test_hint_is_the_path_from_here_where_the_shell_does_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = a_program(tmp_path / ".venv/bin/nemeton")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert invocation.as_started(".venv/bin/nemeton") == ".venv/bin/nemeton"
    assert invocation.as_started(str(program)) == ".venv/bin/nemeton"
    monkeypatch.chdir("/")
    assert invocation.as_started(str(program)) == str(program)[1:]


def test_hint_of_a_module_is_its_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = a_program(tmp_path / ".venv/bin/python")
    monkeypatch.chdir(tmp_path)
    assert invocation.as_started("/x/nemeton/__main__.py", str(python)) == ".venv/bin/python -m nemeton"


def test_hint_of_another_program_is_the_command_beside_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = a_program(tmp_path / "bin/nemeton")
    monkeypatch.chdir(tmp_path)
    assert invocation.as_started("demo.py", str(program.with_name("python"))) == "bin/nemeton"
    assert invocation.as_started("demo.py", str(tmp_path / "python")) == "nemeton"


def test_hints_of_a_failed_task_name_the_command_as_it_was_started(
    scripted_overlord: ScriptedOverlord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = a_program(tmp_path / ".venv/bin/nemeton")
    (tmp_path / "task.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    scripted_overlord.on("POST /task", b'{"task":"t"}')
    scripted_overlord.on("GET /task/t/status", status("FAILED"))
    result = nemeton("submit", "task.json", "--watch", "--overlord", scripted_overlord.url)
    assert result.exit_code == 1
    assert f"its log: .venv/bin/nemeton logs 't' --overlord '{scripted_overlord.url}'\n" in result.stderr
    monkeypatch.setenv("NEMETON_OVERLORD", scripted_overlord.url)
    result = nemeton("submit", "task.json", "--watch")
    assert "its log: .venv/bin/nemeton logs 't'\n" in result.stderr, "the environment says which Overlord"


def test_hints_show_no_password() -> None:
    assert invocation.shown_url("https://ana:s3cret@druid.example.org:8290/a") == (
        "https://ana:***@druid.example.org:8290/a"
    )
    assert invocation.shown_url("http://127.0.0.1:8090") == "http://127.0.0.1:8090"


def test_demo_starts_everything_without_hints_for_those_who_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class House:
        """Ready at once, and gone when told."""

        def __init__(self, command: list[str], **_: Any) -> None:
            commands.append(command)
            (tmp_path / "run/ready.json").write_text('{"overlord": "http://o"}')

        def poll(self) -> None: ...

        def terminate(self) -> None: ...

        def wait(self, timeout: float) -> None: ...

    monkeypatch.setattr(demo.subprocess, "Popen", House)
    with demo._house(DataFolder.at(tmp_path)) as url:  # pyright: ignore[reportPrivateUsage] - all else needs PostgreSQL
        assert url == "http://o"
    assert commands[0][-1] == "--no-hints"
