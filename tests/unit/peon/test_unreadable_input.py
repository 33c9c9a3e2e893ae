"""A peon that may not read its input: a real process, of a user who may not."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.task_specs import index_parallel

NOBODY = 65534

PEON = f"""
import importlib, os, sys
from peon.spare import LOADED_AHEAD
# while the libraries, which may lie in root's home, can be read
for module in (*LOADED_AHEAD, "encodings.utf_16_be", "encodings.idna"):
    importlib.import_module(module)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
from peon.run import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may use; pytest's own folders are for one user alone."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for each in (folder, folder / "in", folder / "out"):
            each.mkdir(exist_ok=True)
            each.chmod(0o777)
        yield folder
        for path in (folder / "in", *(folder / "in").rglob("*")):
            path.chmod(0o755)  # or the folder could not be removed


def run(folder: Path, source: dict[str, Any], input_format: dict[str, Any] | None = None) -> dict[str, Any]:
    """The task's status, after a peon without rights ran it."""
    task = index_parallel("t")
    task["spec"]["ioConfig"] |= {"inputSource": {"type": "local", **source}}
    if input_format is not None:
        task["spec"]["ioConfig"] |= {"inputFormat": input_format}
    (folder / "task.json").write_bytes(orjson.dumps(task))
    files = [str(folder / "task.json"), str(folder / "out/status.json"), str(folder / "out/report.json")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
    done = subprocess.run(
        [sys.executable, "-c", PEON, *files, "--port", "0", "--deep-storage", str(folder / "out/deep")],
        env=environment | {"TMPDIR": str(folder / "out"), "HOME": str(folder / "out")},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return orjson.loads((folder / "out/status.json").read_bytes())


def a_file(folder: Path, name: str = "a.json") -> Path:
    file = folder / "in" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"time":"2026-01-01T00:00:00Z","page":"Oak"}\n')
    return file


def test_input_that_may_be_read_is_published(folder: Path) -> None:
    a_file(folder)
    assert run(folder, {"baseDir": str(folder / "in"), "filter": "*"})["status"] == "SUCCESS"
    assert list((folder / "out/deep").rglob("version.bin"))


@pytest.mark.parametrize(
    ("what", "rights", "words"),
    [
        ("in", 0o000, "Cannot list the folder [{}] of the input source: Permission denied"),
        ("in", 0o444, "Cannot look at [{}/a.json] of the input source: Permission denied"),
        ("in/below", 0o000, "Cannot list the folder [{}] of the input source: Permission denied"),
        ("in/a.json", 0o000, "Cannot read the file [{}] of the input source: Permission denied"),
    ],
)
def test_input_that_may_not_be_read_fails_the_task_in_a_sentence_and_nothing_is_published(
    folder: Path, what: str, rights: int, words: str
) -> None:
    a_file(folder)
    a_file(folder, "below/b.json")
    (folder / what).chmod(rights)
    status = run(folder, {"baseDir": str(folder / "in"), "filter": "*"})
    assert (status["status"], status["errorMsg"]) == ("FAILED", words.format(folder / what))
    assert not list((folder / "out").rglob("version.bin"))
    assert not (folder / "out/segments.json").exists()


def test_a_listed_file_below_a_closed_folder_is_not_taken_for_one_that_is_not_there(folder: Path) -> None:
    file = a_file(folder)
    file.parent.chmod(0o000)
    status = run(folder, {"files": [str(file)]})
    assert status["status"] == "FAILED"
    assert status["errorMsg"] == f"Cannot look at [{file}] of the input source: Permission denied"


def test_a_parquet_file_that_may_not_be_read_is_told_in_the_same_words(folder: Path) -> None:
    file = a_file(folder, "a.parquet")
    file.chmod(0o000)
    status = run(folder, {"baseDir": str(folder / "in"), "filter": "*"}, {"type": "parquet"})
    assert status["status"] == "FAILED"
    assert status["errorMsg"] == f"Cannot read the file [{file}] of the input source: Permission denied"
