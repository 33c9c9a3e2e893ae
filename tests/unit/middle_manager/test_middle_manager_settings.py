"""What a MiddleManager makes of its command line and its environment."""

from pathlib import Path

import pytest

from middle_manager.settings import read_settings


def test_little_is_needed() -> None:
    settings = read_settings(["--overlord=http://o/"], {})
    assert settings.overlord == "http://o"
    assert settings.runner_id == "127.0.0.1:8091"
    assert settings.data == Path.cwd() / "nemeton-data/middle-manager"
    assert settings.base_task_dirs == (settings.data / "tasks",)


def test_folders_may_be_several_by_option_or_environment() -> None:
    by_option = read_settings(["--overlord=o", "--base-task-dir=/a", "--base-task-dir=/b"], {})
    by_environment = read_settings(["--overlord=o"], {"NEMETON_BASE_TASK_DIR": "/a:/b"})
    assert by_option.base_task_dirs == by_environment.base_task_dirs == (Path("/a"), Path("/b"))


def test_storage_folders_do_not_depend_on_where_a_peon_stands() -> None:
    settings = read_settings(["--overlord=o", "--deep-storage=segments", "--task-logs=s3://b/logs"], {})
    assert settings.deep_storage == str(Path.cwd() / "segments")
    assert settings.task_logs == "s3://b/logs"


def test_every_number_may_come_from_the_environment() -> None:
    environment = {
        "NEMETON_OVERLORD": "http://o",
        "NEMETON_PORT": "9091",
        "NEMETON_WORKER_CAPACITY": "7",
        "NEMETON_BASE_TASK_DIR_SIZE": "1000",
        "NEMETON_PEON_START_PORT": "9100",
        "NEMETON_GRACE": "2.5",
        "NEMETON_SPARE_PEONS": "0",
    }
    settings = read_settings([], environment)
    assert (settings.port, settings.worker_capacity, settings.base_task_dir_bytes) == (9091, 7, 1000)
    assert (settings.peon_start_port, settings.grace_seconds, settings.spare_peons) == (9100, 2.5, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--overlord URL is needed"),
        (["--overlord=o", "--worker-capacity=-1"], "--worker-capacity is -1; it counts tasks and cannot be below 0"),
        (["--overlord=o", "--spare-peons=-1"], "--spare-peons is -1; it counts processes and cannot be below 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_words(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_settings(arguments, {})
    assert words in capsys.readouterr().err
