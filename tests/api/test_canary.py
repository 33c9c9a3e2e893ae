"""A canary, put in every place where somebody may put a secret: it is found nowhere outside of the stored task."""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.callers import SECURITY, basic, bearer, made_user
from tests.support.overlord_calls import V1
from tests.support.task_specs import index_parallel, noop

CANARY = "c4n4ry-tweets-here"
CONTEXT = {
    **dict.fromkeys(("pass", "pwd", "auth", "cookie", "bearer", "sas", "sig", "jwt", "connectionString"), CANARY),
    "jaas": f'org.apache.PlainLoginModule required username="a" password="{CANARY}";',
    "json": f'{{"password":"{CANARY}"}}',
    "header": f"Authorization: Bearer {CANARY}",
    "key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    f"http://me:{CANARY}@example.org/": "a map's key",
    "password": CANARY,
    "tags": {"apiKey": CANARY},
    "list": [{"token": CANARY}],
}


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(
        update={
            "authenticators": ("basic",),
            "initial_admin_password": f"first-{CANARY}",
            "runner_token": f"runner-{CANARY}",
            "default_task_context": {"secretOfAll": CANARY},
        }
    )


def http_task(task_id: str, **source: Any) -> dict[str, Any]:
    task = index_parallel(task_id, context=CONTEXT)
    good = {
        "type": "http",
        "uris": [f"https://me:{CANARY}@example.org/a.json?sig={CANARY}&%74oken={CANARY}"],
        "httpAuthenticationUsername": "me",
        "httpAuthenticationPassword": {"type": "default", "password": CANARY},
    }
    task["spec"]["ioConfig"]["inputSource"] = good | source
    return task


REFUSED = [
    http_task("r1", requestHeaders={"Authorization": CANARY}),
    http_task("r2", httpAuthenticationPassword={"type": CANARY, "password": CANARY}),
    http_task("r3", uris=[f"ftp://me:{CANARY}@example.org/a"]),
    http_task("r4", uris=f"https://me:{CANARY}@[example.org/a"),
    http_task("r5", systemFields=7, properties={"secretAccessKey": CANARY}),
    http_task("r6", type="s3", properties={"accessKeyId": CANARY, "secretAccessKey": CANARY}),
    {"type": "noop", "id": "r7", "runTime": {"password": CANARY}},
    {"type": "noop", "id": "r8", "context": {"priority": "x", "password": CANARY}},
    {"type": "index_kafka", "spec": {"ioConfig": {"consumerProperties": {"sasl.jaas.config": CANARY}}}},
    noop("accepted", context=CONTEXT),  # its id is known
]


async def test_a_canary_in_every_place_is_found_nowhere(
    overlord: AsyncClient, app: FastAPI, pool: Pool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    admin = basic("admin", f"first-{CANARY}")
    overlord.headers.update(admin | {"X-Druid-Author": "ana", "X-Druid-Comment": f"see http://u:{CANARY}@h/"})
    seen: list[str] = []

    async def call(method: str, path: str, body: Any = None, **headers: str) -> int:
        answer = await overlord.request(method, path, json=body, headers=headers)
        seen.append(f"{method} {path} {answer.status_code} {answer.headers} {answer.text}")
        return answer.status_code

    for task in (noop("accepted", context=CONTEXT), http_task("http")):
        assert await call("POST", f"{V1}/task", task) == 200
    for task in REFUSED:
        assert await call("POST", f"{V1}/task", task) == 400
    broken = await overlord.post(
        f"{V1}/task", content=f'{{"password": "{CANARY}", '.encode(), headers={"Content-Type": "application/json"}
    )
    seen.append(broken.text)
    config = {"type": "default", "autoScaler": {"envConfig": {"password": CANARY}}, "selectStrategy": None}
    assert await call("POST", f"{V1}/worker", config) == 200
    execution = {"type": "default", "capacity": 7, "password": CANARY}
    assert await call("POST", f"{V1}/k8s/taskrunner/executionconfig", execution) == 200
    await made_user(overlord, "ana", [], by=admin)
    new_password = {"password": CANARY}
    assert await call("POST", f"{SECURITY}/authentication/db/b/users/ana/credentials", new_password) == 200
    wrong = {"password": CANARY * 100}
    assert await call("POST", f"{SECURITY}/authentication/db/b/users/ana/credentials", wrong) == 400
    for credentials in (basic("ana", f"wrong-{CANARY}"), bearer(f"{CANARY}.a.b"), bearer(f"token-{CANARY}")):
        assert await call("GET", f"{V1}/tasks", **credentials) in (401, 403)
    for path in (
        *(f"{V1}/task/{task_id}{what}" for task_id in ("accepted", "http") for what in _OF_TASK),
        *(f"{V1}/{what}" for what in _LISTS),
        *("/status/properties", "/metrics", "/openapi.json"),
        *(f"{SECURITY}/authentication/db/b/users{what}" for what in ("", "/ana", "/admin")),
        *(f"{SECURITY}/authorization/db/b/users{what}" for what in ("", "/ana", "/ana?full")),
    ):
        await call("GET", path)
    assert [text for text in seen if CANARY in text] == []
    assert len(seen) > 40
    assert CANARY not in caplog.text
    for row in await pool.fetch("SELECT * FROM druid_audit"):
        assert CANARY not in str(dict(row))
    assert files_with_canary(tmp_path) == []
    stored = await pool.fetchval("SELECT payload FROM druid_tasks WHERE id = 'http'")
    assert orjson.loads(stored)["context"]["password"] == CANARY, "the peon gets what was written"


def files_with_canary(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]


_OF_TASK = ("", "/status", "/explain", "/log", "/reports", "/segments")
_LISTS = ("tasks", "workers", "worker", "worker/history", "k8s/taskrunner/executionconfig")


ADDRESS = f"http://u:{CANARY}@h/"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("supervisor", {"type": ADDRESS}),
        ("supervisor", {"type": "autocompact", "spec": {"dataSource": "a", "engine": ADDRESS}}),
        ("action", {"task": {"id": "a"}, "action": {"type": ADDRESS}}),
        ("action", {"task": {"id": "a"}, "action": {"type": "lockRelease", "interval": ADDRESS}}),
        ("action", {"task": {"id": ADDRESS}, "action": {"type": "lockRelease", "interval": "2026/2027"}}),
        ("task", {"type": ADDRESS}),
        ("task", {"type": "noop", "id": ADDRESS}),
        ("task", {"type": "noop", "context": {"priority": f"password={CANARY}"}}),
        ("lockedIntervals", [{"datasource": "a", "intervals": ADDRESS}]),
        ("datasources/a/markUnused", {"interval": ADDRESS}),
        ("datasources/a/markUnused", {"segmentIds": ["x"], "versions": [ADDRESS], "interval": ADDRESS}),
        ("k8s/taskrunner/executionconfig", {"podTemplateSelectStrategy": {"type": ADDRESS}}),
        ("compaction/config/datasources/a", {"dataSource": "a", "engine": ADDRESS}),
        ("../../../nemeton/v1/queue/config", {"dataSources": {"a": {"notBefore": ADDRESS}}}),
        (f"tasks?state={quote(ADDRESS)}", None),
        (f"tasks?createdTimeInterval={quote(ADDRESS, safe='')}", None),
        (f"tasks?limit=1&after={quote(ADDRESS, safe='')}", None),
        (f"task/{quote('http:__x?token=' + CANARY, safe='')}", None),
    ],
)
async def test_a_refusal_covers_what_it_repeats(overlord: AsyncClient, path: str, body: Any) -> None:
    overlord.headers.update(basic("admin", f"first-{CANARY}"))
    answer = await (overlord.get(f"{V1}/{path}") if body is None else overlord.post(f"{V1}/{path}", json=body))
    assert answer.status_code in (400, 404, 500), answer.text
    assert CANARY not in answer.text


async def test_settings_show_that_there_are_secrets_and_not_which(overlord: AsyncClient) -> None:
    shown = (await overlord.get("/status/properties", headers=basic("admin", f"first-{CANARY}"))).json()
    assert shown["nemeton.overlord.runner_token"] == "********"
    assert shown["nemeton.overlord.initial_admin_password"] == "********"


def test_settings_do_not_print_their_secrets(settings: OverlordSettings) -> None:
    assert CANARY not in repr(settings.model_copy(update={"default_task_context": {}}))
