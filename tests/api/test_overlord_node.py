"""What holds for every call, and who the node says that it is; recorded answers of Druid as the measure."""

import gzip
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from druid_core.errors import NemetonError
from overlord.app import create_app
from overlord.problems import PROBLEMS, problem_of
from overlord.settings import OverlordSettings
from tests.support.fake_runner import FakeRunner
from tests.support.task_specs import noop

V1 = "/druid/indexer/v1"
WORKER = "127.0.0.1:8091"
GOLDEN = Path(__file__).parents[1] / "golden" / "druid-overlord"
RECORDED: list[dict[str, Any]] = json.loads((GOLDEN / "node.json").read_text())


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(update={"public_url": "http://$OVERLORD", "max_body_bytes": 1 << 20})


@pytest.mark.route(
    "GET /status",
    "differs",
    "It names Druid version 37.0.0, because clients choose their calls by it, and one module",
)
@pytest.mark.route("GET /status/health", "same")
@pytest.mark.route("GET /status/selfDiscovered", "same")
@pytest.mark.route("GET /status/selfDiscovered/status", "same")
@pytest.mark.route(
    "GET /druid/indexer/v1/leader",
    "differs",
    "Every replica names the one address that all share: there is no leader, and none answers 307",
)
@pytest.mark.route("GET /druid/indexer/v1/isLeader", "differs", "Every replica answers that it leads")
@pytest.mark.route("GET /druid/indexer/v1/workers", "same")
@pytest.mark.route("GET /druid/indexer/v1/worker", "same")
@pytest.mark.route("POST /druid/indexer/v1/worker", "same")
@pytest.mark.route("GET /druid/indexer/v1/worker/history", "same")
@pytest.mark.route("GET /druid/indexer/v1/scaling", "same")
@pytest.mark.route("GET /druid/indexer/v1/totalWorkerCapacity", "same")
@pytest.mark.route("POST /druid/indexer/v1/worker/{host}/disable", "same")
@pytest.mark.route("POST /druid/indexer/v1/worker/{host}/enable", "same")
async def test_every_recorded_answer_about_the_node_is_ours_too(app: FastAPI) -> None:
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://overlord") as client:
        client.headers.pop("accept-encoding")
        await FakeRunner(client, WORKER, capacity=2).announce()
        for recorded in RECORDED:
            answer = await client.request(
                recorded["method"],
                recorded["path"].replace("$WORKER", WORKER),
                headers=recorded.get("requestHeaders"),
                json=recorded.get("requestBody"),
            )
            name = recorded["name"]
            assert answer.status_code == recorded["status"], name
            if recorded.get("page"):
                continue
            assert answer.headers.get("content-type") == recorded["contentType"], name
            assert answer.headers.get("cache-control") == recorded["cacheControl"], name
            assert ("content-security-policy" in answer.headers) == recorded["frameAncestors"], name
            if recorded["path"] == "/status":
                assert answer.json().keys() == recorded["body"].keys()
                assert answer.json()["version"] == "37.0.0"
                assert answer.json()["memory"].keys() == recorded["body"]["memory"].keys()
                continue
            assert _without_times(_body(answer.text)) == _without_times(recorded["body"]), name


def _body(text: str) -> Any:
    text = text.replace(WORKER, "$WORKER")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _without_times(body: Any) -> Any:
    """What differs from run to run: instants, and what a worker calls itself."""
    if not isinstance(body, list):
        return body
    entries: list[dict[str, Any]] = []
    for entry in body:  # pyright: ignore[reportUnknownVariableType]
        entry = dict[str, Any](entry)
        entry.pop("lastCompletedTaskTime", None)
        entry.pop("auditTime", None)
        if "worker" in entry:
            entry["worker"] = {**entry["worker"], "ip": "", "version": bool(entry["worker"]["version"])}
        entries.append(entry)
    return entries


async def test_a_trailing_slash_is_nothing_and_nobody_is_redirected(overlord: AsyncClient) -> None:
    for path in (f"{V1}/tasks/", f"{V1}/leader/", "/status/health/", f"{V1}/runningTasks///"):
        assert (await overlord.get(path)).status_code == 200, path


async def test_gzip_bodies_are_unpacked_and_answers_packed_on_request(overlord: AsyncClient) -> None:
    packed = gzip.compress(orjson.dumps(noop("packed")))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await overlord.post(f"{V1}/task", content=packed, headers=headers)).json() == {"task": "packed"}
    answer = await overlord.get(f"{V1}/tasks", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.json()[0]["id"] == "packed"
    single = await overlord.get(f"{V1}/task/packed/status", headers={"Accept-Encoding": "gzip"})
    assert (single.headers["content-encoding"], single.json()["task"]) == ("gzip", "packed")
    plain = await overlord.get(f"{V1}/tasks", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


async def test_a_gzip_body_of_several_members_is_read_whole(overlord: AsyncClient) -> None:
    text = orjson.dumps(noop("members"))
    packed = gzip.compress(text[:20]) + gzip.compress(text[20:])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await overlord.post(f"{V1}/task", content=packed, headers=headers)
    assert answer.json() == {"task": "members"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"this is no gzip", 400),
        (gzip.compress(orjson.dumps(noop("cut")))[:-9], 400),
        (gzip.compress(b" " * (2 << 20)), 413),
    ],
    ids=["not gzip", "cut short", "large once unpacked"],
)
async def test_bad_gzip_is_refused_in_words(overlord: AsyncClient, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await overlord.post(f"{V1}/task", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"] == "druidException"


async def test_a_body_beyond_the_limit_is_refused_however_it_is_sent(overlord: AsyncClient) -> None:
    large = orjson.dumps(noop("large", context={"filler": "x" * (1 << 20)}))

    async def chunks() -> AsyncGenerator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    headers = {"Content-Type": "application/json"}
    for content in (large, chunks()):
        answer = await overlord.post(f"{V1}/task", content=content, headers=headers)
        assert answer.status_code == 413
        assert "max_body_bytes" in answer.json()["errorMessage"]


async def test_61_mib_are_within_the_default_limit(overlord: AsyncClient, app: FastAPI) -> None:
    assert OverlordSettings.model_fields["max_body_bytes"].default >= 61 << 20


def _routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path, as the API page has them."""
    return [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]


@pytest.mark.route("GET /", "differs", "Names `/docs`, `/status` and the list of tasks. Druid redirects to its console")
async def test_the_bare_address_says_where_to_go_on(overlord: AsyncClient) -> None:
    assert (await overlord.get("/")).json()["documentation"] == "/docs"
    page = await overlord.get("/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")


async def test_every_route_refuses_head_and_options(app: FastAPI, overlord: AsyncClient) -> None:
    routes = _routes(app)
    assert len(routes) > 30
    for _, path in routes:
        for method in ("HEAD", "OPTIONS"):
            answer = await overlord.request(method, path)
            assert (answer.status_code, answer.content) == (405, b""), path


@pytest.mark.route("GET /status/ready", "same")
async def test_every_route_answers_an_absent_database_from_the_table(settings: OverlordSettings) -> None:
    """Whatever the call, a missing Postgres is 503 in one shape, with no trace of a library in it."""
    app = create_app(settings)
    needs_none = (
        *("/status", "/metrics", f"{V1}/isLeader", f"{V1}/leader", f"{V1}/scaling", f"{V1}/sampler", "/druid-internal"),
        *(f"{V1}/compaction/isSupervisorEnabled", f"{V1}/compaction/simulate"),
    )
    async with app.router.lifespan_context(app):
        await app.state.pool.close()
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://overlord") as client:
            for method, path in _routes(app):
                if path.startswith(needs_none):
                    continue
                body = _fitting_body(path) if method == "POST" else None
                token = {"Authorization": "Bearer some"}
                address = path.replace(
                    "{segment_id}", "{data_source}_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_v"
                )
                answer = await client.request(method, address, json=body, headers=token)
                assert answer.status_code == 503, (method, path, answer.text)
                assert answer.json()["category"] == "SERVICE_UNAVAILABLE", path
                assert "asyncpg" not in answer.text


def _fitting_body(path: str) -> Any:
    if path.endswith("/runner/report"):
        return [{"runnerId": "r", "taskId": "t", "attempt": 1, "state": "ENDED"}]
    if path.endswith(("/runner/announce", "/runner/assignments")):
        return {"runnerId": "r", "kind": "k", "host": "h:1", "ip": "", "version": "0", "capacity": 1}
    if path.endswith(("/lockedIntervals/v2", "/activeLocks")):
        return [{"datasource": "web", "priority": 0}]
    if path.endswith("/action"):
        return {"task": {"id": "t"}, "action": {"type": "lockList"}}
    if path.endswith("/task"):
        return noop("t")
    if path.endswith("/credentials"):
        return {"password": "p"}
    if path.endswith("/permissions"):
        return []
    if "/queue/config" in path:
        return {}
    if path.endswith("/supervisor"):
        return {"type": "NoopSupervisorSpec", "id": "oak", "dataSources": ["web"]}
    if path.endswith("/config/datasources/{data_source}"):
        return {"dataSource": "{data_source}"}
    if path.endswith("/taskGroups/handoff"):
        return {"taskGroupIds": [0]}
    return ["t"] if path.endswith(("/taskStatus", "/explain")) else {"interval": "2026-01-01/2026-01-02"}


def test_every_error_of_the_tree_has_a_row() -> None:
    def all_below(kind: type[NemetonError]) -> list[type[NemetonError]]:
        return [kind, *(deeper for below in kind.__subclasses__() for deeper in all_below(below))]

    for kind in all_below(NemetonError):
        problem = PROBLEMS[next(above for above in kind.__mro__ if above in PROBLEMS)]
        assert 400 <= problem.status < 600
    assert problem_of(ValueError("anything")).status == 500


@pytest.mark.route("GET /docs", "added", "The API, as a page that needs no network")
@pytest.mark.route("GET /openapi.json", "added", "The API, as OpenAPI")
async def test_the_api_page_needs_no_network(overlord: AsyncClient) -> None:
    page = await overlord.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text.replace("http://www.w3.org", ""), "no address of another host"
    described = (await overlord.get("/openapi.json")).json()
    submit = described["paths"][f"{V1}/task"]["post"]
    examples = submit["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        answer = await overlord.post(f"{V1}/task", json=example["value"])
        assert answer.status_code == 200, "an example that can be sent as it is"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("tags"), (path, method)


@pytest.mark.route(
    "GET /status/properties",
    "differs",
    "Names of ours, `nemeton.overlord.*`; secrets are never among them",
)
async def test_secrets_are_not_among_the_properties(settings: OverlordSettings) -> None:
    secret = OverlordSettings(database_url="postgresql://user:canary@db/nemeton")
    assert "canary" not in str(secret.as_properties())
    assert secret.as_properties()["nemeton.overlord.database_url"] == "postgresql://user:********@db/nemeton"
    by_parameter = "postgresql:///nemeton?host=db&password=canary-1&sslpassword=canary-2"
    shown = secret.model_copy(update={"database_url": by_parameter}).as_properties()["nemeton.overlord.database_url"]
    assert shown == "postgresql:///nemeton?host=db&password=********&sslpassword=********"


async def test_settings_come_from_the_environment_and_are_refused_by_name() -> None:
    environment = {"NEMETON_DATABASE_URL": "postgresql:///x", "NEMETON_PORT": "9000"}
    assert OverlordSettings.from_environment(environment).port == 9000
    assert OverlordSettings.from_environment(environment, port=9001).port == 9001
    with pytest.raises(NemetonError, match="NEMETON_PORT"):
        OverlordSettings.from_environment({**environment, "NEMETON_PORT": "many"})
    with pytest.raises(NemetonError, match="database_url"):
        OverlordSettings.from_environment({})
