"""`nemeton user` and `nemeton role`: which calls they make, and what they leave alone."""

import getpass
import json

import pytest
from typer.testing import CliRunner, Result

from nemeton.client import sign_in
from nemeton.main import app
from tests.support.scripted_overlord import Answer, ScriptedOverlord

WHO = "/druid-ext/basic-security/authentication/db/basic/users"
WHAT = "/druid-ext/basic-security/authorization/db/basic"
DONE = Answer(body=b"")


def nemeton(overlord: ScriptedOverlord, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [*arguments, "--overlord", overlord.url], input=stdin)


def calls(overlord: ScriptedOverlord) -> list[str]:
    """Those that change something."""
    return [request for request, _ in overlord.asked if not request.startswith("GET ")]


@pytest.fixture
def overlord(scripted_overlord: ScriptedOverlord) -> ScriptedOverlord:
    """One with a user who has a role, a user who cannot sign in yet, and a role that nobody has."""
    web = {"resource": {"type": "DATASOURCE", "name": "web.*"}, "action": "READ"}
    for request, answer in {
        f"GET {WHO}": ["admin", "new"],
        f"GET {WHO}/admin": {"name": "admin", "credentials": {"hash": "********"}},
        f"GET {WHO}/new": {"name": "new", "credentials": None},
        f"GET {WHAT}/users": ["admin", "of a token"],
        f"GET {WHAT}/users/admin": {"name": "admin", "roles": ["admin", "web"]},
        f"GET {WHAT}/users/of%20a%20token": {"name": "of a token", "roles": []},
        f"GET {WHAT}/roles": ["idle", "web"],
        f"GET {WHAT}/roles/idle?full": {"name": "idle", "users": [], "permissions": []},
        f"GET {WHAT}/roles/web?full": {
            "name": "web",
            "users": ["admin"],
            "permissions": [{"resourceAction": web, "resourceNamePattern": "web.*"}],
        },
    }.items():
        scripted_overlord.on(request, json.dumps(answer).encode())
    return scripted_overlord


def test_users_are_listed_with_their_roles(overlord: ScriptedOverlord) -> None:
    result = nemeton(overlord, "user", "list")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[1:] == [["admin", "yes", "admin,", "web"], ["new", "no"], ["of", "a", "token", "no"]]
    assert json.loads(nemeton(overlord, "user", "list", "--json").stdout)[1] == {
        "name": "new",
        "signsIn": False,
        "roles": [],
    }


def test_roles_are_listed_in_the_words_that_set_them(overlord: ScriptedOverlord) -> None:
    result = nemeton(overlord, "role", "list")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["idle"],
        ["web", "READ:DATASOURCE:web.*", "admin"],
    ]


def test_a_user_is_made_with_password_and_roles(overlord: ScriptedOverlord) -> None:
    for request in (f"{WHO}/ana", f"{WHO}/ana/credentials", f"{WHAT}/users/ana", f"{WHAT}/users/ana/roles/web"):
        overlord.on(f"POST {request}", DONE)
    result = nemeton(overlord, "user", "add", "ana", "--role", "web", "--password-stdin", stdin="canary ö\nrest\n")
    assert (result.exit_code, result.stdout) == (0, "ana can sign in\n")
    assert calls(overlord) == [
        f"POST {WHO}/ana",
        f"POST {WHO}/ana/credentials",
        f"POST {WHAT}/users/ana",
        f"POST {WHAT}/users/ana/roles/web",
    ]
    bodies = dict(overlord.asked)
    assert json.loads(bodies[f"POST {WHO}/ana/credentials"]) == {"password": "canary ö"}
    assert "canary" not in result.output


def test_a_role_that_is_not_there_is_told_before_anything_changes(overlord: ScriptedOverlord) -> None:
    result = nemeton(overlord, "user", "add", "ana", "--role", "wbe", "--password-stdin", stdin="x\n")
    assert result.exit_code == 2
    assert "There is no role [wbe]; nothing was changed" in result.stderr
    assert calls(overlord) == []


@pytest.mark.parametrize(
    ("stdin", "options", "words"),
    [
        ("", ["--password-stdin"], "The password is empty; nothing was changed"),
        ("x\n", [], "Nobody is there to type a password"),
    ],
)
def test_no_user_is_made_without_a_password(
    overlord: ScriptedOverlord, stdin: str, options: list[str], words: str
) -> None:
    result = nemeton(overlord, "user", "add", "ana", *options, stdin=stdin)
    assert result.exit_code == 2
    assert words in result.stderr
    assert calls(overlord) == []


@pytest.mark.parametrize(("second", "exit_code"), [("typed", 0), ("tpyed", 2)])
def test_a_password_is_typed_twice(
    overlord: ScriptedOverlord, monkeypatch: pytest.MonkeyPatch, second: str, exit_code: int
) -> None:
    overlord.on(f"POST {WHO}/admin/credentials", DONE)
    typed = iter(["typed", second])
    monkeypatch.setattr(sign_in, "is_with_a_person", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))
    assert nemeton(overlord, "user", "password", "admin").exit_code == exit_code
    assert len(calls(overlord)) == (1 if exit_code == 0 else 0)


def test_a_user_is_removed_from_both_lists(overlord: ScriptedOverlord) -> None:
    overlord.on(f"DELETE {WHAT}/users/admin", DONE)
    overlord.on(f"DELETE {WHO}/admin", DONE)
    overlord.on(f"DELETE {WHAT}/users/of%20a%20token", DONE)
    assert nemeton(overlord, "user", "remove", "admin").exit_code == 0
    assert nemeton(overlord, "user", "remove", "of a token").exit_code == 0
    assert calls(overlord) == [
        f"DELETE {WHAT}/users/admin",
        f"DELETE {WHO}/admin",
        f"DELETE {WHAT}/users/of%20a%20token",
    ]


def test_a_role_is_made_set_given_and_taken(overlord: ScriptedOverlord) -> None:
    for request in (
        *(f"POST {WHAT}/roles/new%2Fone", f"POST {WHAT}/roles/new%2Fone/permissions"),
        *(f"POST {WHAT}/users/ana/roles/web", f"DELETE {WHAT}/users/ana/roles/web", f"DELETE {WHAT}/roles/web"),
    ):
        overlord.on(request, DONE)
    allowed = ["--allow", "read:datasource:a:b.*", "--allow", "WRITE:STATE:STATE"]
    assert nemeton(overlord, "role", "add", "new/one", *allowed).exit_code == 0
    assert json.loads(overlord.asked[-1][1]) == [
        {"resource": {"name": "a:b.*", "type": "DATASOURCE"}, "action": "READ"},
        {"resource": {"name": "STATE", "type": "STATE"}, "action": "WRITE"},
    ]
    assert nemeton(overlord, "role", "set", "new/one").exit_code == 0
    assert json.loads(overlord.asked[-1][1]) == []
    assert nemeton(overlord, "user", "grant", "ana", "web").exit_code == 0
    assert nemeton(overlord, "user", "revoke", "ana", "web").exit_code == 0
    assert nemeton(overlord, "role", "remove", "web").exit_code == 0


@pytest.mark.parametrize("words", ["READ", "READ:DATASOURCE", "LOOK:DATASOURCE:web", "READ::web", "READ:DATASOURCE:"])
def test_words_that_allow_nothing_are_refused_before_anything_changes(overlord: ScriptedOverlord, words: str) -> None:
    result = nemeton(overlord, "role", "add", "r", "--allow", words)
    assert result.exit_code == 2
    assert f"--allow [{words}] says no permission: expected ACTION:TYPE:NAME" in result.stderr
    assert calls(overlord) == []


def test_what_the_overlord_refuses_is_told_in_its_words(overlord: ScriptedOverlord) -> None:
    overlord.on(f"POST {WHAT}/roles/web", Answer(400, b'{"error":"Role [web] already exists."}'))
    result = nemeton(overlord, "role", "add", "web")
    assert (result.exit_code, result.stderr) == (2, "nemeton: Role [web] already exists.\n")
