"""What somebody may do: Druid's resources and actions on every route, and lists that show only what one may see."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from druid_core.errors import InvalidInput
from overlord.access import (
    CONFIG,
    SECURITY,
    STATE,
    Action,
    RawPermission,
    Resource,
    ResourceType,
    data_source,
    permission_of,
)
from overlord.auth.gate import data_sources_of
from overlord.auth.rules import Asks, rule_of
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.callers import (
    ADMIN,
    ADMIN_PASSWORD,
    RUNNER_TOKEN,
    bearer,
    made_caller,
    made_role,
    made_user,
    permission,
)
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, until
from tests.support.task_specs import index_parallel, noop

JSON = {"Content-Type": "application/json"}
BASIC = "/druid-ext/basic-security"


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(
        update={
            "authenticators": ("basic",),
            "initial_admin_password": ADMIN_PASSWORD,
            "runner_token": RUNNER_TOKEN,
            "input_source_security": True,
        }
    )


@pytest.fixture
async def tasks(overlord: AsyncClient) -> None:
    """One of `web`, one of `shop`; the second one ended."""
    for name in ("web", "shop"):
        task = noop(f"of {name}", dataSource=name)
        assert (await overlord.post(f"{V1}/task", json=task, headers=ADMIN)).status_code == 200
    assert (await overlord.post(f"{V1}/task/of shop/shutdown", headers=ADMIN)).status_code == 200


# method, path, what is needed
OF_DATA_SOURCE = [
    ("GET", f"{V1}/task/of web", "READ"),
    ("GET", f"{V1}/task/of web/status", "READ"),
    ("GET", f"{V1}/task/of web/explain", "READ"),
    ("GET", f"{V1}/task/of web/log", "READ"),
    ("GET", f"{V1}/task/of web/reports", "READ"),
    ("GET", f"{V1}/task/of web/segments", "READ"),
    ("POST", f"{V1}/task/of web/shutdown", "WRITE"),
    ("POST", f"{V1}/datasources/web/shutdownAllTasks", "WRITE"),
    ("POST", f"{V1}/datasources/web", "WRITE"),
    ("DELETE", f"{V1}/datasources/web", "WRITE"),
    ("POST", f"{V1}/datasources/web/markUsed", "WRITE"),
    ("POST", f"{V1}/datasources/web/markUnused", "WRITE"),
]


@pytest.mark.parametrize(("method", "path", "action"), OF_DATA_SOURCE)
async def test_a_route_of_a_datasource_needs_that_datasource_and_action(
    overlord: AsyncClient, tasks: None, method: str, path: str, action: str
) -> None:
    other = "WRITE" if action == "READ" else "READ"
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", action))
    bea = await made_caller(
        overlord,
        "bea",
        permission("DATASOURCE", "shop", action),
        permission("DATASOURCE", "we", action),
        permission("DATASOURCE", "web", other),
        permission("STATE", ".*", action),
        permission("CONFIG", ".*", action),
    )
    refused = await overlord.request(method, path, headers=bea | JSON)
    assert refused.status_code == 403
    assert refused.json() == {"Access-Check-Result": f"bea has no {action} on DATASOURCE [web]"}
    assert refused.headers["content-type"] == "application/json"
    assert (await overlord.request(method, path, headers=ana | JSON)).status_code not in (401, 403)


async def test_to_delete_pending_segments_needs_both_actions(overlord: AsyncClient) -> None:
    path = f"{V1}/pendingSegments/web?interval=2026-01-01/2026-01-02"
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", "WRITE"))
    assert (await overlord.delete(path, headers=ana)).status_code == 403
    bea = await made_caller(overlord, "bea", *(permission("DATASOURCE", "web", each) for each in ("READ", "WRITE")))
    assert (await overlord.delete(path, headers=bea)).status_code == 200


STATE_AND_CONFIG = [
    ("GET", f"{V1}/leader", "STATE", "READ"),
    ("GET", f"{V1}/workers", "STATE", "READ"),
    ("GET", f"{V1}/scaling", "STATE", "READ"),
    ("GET", "/status", "STATE", "READ"),
    ("GET", "/status/selfDiscovered", "STATE", "READ"),
    ("GET", "/status/selfDiscovered/status", "STATE", "READ"),
    ("GET", "/metrics", "STATE", "READ"),
    ("POST", f"{V1}/taskStatus", "STATE", "WRITE"),
    ("POST", f"{V1}/action", "STATE", "WRITE"),
    ("POST", f"{V1}/lockedIntervals/v2", "STATE", "WRITE"),
    ("POST", f"{V1}/activeLocks", "STATE", "WRITE"),
    ("POST", f"{V1}/worker/some/enable", "STATE", "WRITE"),
    ("POST", f"{V1}/worker/some/disable", "STATE", "WRITE"),
    ("GET", f"{V1}/worker", "CONFIG", "READ"),
    ("POST", f"{V1}/worker", "CONFIG", "WRITE"),
    ("GET", f"{V1}/worker/history", "CONFIG", "READ"),
    ("GET", f"{V1}/totalWorkerCapacity", "CONFIG", "READ"),
    ("GET", f"{V1}/k8s/taskrunner/executionconfig", "CONFIG", "READ"),
    ("POST", f"{V1}/k8s/taskrunner/executionconfig", "CONFIG", "WRITE"),
    ("GET", f"{V1}/k8s/taskrunner/executionconfig/history", "CONFIG", "READ"),
    ("GET", "/status/properties", "CONFIG", "READ"),
    ("GET", f"{BASIC}/authentication/db/basic/users", "CONFIG", "READ"),
    ("GET", f"{BASIC}/authorization/db/basic/roles", "CONFIG", "READ"),
    ("POST", f"{BASIC}/authorization/db/basic/roles/made", "CONFIG", "WRITE"),
]


@pytest.mark.parametrize(("method", "path", "type", "action"), STATE_AND_CONFIG)
async def test_a_route_of_state_or_config_needs_that_and_no_datasource(
    overlord: AsyncClient, method: str, path: str, type: str, action: str
) -> None:
    other_type = "CONFIG" if type == "STATE" else "STATE"
    other_action = "WRITE" if action == "READ" else "READ"
    ana = await made_caller(overlord, "ana", permission(type, ".*", action))
    bea = await made_caller(
        overlord,
        "bea",
        *(permission("DATASOURCE", ".*", each) for each in ("READ", "WRITE")),
        *(permission(other_type, ".*", each) for each in ("READ", "WRITE")),
        permission(type, ".*", other_action),
    )
    refused = await overlord.request(method, path, headers=bea | JSON, content=b"{}")
    assert (refused.status_code, list(refused.json())) == (403, ["Access-Check-Result"])
    assert (await overlord.request(method, path, headers=ana | JSON, content=b"{}")).status_code not in (401, 403)


async def test_to_see_the_settings_is_not_to_see_users(overlord: AsyncClient) -> None:
    ana = await made_caller(overlord, "ana", permission("CONFIG", "CONFIG", "READ"))
    assert (await overlord.get("/status/properties", headers=ana)).status_code == 200
    assert (await overlord.get(f"{BASIC}/authentication/db/basic/users", headers=ana)).status_code == 403


async def test_a_task_that_reads_a_datasource_needs_to_read_it(overlord: AsyncClient, pool: Pool) -> None:
    mine = [permission("DATASOURCE", "web", "WRITE"), permission("EXTERNAL", "druid", "READ")]
    ana = await made_caller(overlord, "ana", *mine)
    bea = await made_caller(overlord, "bea", *mine, permission("DATASOURCE", "shop", "READ"))
    task = index_parallel("t")
    source = {"type": "druid", "dataSource": "shop", "interval": "2026-01-01/P1D"}
    task["spec"]["ioConfig"] = {"type": "index_parallel", "inputSource": source}
    refused = await overlord.post(f"{V1}/task", json=task, headers=ana)
    assert (refused.status_code, refused.json()) == (
        403,
        {"Access-Check-Result": "ana has no READ on DATASOURCE [shop]"},
    )
    assert await pool.fetchval("SELECT count(*) FROM druid_tasks") == 0
    assert (await overlord.post(f"{V1}/task", json=task, headers=bea)).status_code == 200


async def test_a_submission_needs_to_write_its_datasource_and_to_read_its_input(
    overlord: AsyncClient, pool: Pool
) -> None:
    web, inline = permission("DATASOURCE", "web", "WRITE"), permission("EXTERNAL", "inline", "READ")
    ana = await made_caller(overlord, "ana", web)
    bea = await made_caller(overlord, "bea", web, inline)
    cat = await made_caller(overlord, "cat", permission("DATASOURCE", "web", "READ"), inline)
    task = index_parallel("t")
    refused = await overlord.post(f"{V1}/task", json=task, headers=ana)
    assert refused.json() == {"Access-Check-Result": "ana has no READ on EXTERNAL [inline]"}
    refused = await overlord.post(f"{V1}/task", json=task, headers=cat)
    assert (refused.status_code, refused.json()) == (
        403,
        {"Access-Check-Result": "cat has no WRITE on DATASOURCE [web]"},
    )
    assert await pool.fetchval("SELECT count(*) FROM druid_tasks") == 0
    assert (await overlord.post(f"{V1}/task", json=task, headers=bea)).status_code == 200
    assert (await overlord.post(f"{V1}/task", json=noop("n", dataSource="web"), headers=ana)).status_code == 200


@pytest.mark.parametrize("what", ["tasks", "waitingTasks", "pendingTasks", "runningTasks", "completeTasks"])
async def test_lists_show_what_one_may_read_and_refuse_nothing(overlord: AsyncClient, tasks: None, what: str) -> None:
    def ids(answer: Any) -> set[str]:
        return {task["id"] for task in answer.json()}

    everything = ids(await overlord.get(f"{V1}/{what}", headers=ADMIN))
    for source in ("web", "shop", "none"):
        caller = await made_caller(overlord, source, permission("DATASOURCE", source, "READ"))
        answer = await overlord.get(f"{V1}/{what}", headers=caller)
        assert answer.status_code == 200
        assert ids(answer) == everything & {f"of {source}"}


async def test_what_one_may_not_see_does_not_count_against_max(overlord: AsyncClient) -> None:
    for number, source in enumerate(("web", "shop", "shop", "shop")):
        await overlord.post(f"{V1}/task", json=noop(f"t{number}", dataSource=source), headers=ADMIN)
        await overlord.post(f"{V1}/task/t{number}/shutdown", headers=ADMIN)
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", "READ"))
    shown = (await overlord.get(f"{V1}/tasks?max=1", headers=ana)).json()
    assert [task["id"] for task in shown] == ["t0"]


async def test_a_list_of_one_datasource_is_refused_in_plain_text(overlord: AsyncClient, tasks: None) -> None:
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", "READ"))
    allowed = await overlord.get(f"{V1}/tasks?datasource=web", headers=ana)
    assert [task["id"] for task in allowed.json()] == ["of web"]
    refused = await overlord.get(f"{V1}/tasks?datasource=shop", headers=ana)
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/plain;charset=utf-8")
    assert refused.text.startswith("Access-Check-Result: ")


@pytest.mark.parametrize("what", ["", "/status", "/log", "/reports", "/explain", "/segments"])
async def test_an_unknown_task_is_404_whoever_asks(overlord: AsyncClient, what: str) -> None:
    ana = await made_caller(overlord, "ana")
    answer = await overlord.get(f"{V1}/task/unknown{what}", headers=ana)
    assert (answer.status_code, answer.text) == (404, "Cannot find any task with id: [unknown]")
    assert answer.headers["content-type"] == "text/plain;charset=utf-8"


async def test_a_path_without_a_rule_is_for_those_who_may_do_everything(overlord: AsyncClient) -> None:
    half = await made_caller(overlord, "half", *(permission("CONFIG", ".*", each) for each in ("READ", "WRITE")))
    assert (await overlord.get(f"{V1}/brandNew", headers=half)).status_code == 403
    assert (await overlord.get(f"{V1}/brandNew", headers=ADMIN)).status_code == 404


def asked_by_route(app: FastAPI) -> dict[str, Asks | Resource]:
    """What each route asks, by its method and path."""
    routes = [(str(method).upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    return {f"{method} {path}": rule_of(method, re.sub(r"\{[^}]*\}", "x", path))[0].need for method, path in routes}


def test_every_route_has_a_rule(app: FastAPI) -> None:
    asked = asked_by_route(app)
    assert len(asked) > 50
    assert [name for name, need in asked.items() if need is Asks.EVERYTHING and name not in CLOSED] == []
    open_routes = {name for name, need in asked.items() if need is Asks.NOTHING}
    assert open_routes == {"GET /status/health", "GET /status/ready", f"GET {V1}/isLeader"}
    assert {need for need in asked.values() if not isinstance(need, Asks)} == {STATE, CONFIG, SECURITY}


CLOSED: set[str] = set()
"""Routes of lists that are not filtered yet, and therefore for those who may do everything."""


def test_a_route_that_decides_itself_is_among_those_tested(app: FastAPI) -> None:
    """Those of tasks above, those of supervisors and compaction in test_supervisor_permissions.py."""
    decides = {name.rpartition("/")[2] for name, need in asked_by_route(app).items() if need is Asks.ROUTE}
    of_tasks = {"task", "tasks", "waitingTasks", "pendingTasks", "runningTasks", "completeTasks"}
    of_supervisors = {"supervisor", "history", "suspendAll", "resumeAll", "terminateAll", "datasources"}
    assert decides == of_tasks | of_supervisors


# roles


@pytest.mark.route(
    "DELETE /druid-ext/basic-security/authorization/db/{authorizer}/users/{user}/roles/{role}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
async def test_a_role_that_is_taken_away_counts_at_once(overlord: AsyncClient) -> None:
    ana = await made_caller(overlord, "ana", permission("STATE", "STATE", "READ"))
    assert (await overlord.get(f"{V1}/workers", headers=ana)).status_code == 200
    path = f"{BASIC}/authorization/db/basic/users/ana/roles/role of ana"
    assert (await overlord.delete(path, headers=ADMIN)).status_code == 200
    assert (await overlord.get(f"{V1}/workers", headers=ana)).status_code == 403


async def test_rights_of_several_roles_add_up(overlord: AsyncClient) -> None:
    await made_role(overlord, "reader", permission("STATE", "STATE", "READ"))
    await made_role(overlord, "writer", permission("CONFIG", "CONFIG", "READ"))
    ana = await made_user(overlord, "ana", ["reader", "writer"])
    for path in (f"{V1}/workers", "/status/properties"):
        assert (await overlord.get(path, headers=ana)).status_code == 200


@pytest.mark.route(
    "GET /druid-ext/basic-security/authentication/db/{authenticator}/users",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authentication/db/{authenticator}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authorization/db/{authorizer}/users",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authorization/db/{authorizer}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authorization/db/{authorizer}/roles",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authorization/db/{authorizer}/roles/{role}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "GET /druid-ext/basic-security/authorization/db/{authorizer}/roles/{role}/permissions",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authentication/db/{authenticator}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authentication/db/{authenticator}/users/{user}/credentials",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authorization/db/{authorizer}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authorization/db/{authorizer}/users/{user}/roles/{role}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authorization/db/{authorizer}/roles/{role}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "POST /druid-ext/basic-security/authorization/db/{authorizer}/roles/{role}/permissions",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
async def test_users_and_roles_read_as_in_druid(overlord: AsyncClient) -> None:
    await made_caller(overlord, "ana", permission("DATASOURCE", "web.*", "READ"))
    shown = [
        {
            "resourceAction": {"resource": {"name": "web.*", "type": "DATASOURCE"}, "action": "READ"},
            "resourceNamePattern": "web.*",
        }
    ]
    who, what = f"{BASIC}/authentication/db/any", f"{BASIC}/authorization/db/any"
    for path, expected in {
        f"{who}/users": ["admin", "ana"],
        f"{who}/users/ana": {"name": "ana", "credentials": {"hash": "********"}},
        f"{what}/users": ["admin", "ana"],
        f"{what}/users/ana": {"name": "ana", "roles": ["role of ana"]},
        f"{what}/users/ana?full": {"name": "ana", "roles": [{"name": "role of ana", "permissions": shown}]},
        f"{what}/roles": ["admin", "role of ana"],
        f"{what}/roles/role of ana": {"name": "role of ana", "permissions": shown},
        f"{what}/roles/role of ana?full": {
            "name": "role of ana",
            "users": ["ana"],
            "groupMappings": [],
            "permissions": shown,
        },
        f"{what}/roles/role of ana/permissions": shown,
    }.items():
        assert (await overlord.get(path, headers=ADMIN)).json() == expected, path


@pytest.mark.route(
    "DELETE /druid-ext/basic-security/authentication/db/{authenticator}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "DELETE /druid-ext/basic-security/authorization/db/{authorizer}/users/{user}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.route(
    "DELETE /druid-ext/basic-security/authorization/db/{authorizer}/roles/{role}",
    "differs",
    "In Druid the Coordinator has it; there is one list of users and roles, whatever authenticator or authorizer is "
    "named",
)
@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "authentication/db/b/users/admin", "User [admin] already exists."),
        ("DELETE", "authentication/db/b/users/x", "User [x] does not exist."),
        ("GET", "authentication/db/b/users/x", "User [x] does not exist."),
        ("POST", "authorization/db/b/users/admin", "User [admin] already exists."),
        ("DELETE", "authorization/db/b/users/x", "User [x] does not exist."),
        ("GET", "authorization/db/b/users/x", "User [x] does not exist."),
        ("POST", "authorization/db/b/roles/admin", "Role [admin] already exists."),
        ("DELETE", "authorization/db/b/roles/x", "Role [x] does not exist."),
        ("GET", "authorization/db/b/roles/x", "Role [x] does not exist."),
        ("GET", "authorization/db/b/roles/x/permissions", "Role [x] does not exist."),
        ("POST", "authorization/db/b/users/x/roles/admin", "User [x] does not exist."),
        ("POST", "authorization/db/b/users/admin/roles/x", "Role [x] does not exist."),
        ("POST", "authorization/db/b/users/admin/roles/admin", "User [admin] already has role [admin]."),
        ("DELETE", "authorization/db/b/users/admin/roles/x", "Role [x] does not exist."),
    ],
)
async def test_what_cannot_be_changed_is_400_in_druids_words(
    overlord: AsyncClient, method: str, path: str, message: str
) -> None:
    answer = await overlord.request(method, f"{BASIC}/{path}", headers=ADMIN)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("authorization/db/b/roles/admin/permissions", [permission("DATASOURCE", "(", "READ")]),
        ("authorization/db/b/roles/admin/permissions", [permission("DATASOURCE", "a", "OWN")]),
        ("authorization/db/b/roles/admin/permissions", {"not": "a list"}),
        ("authentication/db/b/users/admin/credentials", {"password": ""}),
        ("authentication/db/b/users/admin/credentials", {"password": 7}),
        ("authentication/db/b/users/admin/credentials", {"password": "x" * 5000}),
        ("authentication/db/b/users/admin/credentials", []),
        ("authentication/db/b/users/a%3Ab", None),
        ("authorization/db/b/roles/a%0Ab", None),
        ("authorization/db/b/users/" + "x" * 256, None),
    ],
)
async def test_bad_users_roles_and_passwords_are_400_and_change_nothing(
    overlord: AsyncClient, pool: Pool, path: str, body: Any
) -> None:
    before = await _all_rows(pool)
    answer = await overlord.post(f"{BASIC}/{path}", json=body, headers=ADMIN)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert await _all_rows(pool) == before


async def test_a_change_of_roles_is_audited_with_author_and_identity(overlord: AsyncClient, pool: Pool) -> None:
    headers = ADMIN | {"X-Druid-Author": "Ana", "X-Druid-Comment": "for the new team"}
    await overlord.post(f"{BASIC}/authorization/db/basic/roles/team", headers=headers)
    row = await pool.fetchrow("SELECT * FROM druid_audit WHERE type = 'basic.authorizer'")
    assert row is not None
    assert (row["author"], row["comment"]) == ("Ana", "for the new team")
    assert b'"identity":"admin"' in row["payload"]
    assert b"Create role[team]" in row["payload"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", f"{BASIC}/authentication/db/basic/users/admin", None),
        ("DELETE", f"{BASIC}/authorization/db/basic/users/admin", None),
        ("DELETE", f"{BASIC}/authorization/db/basic/users/admin/roles/admin", None),
        ("DELETE", f"{BASIC}/authorization/db/basic/roles/admin", None),
        ("POST", f"{BASIC}/authorization/db/basic/roles/admin/permissions", []),
    ],
)
async def test_the_last_who_may_change_users_cannot_lock_everybody_out(
    overlord: AsyncClient, pool: Pool, method: str, path: str, body: Any
) -> None:
    before = await _all_rows(pool)
    refused = await overlord.request(method, path, json=body, headers=ADMIN)
    assert refused.status_code == 400
    assert "Nobody could change users and roles any more" in refused.json()["error"]
    assert await _all_rows(pool) == before
    bea = await made_caller(overlord, "bea", permission("CONFIG", "security", "WRITE"))
    assert (await overlord.request(method, path, json=body, headers=ADMIN)).status_code == 200
    if method == "DELETE":
        assert (await overlord.request(method, path, headers=bea)).status_code == 400, "once is enough"


async def test_a_group_of_ones_choice_opens_no_task_of_another_datasource(overlord: AsyncClient, app: FastAPI) -> None:
    for name in ("web", "secret"):
        task = noop(f"of {name}", dataSource=name, groupId="shared")
        assert (await overlord.post(f"{V1}/task", json=task, headers=ADMIN)).status_code == 200
    beside = noop("beside", dataSource="web", groupId="shared")
    assert (await overlord.post(f"{V1}/task", json=beside, headers=ADMIN)).status_code == 200
    async with AsyncClient(
        transport=ASGITransport(app), base_url="http://overlord", headers=bearer(RUNNER_TOKEN)
    ) as by:
        runner = FakeRunner(by, "r", capacity=9)
        tokens = {taken.task_id: taken.token for taken in [await runner.take() for _ in range(3)]}
    peon = bearer(tokens["of web"])
    for path in ("", "/status", "/log", "/reports"):
        assert (await overlord.get(f"{V1}/task/of secret{path}", headers=peon)).status_code == 403, path
    assert (await overlord.get(f"{V1}/task/beside/status", headers=peon)).status_code == 200
    shown = await overlord.post(f"{V1}/taskStatus", json=["of web", "of secret", "beside"], headers=peon)
    assert sorted(shown.json()) == ["beside", "of web"]


async def test_a_stored_permission_that_cannot_be_read_allows_nothing_and_stops_nobody(
    overlord: AsyncClient, pool: Pool, tasks: None
) -> None:
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", "READ"))
    await pool.execute(
        "UPDATE nemeton_roles SET permissions = replace(permissions::text, $1, $2)::jsonb", '"web"', '"(?!shop).*"'
    )

    async def is_refused() -> bool:
        return (await overlord.get(f"{V1}/task/of web", headers=ana)).status_code == 403

    await until(is_refused)  # the roles are read again within a second
    assert (await overlord.get(f"{V1}/task/of web", headers=ADMIN)).status_code == 200


async def _all_rows(pool: Pool) -> list[list[str]]:
    tables = ("nemeton_credentials", "nemeton_users", "nemeton_roles", "nemeton_user_roles", "druid_audit")
    return [sorted(str(dict(row)) for row in await pool.fetch(f"SELECT * FROM {table}")) for table in tables]


# pure


def test_a_permission_is_for_whole_names_of_its_type_and_action() -> None:
    raw = RawPermission.model_validate(permission("DATASOURCE", "web.*|shop", "READ"))
    allowed = permission_of(raw)
    assert allowed.covers(Action.READ, data_source("web_2"))
    assert allowed.covers(Action.READ, data_source("shop"))
    assert not allowed.covers(Action.READ, data_source("my web"))
    assert not allowed.covers(Action.READ, data_source("shops"))
    assert not allowed.covers(Action.WRITE, data_source("web"))
    assert not allowed.covers(Action.READ, Resource(ResourceType.EXTERNAL, "web"))
    with pytest.raises(InvalidInput, match="regular expression"):
        permission_of(RawPermission.model_validate(permission("DATASOURCE", "[", "READ")))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "autocompact", "spec": {"dataSource": "web"}}, ["web"]),
        ({"type": "kafka", "spec": {"dataSchema": {"dataSource": "web"}}}, ["web"]),
        ({"type": "NoopSupervisorSpec", "dataSources": ["a", "b"]}, ["a", "b"]),
        ({"type": "kafka", "dataSchema": {"dataSource": "old"}}, ["old"]),
        ({"type": "strange"}, []),
        ([], []),
    ],
)
def test_the_datasources_of_a_supervisor_are_found_in_any_type(spec: Any, expected: list[str]) -> None:
    assert data_sources_of(spec) == expected


@pytest.mark.usefixtures("tasks")
async def test_a_page_after_a_task_that_may_not_be_seen_is_a_page_after_none(overlord: AsyncClient) -> None:
    ana = await made_caller(overlord, "ana", permission("DATASOURCE", "web", "READ"))
    answers = [
        await overlord.get(f"{V1}/tasks?limit=1&after={task_id}", headers=ana)
        for task_id in ("of shop", "of shoe", "of web")
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 200]
    assert answers[0].text.replace("of shop", "of shoe") == answers[1].text
