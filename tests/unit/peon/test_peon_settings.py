"""What a peon makes of its command line and its environment."""

from pathlib import Path

import pytest

from peon.settings import read_settings


def test_a_task_file_may_come_with_a_report_file(tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text("{}")
    settings = read_settings([str(task), "status.json", "report.json"], {})
    assert (settings.task_file, settings.status_file, settings.report_file) == (
        task,
        Path("status.json"),
        Path("report.json"),
    )
    assert settings.overlord is None
    assert not settings.is_under_runner


def test_a_task_folder_and_attempt_give_druids_places(tmp_path: Path) -> None:
    settings = read_settings([str(tmp_path), "3", "--task-id=t", "--overlord=http://o"], {})
    assert settings.task_file == tmp_path / "task.json"
    assert settings.status_file == tmp_path / "attempt/3/status.json"
    assert settings.report_file == tmp_path / "attempt/3/report.json"
    assert settings.work_dir == tmp_path / "work"
    assert settings.is_under_runner


def test_a_pods_peon_has_no_files_at_all() -> None:
    settings = read_settings([], {"NEMETON_TASK_ID": "t", "NEMETON_OVERLORD": "http://o", "NEMETON_TASK_TOKEN": "s"})
    assert (settings.task_file, settings.status_file, settings.report_file) == (None, None, None)
    assert (settings.task_id, settings.overlord, settings.token) == ("t", "http://o", "s")


def test_an_option_counts_more_than_the_environment() -> None:
    settings = read_settings(
        ["--task-id=t", "--overlord=http://o", "--port=9000"], {"NEMETON_PORT": "9001", "NEMETON_HOST": "10.0.0.1"}
    )
    assert (settings.port, settings.host) == (9000, "10.0.0.1")


def test_a_budget_in_the_environment_is_a_number() -> None:
    environment = {"NEMETON_TASK_ID": "t", "NEMETON_OVERLORD": "http://o", "NEMETON_TASK_DIR_BYTES": "1000"}
    assert read_settings([], environment).task_dir_bytes == 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give it a task"),
        (["missing.json", "status.json"], "no such task file or folder"),
        (["--task-id=t"], "give it a task"),
        (["{folder}"], "ATTEMPT_ID"),
        (["{folder}", "1"], "--task-id and --overlord are needed"),
        (["{file}"], "expected TASK_FILE STATUS_FILE"),
        (["{file}", "a", "b", "c"], "expected TASK_FILE STATUS_FILE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_words(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "task.json.given"
    file.write_text("{}")
    with pytest.raises(SystemExit) as refused:
        read_settings([argument.format(folder=tmp_path, file=file) for argument in arguments], {})
    assert refused.value.code == 2
    assert words in capsys.readouterr().err


def test_help_teaches_the_three_ways_and_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read_settings(["--help"], {})
    text = capsys.readouterr().out
    assert left.value.code == 0
    for word in (
        "TASK_FILE STATUS_FILE [REPORT_FILE]",
        "TASK_DIR ATTEMPT_ID",
        "--task-id ID --overlord URL",
        "exit status",
    ):
        assert word in text
    assert "NEMETON_TASK_TOKEN" in text
