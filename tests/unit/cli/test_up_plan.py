"""What `nemeton up` tells its parts."""

from pathlib import Path

import pytest

from nemeton.up.folder import DataFolder
from nemeton.up.plan import Wishes, plan
from tests.support.ports import free_ports

PATHS, TRUST = "NEMETON_LOCAL_INPUT_PATHS", "NEMETON_TRUST_THIS_MACHINE"


def environment_of_parts(folder: Path) -> tuple[dict[str, str | None], list[str]]:
    """What every part is told of local files and callers; and the words to the person."""
    port, worker_port = free_ports(2)
    said: list[str] = []
    wishes = Wishes(folder, "127.0.0.1", port, worker_port, 1, "postgresql://db/nemeton", None, None)
    floors = plan(wishes, DataFolder(folder), said.append).floors
    told = [{name: part.environment.get(name) for name in (PATHS, TRUST)} for floor in floors for part in floor]
    assert told[0] == told[1], "the Overlord and the MiddleManager"
    return told[0], said


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PATHS, TRUST, "NEMETON_AUTHENTICATORS"):
        monkeypatch.delenv(name, raising=False)


def test_while_nobody_is_asked_tasks_read_what_whoever_started_them_can(tmp_path: Path) -> None:
    assert environment_of_parts(tmp_path) == ({PATHS: "/", TRUST: "true"}, [])


def test_with_authenticators_tasks_read_no_local_files_and_their_machine_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEMETON_AUTHENTICATORS", "basic,jwt")
    told, said = environment_of_parts(tmp_path)
    assert told == {PATHS: None, TRUST: None}
    assert len(said) == 1
    assert "NEMETON_LOCAL_INPUT_PATHS lists folders" in said[0]


def test_what_the_person_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMETON_AUTHENTICATORS", "basic")
    monkeypatch.setenv(PATHS, "/data")
    assert environment_of_parts(tmp_path) == ({PATHS: "/data", TRUST: None}, [])
