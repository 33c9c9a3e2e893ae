"""Who calls: nobody known is 401 and learns how to say who he is, and each authenticator knows its own."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.types import Message, Scope

from druid_core.errors import InvalidInput
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from overlord.task.token import TASK_USER
from tests.support.actions import segment
from tests.support.callers import ADMIN, ADMIN_PASSWORD, RUNNER_TOKEN, SECURITY, Headers, basic, bearer, made_user
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, replica
from tests.support.task_specs import noop

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
WHO = f"{SECURITY}/authentication/db/basic/users"


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(
        update={
            "authenticators": ("basic",),
            "initial_admin_password": ADMIN_PASSWORD,
            "runner_token": RUNNER_TOKEN,
            "wrong_passwords_per_minute": 5.0,
        }
    )


@pytest.mark.parametrize("path", [f"{V1}/tasks", f"{V1}/leader", "/status", "/", "/docs", "/openapi.json", "/nowhere"])
async def test_nobody_known_is_401_and_learns_how_to_sign_in(overlord: AsyncClient, path: str) -> None:
    answer = await overlord.get(path)
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="druid"', 'Bearer realm="druid"']
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error", "errorMessage", "errorClass", "host"}


async def test_a_body_is_not_read_before_its_sender_is_known(overlord: AsyncClient, app: FastAPI) -> None:
    read = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": f"{V1}/task",
        "raw_path": f"{V1}/task".encode(),
        "headers": [],
        "client": ("127.0.0.1", 1),
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": None,
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert read == 0


@pytest.mark.parametrize("path", ["/status/health", "/status/ready", f"{V1}/isLeader"])
async def test_probes_and_is_leader_need_no_credentials(overlord: AsyncClient, path: str) -> None:
    assert (await overlord.get(path)).status_code == 200


async def test_the_first_administrator_signs_in_with_the_password_of_the_setting(overlord: AsyncClient) -> None:
    assert (await overlord.get(f"{V1}/tasks", headers=ADMIN)).status_code == 200
    assert (await overlord.get("/nowhere", headers=ADMIN)).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        basic("admin", "wrong"),
        basic("nobody", ADMIN_PASSWORD),
        basic("admin", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /w=="},  # no UTF-8
        {"Authorization": "Basic YWRtaW4="},  # no colon
        {"Authorization": "Negotiate abc"},
    ],
)
async def test_wrong_credentials_are_401(overlord: AsyncClient, headers: dict[str, str]) -> None:
    answer = await overlord.get(f"{V1}/tasks", headers=headers)
    assert answer.status_code == 401
    assert ADMIN_PASSWORD not in answer.text


async def test_a_password_may_have_colons_and_any_letter(overlord: AsyncClient) -> None:
    await made_user(overlord, "ana", [])
    body = {"password": "a:b:ü✓"}
    assert (await overlord.post(f"{WHO}/ana/credentials", json=body, headers=ADMIN)).status_code == 200
    assert (await overlord.get("/", headers=basic("ana", "a:b:ü✓"))).status_code == 200


async def test_a_changed_password_counts_at_once_and_the_old_one_no_more(overlord: AsyncClient) -> None:
    old = await made_user(overlord, "ana", [])
    assert (await overlord.get("/", headers=old)).status_code == 200
    await overlord.post(f"{WHO}/ana/credentials", json={"password": "new"}, headers=ADMIN)
    assert (await overlord.get("/", headers=old)).status_code == 401
    assert (await overlord.get("/", headers=basic("ana", "new"))).status_code == 200


async def test_another_replica_hears_of_a_deleted_user_within_a_second(
    overlord: AsyncClient, settings: OverlordSettings
) -> None:
    async with replica(settings) as (_, other):
        ana = await made_user(overlord, "ana", [])
        await asyncio.sleep(1.1)
        assert (await other.get("/", headers=ana)).status_code == 200
        assert (await overlord.delete(f"{WHO}/ana", headers=ADMIN)).status_code == 200
        assert (await overlord.get("/", headers=ana)).status_code == 401
        await asyncio.sleep(1.1)
        assert (await other.get("/", headers=ana)).status_code == 401


async def test_who_guesses_passwords_has_to_wait_and_others_have_not(
    overlord: AsyncClient, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "overlord")
    statuses = [(await overlord.get("/", headers=basic("admin", f"guess {n}"))).status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]
    right = await overlord.get("/", headers=ADMIN)
    assert right.status_code == 429, "not even the right one is tried meanwhile"
    assert int(right.headers["retry-after"]) >= 1
    elsewhere = ASGITransport(app, client=("127.0.0.2", 5))
    async with AsyncClient(transport=elsewhere, base_url="http://overlord") as another:
        assert (await another.get("/", headers=ADMIN)).status_code == 200
    assert "a sign-in was refused user='admin'" in caplog.text
    assert "guess" not in caplog.text


async def test_guesses_that_come_at_once_are_no_more_than_those_that_come_in_turn(overlord: AsyncClient) -> None:
    answers = await asyncio.gather(*(overlord.get("/", headers=basic("admin", f"guess {n}")) for n in range(40)))
    tried = [answer.status_code for answer in answers].count(401)
    # in the seconds that forty would take, one more may be allowed
    assert 5 <= tried <= 7
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_without_any_user_a_start_asks_for_the_first_password(settings: OverlordSettings) -> None:
    lost = settings.model_copy(update={"initial_admin_password": None})
    with pytest.raises(InvalidInput, match="NEMETON_INITIAL_ADMIN_PASSWORD"):
        async with replica(lost):
            pass
    async with replica(settings):
        pass
    async with replica(lost) as (_, client):
        assert (await client.get("/", headers=ADMIN)).status_code == 200, "once made, the user is there"


async def test_a_restart_with_another_first_password_changes_nothing(settings: OverlordSettings) -> None:
    async with replica(settings):
        pass
    async with replica(settings.model_copy(update={"initial_admin_password": "another"})) as (_, client):
        assert (await client.get("/", headers=basic("admin", "another"))).status_code == 401
        assert (await client.get("/", headers=ADMIN)).status_code == 200


async def test_no_password_is_stored_as_it_is(overlord: AsyncClient, pool: Pool) -> None:
    await made_user(overlord, "ana", [])
    stored = await pool.fetch("SELECT password_hash FROM nemeton_credentials")
    assert len(stored) == 2
    assert all(row["password_hash"].startswith("$argon2id$") for row in stored)
    audited = await pool.fetch("SELECT payload FROM druid_audit")
    assert audited
    assert not [row for row in audited if b"password of ana" in row["payload"]]


async def test_a_database_that_is_away_is_503_and_lets_nobody_in(settings: OverlordSettings) -> None:
    async with replica(settings) as (app, client):
        app.state.pool.terminate()
        answer = await client.get(f"{V1}/tasks", headers=ADMIN)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1


# runners and peons


@pytest.fixture(params=[bearer, lambda token: basic(TASK_USER, token)], ids=["as bearer", "as password"])
def shown(request: pytest.FixtureRequest) -> Callable[[str], Headers]:
    """How a peon shows its token; Druid's own has a user and a password alone."""
    return request.param


async def test_a_runner_shows_the_runners_secret(overlord: AsyncClient) -> None:
    announce = FakeRunner(overlord, "r").announcement()
    for headers, status in (({}, 401), (ADMIN, 403), (bearer("x" * 43), 403), (bearer(RUNNER_TOKEN), 200)):
        answer = await overlord.post("/nemeton/v1/runner/announce", json=announce, headers=headers)
        assert answer.status_code == status, headers


async def test_a_runner_submits_and_ends_tasks_and_does_nothing_else(overlord: AsyncClient) -> None:
    runner = bearer(RUNNER_TOKEN)
    assert (await overlord.post(f"{V1}/task", json=noop("t"), headers=runner)).status_code == 200
    assert (await overlord.post(f"{V1}/task/t/shutdown", headers=runner)).status_code == 200
    for path in ("/status/properties", f"{V1}/workers", WHO):
        assert (await overlord.get(path, headers=runner)).status_code == 403, path
    action = {"task": {"id": "t"}, "action": {"type": "lockList"}}
    assert (await overlord.post(f"{V1}/action", json=action, headers=runner)).status_code == 403


async def test_a_peon_acts_for_its_own_task_alone(
    overlord: AsyncClient, app: FastAPI, shown: Callable[[str], Headers]
) -> None:
    mine, others = await _running(overlord, app, noop("mine"), noop("others", dataSource="others"), shown=shown)
    action = {"task": {"id": "mine"}, "action": {"type": "lockList"}}
    assert (await overlord.post(f"{V1}/action", json=action, headers=mine)).status_code == 200
    assert (await overlord.post(f"{V1}/action", json=action, headers=others)).status_code == 403
    assert (await overlord.get("/nemeton/v1/task/mine/payload", headers=mine)).status_code == 200
    assert (await overlord.get("/nemeton/v1/task/mine/payload", headers=others)).status_code == 403
    assert (await overlord.get("/nemeton/v1/task/mine/payload", headers=ADMIN)).status_code == 403
    assert (await overlord.get(f"{V1}/task/mine/status", headers=mine)).status_code == 200
    for method, path in (
        ("GET", f"{V1}/task/others/status"),
        ("GET", f"{V1}/task/others"),
        ("POST", f"{V1}/task/others/shutdown"),
        ("GET", f"{V1}/workers"),
        ("GET", "/status/properties"),
        ("POST", "/nemeton/v1/runner/report"),
        ("GET", WHO),
        ("POST", f"{WHO}/eve"),
        ("DELETE", f"{V1}/datasources/none"),
    ):
        assert (await overlord.request(method, path, headers=mine)).status_code == 403, path
    assert (await overlord.get(f"{V1}/tasks", headers=mine)).json() == []


async def test_a_peon_hands_in_sub_tasks_of_its_group_and_ends_those_alone(
    overlord: AsyncClient, app: FastAPI, shown: Callable[[str], Headers]
) -> None:
    (head,) = await _running(overlord, app, noop("head"), shown=shown)
    sub = noop("sub", groupId="head")
    assert (await overlord.post(f"{V1}/task", json=sub, headers=head)).status_code == 200
    assert (await overlord.post(f"{V1}/task", json=sub, headers=head)).status_code == 200, "twice is once"
    for stranger in (noop("a"), noop("b", groupId="head", dataSource="others")):
        assert (await overlord.post(f"{V1}/task", json=stranger, headers=head)).status_code == 403
    assert (await overlord.get(f"{V1}/task/sub/status", headers=head)).status_code == 200
    beside = noop("beside", groupId="head")
    assert (await overlord.post(f"{V1}/task", json=beside, headers=ADMIN)).status_code == 200
    assert (await overlord.post(f"{V1}/task/beside/shutdown", headers=head)).status_code == 403
    assert (await overlord.post(f"{V1}/task/head/shutdown", headers=head)).status_code == 403
    assert (await overlord.post(f"{V1}/task/sub/shutdown", headers=head)).status_code == 200


async def test_a_peon_asks_for_the_statuses_of_its_group_alone(
    overlord: AsyncClient, app: FastAPI, shown: Callable[[str], Headers]
) -> None:
    head, *_ = await _running(overlord, app, noop("head"), noop("sub", groupId="head"), noop("other"), shown=shown)
    ids = ["head", "sub", "other", "nobody"]
    answer = await overlord.post(f"{V1}/taskStatus", json=ids, headers=head)
    assert (answer.status_code, answer.json().keys()) == (200, {"head", "sub"})
    all_of_them = await overlord.post(f"{V1}/taskStatus", json=ids, headers=ADMIN)
    assert all_of_them.json().keys() == {"head", "sub", "other"}


async def test_what_is_refused_is_told_to_each_peon_as_it_expects_it(overlord: AsyncClient, app: FastAPI) -> None:
    """Druid's takes any refusal for a 500 with its own text."""
    tokens = await _running(overlord, app, noop("mine"), shown=lambda token: {"token": token})
    token = tokens[0]["token"]
    unlocked = {"task": {"id": "mine"}, "action": {"type": "segmentNuke", "segments": [segment(DAY, "v").to_wire()]}}
    ours = await overlord.post(f"{V1}/action", json=unlocked, headers=bearer(token))
    javas = await overlord.post(f"{V1}/action", json=unlocked, headers=basic(TASK_USER, token))
    assert (ours.status_code, javas.status_code) == (400, 500)
    assert ours.json() == javas.json()


async def test_a_token_that_is_none_is_no_wrong_password(overlord: AsyncClient) -> None:
    """A peon of Druid repeats what is 401 for ten minutes."""
    for number in range(9):
        answer = await overlord.get(f"{V1}/tasks", headers=basic(TASK_USER, f"guess {number}"))
        assert answer.status_code == 403
    assert (await overlord.get(f"{V1}/tasks", headers=ADMIN)).status_code == 200


async def test_nobody_has_the_name_under_which_tokens_are_shown(overlord: AsyncClient) -> None:
    refused = await overlord.post(f"{WHO}/{TASK_USER}", headers=ADMIN)
    assert refused.status_code == 400
    assert "tokens of their tasks" in refused.text
    assert (await overlord.get(WHO, headers=ADMIN)).json() == ["admin"]


async def test_the_token_of_an_attempt_that_ended_opens_nothing(
    overlord: AsyncClient, app: FastAPI, shown: Callable[[str], Headers]
) -> None:
    (mine,) = await _running(overlord, app, noop("mine"), shown=shown)
    await overlord.post(f"{V1}/task/mine/shutdown", headers=ADMIN)
    report = {"runnerId": "r", "taskId": "mine", "attempt": 1, "state": "ENDED"}
    ended = await overlord.post("/nemeton/v1/runner/report", json=[report], headers=bearer(RUNNER_TOKEN))
    assert ended.status_code == 200
    assert (await overlord.get(f"{V1}/task/mine/status", headers=mine)).status_code == 403
    assert (await overlord.get(f"{V1}/task/mine/status", headers=bearer("x" * 43))).status_code == 403


async def _running(
    overlord: AsyncClient, app: FastAPI, *tasks: dict[str, object], shown: Callable[[str], Headers]
) -> list[Headers]:
    """Tasks that were given to a runner; the headers of their peons."""
    for task in tasks:
        assert (await overlord.post(f"{V1}/task", json=task, headers=ADMIN)).status_code == 200
    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://overlord", headers=bearer(RUNNER_TOKEN)
    ) as by:
        runner = FakeRunner(by, "r", capacity=9)
        tokens = {taken.task_id: taken.token for taken in [await runner.take() for _ in tasks]}
    return [shown(tokens[str(task["id"])]) for task in tasks]


# none


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("10.1.2.3", 200),
        ("172.31.0.9", 200),
        ("::1", 200),
        ("::ffff:192.168.0.4", 200),
        ("fd12::7", 200),
        ("8.8.8.8", 401),
        ("::ffff:8.8.8.8", 401),
        ("2001:db8::1", 401),
        ("172.32.0.1", 401),
    ],
)
async def test_with_none_only_trusted_networks_are_served(
    settings: OverlordSettings, address: str, status: int
) -> None:
    open_house = settings.model_copy(update={"authenticators": ("none",), "runner_token": None})
    async with replica(open_house) as (app, _):
        transport = ASGITransport(app, client=(address, 1))
        async with AsyncClient(transport=transport, base_url="http://overlord") as client:
            answer = await client.get(f"{V1}/tasks")
            assert answer.status_code == status
            assert (await client.get("/status/health")).status_code == 200
            if status == 401:
                assert "trusted_networks" in answer.json()["errorMessage"]


async def test_with_none_credentials_that_nobody_asked_for_do_no_harm(settings: OverlordSettings) -> None:
    open_house = settings.model_copy(update={"authenticators": ("none",), "runner_token": None})
    async with replica(open_house) as (_, client):
        assert (await client.get(f"{V1}/tasks", headers=basic("who", "ever"))).status_code == 200


async def test_with_none_runners_are_asked_once_there_is_a_secret(settings: OverlordSettings) -> None:
    async with replica(settings.model_copy(update={"authenticators": ("none",)})) as (_, client):
        path = "/nemeton/v1/runner/report"
        assert (await client.post(path, json=[])).status_code == 401
        assert (await client.post(path, json=[], headers=bearer(RUNNER_TOKEN))).status_code == 200
        assert (await client.post(f"{V1}/task", json=noop("t"))).status_code == 200


async def test_a_bearer_that_no_attempt_can_have_is_nobody_known(overlord: AsyncClient) -> None:
    answer = await overlord.get(f"{V1}/tasks", headers=bearer("garbage"))
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="druid"', 'Bearer realm="druid"']
    void = await overlord.get(f"{V1}/tasks", headers=bearer("x" * 43))
    assert void.status_code == 403, "a peon whose token is void does not ask again"
    assert void.json()["errorMessage"] == "This token belongs to no attempt of a task"
