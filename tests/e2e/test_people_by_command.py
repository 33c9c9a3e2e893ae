"""Users and roles by the command, as an administrator of a house that asks who calls."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.callers import ADMIN_PASSWORD
from tests.support.house import House

TASK = '{"type": "noop", "dataSource": "web", "runTime": 1}'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    asking = {"NEMETON_AUTHENTICATORS": "basic", "NEMETON_INITIAL_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with House(tmp_path_factory.mktemp("house") / "data", environment=asking) as house:
        yield house


def nemeton(house: House, *arguments: str, stdin: str = "", **who: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
    return subprocess.run(
        [sys.executable, "-m", "nemeton", *arguments],
        env={**given, "NEMETON_OVERLORD": f"http://127.0.0.1:{house.port}", "NETRC": "/dev/null", **who},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_user_who_is_made_by_command_may_what_his_role_allows(house: House, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{ADMIN_PASSWORD}\n")
    admin = {"NEMETON_USER": "admin", "NEMETON_PASSWORD_FILE": str(secret)}
    ana = {"NEMETON_USER": "ana", "NEMETON_PASSWORD": "gr€en"}
    spec = tmp_path / "task.json"
    spec.write_text(TASK)

    stranger = nemeton(house, "tasks")
    assert (stranger.returncode, stranger.stdout) == (2, "")
    assert "sign in with NEMETON_USER" in stranger.stderr

    allowed = ("--allow", "READ:DATASOURCE:web.*")
    for command, stdin in (
        (("role", "add", "web", *allowed), ""),
        (("user", "add", "ana", "--role", "web", "--password-stdin"), "gr€en\n"),
    ):
        done = nemeton(house, *command, stdin=stdin, **admin)
        assert done.returncode == 0, done.stderr
    assert nemeton(house, "tasks", **ana).stdout == "no tasks\n"

    refused = nemeton(house, "submit", str(spec), **ana)
    assert refused.returncode == 2
    assert "ana has no WRITE on DATASOURCE [web]" in refused.stderr
    assert nemeton(house, "role", "set", "web", *allowed, "--allow", "WRITE:DATASOURCE:web.*", **admin).returncode == 0
    watched = nemeton(house, "submit", str(spec), "--watch", **ana)
    assert watched.returncode == 0, watched.stderr + house.words()

    listed = nemeton(house, "user", "list", **admin).stdout
    assert ["ana", "yes", "web"] in [line.split() for line in listed.splitlines()]
    assert nemeton(house, "user", "list", **ana).returncode == 2, "users are the administrator's to see"
    assert nemeton(house, "user", "password", "ana", "--password-stdin", stdin="blue\n", **admin).returncode == 0
    assert nemeton(house, "tasks", **ana).returncode == 2
    assert nemeton(house, "tasks", **{**ana, "NEMETON_PASSWORD": "blue"}).returncode == 0
    assert nemeton(house, "user", "remove", "ana", **admin).returncode == 0
    assert nemeton(house, "tasks", **{**ana, "NEMETON_PASSWORD": "blue"}).returncode == 2
