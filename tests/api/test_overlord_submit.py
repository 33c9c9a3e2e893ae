"""POST /task: what is taken, what is refused, and how."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from overlord.app import create_app
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.task_specs import index_parallel, noop

V1 = "/druid/indexer/v1"
GOLDEN = Path(__file__).parents[1] / "golden"
REFUSED: list[dict[str, Any]] = json.loads((GOLDEN / "druid-api" / "submit-refused.json").read_text())
JSON = {"Content-Type": "application/json"}


async def test_a_task_gets_an_id_and_is_stored_with_its_defaults(overlord: AsyncClient, pool: Pool) -> None:
    answer = await overlord.post(f"{V1}/task", json={"type": "noop"})
    assert answer.status_code == 200
    task_id = answer.json()["task"]
    assert re.fullmatch(r"noop_\d{4}-\d\d-\d\dT[\d:.]+Z_[0-9a-f-]{36}", task_id)
    row = await pool.fetchrow("SELECT * FROM druid_tasks WHERE id = $1", task_id)
    assert row is not None
    assert (row["active"], row["type"], row["group_id"], row["datasource"]) == (True, "noop", task_id, "none")
    assert json.loads(row["payload"])["context"]["forceTimeChunkLock"] is True
    assert json.loads(row["status_payload"])["status"] == "RUNNING"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["created_date"])


@pytest.mark.route("POST /druid/indexer/v1/task", "same")
@pytest.mark.route("GET /druid/indexer/v1/task/{task_id}", "same")
@pytest.mark.route("GET /druid/indexer/v1/task/{task_id}/status", "same")
async def test_the_answers_about_a_noop_are_those_that_druid_gave(overlord: AsyncClient) -> None:
    recorded = json.loads((GOLDEN / "druid-overlord" / "tasks.json").read_text())
    task_id = "noop_golden"
    await overlord.post(f"{V1}/task", json=noop(task_id, runTime=100))
    for each in recorded:
        if each["method"] != "GET" or each["body"] == "$LOG":
            continue
        answer = await overlord.get(each["path"].replace("$ID", task_id))
        assert answer.status_code == each["status"], each["name"]
        assert answer.headers["content-type"] == each["contentType"], each["name"]
        body = json.loads(json.dumps(each["body"]).replace("$ID", task_id))
        if isinstance(body, str):
            assert answer.text == body
        elif "status" in body:
            assert list(answer.json()["status"]) == list(body["status"]), "the fields, in Druid's order"
        else:
            assert answer.text == json.dumps(body, separators=(",", ":")), "byte for byte"


@pytest.mark.route("POST /druid/indexer/v1/task", "same")
@pytest.mark.parametrize("recorded", REFUSED, ids=lambda recorded: recorded["name"])
async def test_what_druid_refused_is_refused_with_the_same_status(
    overlord: AsyncClient, recorded: dict[str, Any]
) -> None:
    answer = await overlord.post(f"{V1}/task", json=recorded["request"])
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "body", [b'{"type":"noop",', b"hello", b"", b"null", b"\xff\xfe"], ids=["cut", "a word", "empty", "null", "bytes"]
)
async def test_what_is_no_json_is_500_in_one_shape(overlord: AsyncClient, body: bytes) -> None:
    answer = await overlord.post(f"{V1}/task", content=body, headers=JSON)
    assert answer.status_code == 500
    assert answer.json()["error"] == "druidException"
    assert answer.json()["errorMessage"].startswith("The request body")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/x-jackson-smile"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "application/json", "Accept": "text/plain"}, 406),
        ({"Content-Type": "application/json", "Accept": "text/html, */*;q=0.8"}, 200),
    ],
)
async def test_the_media_type_must_be_json(overlord: AsyncClient, headers: dict[str, str], status: int) -> None:
    answer = await overlord.post(f"{V1}/task", content=b'{"type":"noop"}', headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.content == b""
        assert "content-type" not in answer.headers


async def test_an_id_is_taken_once_and_for_all(overlord: AsyncClient) -> None:
    assert (await overlord.post(f"{V1}/task", json=noop("once"))).status_code == 200
    await overlord.post(f"{V1}/task/once/shutdown")
    answer = await overlord.post(f"{V1}/task", json=noop("once"))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "druidException",
        "errorCode": "entryAlreadyExists",
        "persona": "USER",
        "category": "INVALID_INPUT",
        "errorMessage": "Task[once] already exists",
        "context": {},
    }


async def test_of_many_who_want_one_id_exactly_one_gets_it(overlord: AsyncClient) -> None:
    answers = await asyncio.gather(*(overlord.post(f"{V1}/task", json=noop("wanted")) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 11


async def test_tasks_that_come_together_are_all_stored(overlord: AsyncClient, pool: Pool) -> None:
    answers = await asyncio.gather(*(overlord.post(f"{V1}/task", json=noop(f"t-{n}")) for n in range(300)))
    assert {answer.status_code for answer in answers} == {200}
    assert await pool.fetchval("SELECT count(*) FROM druid_tasks WHERE active") == 300
    assert await pool.fetchval("SELECT count(*) FROM nemeton_attempts WHERE state = 'PENDING'") == 300


@pytest.mark.parametrize("task_id", ["a b", "a%2Fb", "héllo", "日本", "i" * 250, "a'b\"c", "a.."])
async def test_odd_ids_are_taken_and_found_again(overlord: AsyncClient, task_id: str) -> None:
    assert (await overlord.post(f"{V1}/task", json=noop(task_id))).json() == {"task": task_id}
    answer = await overlord.get(f"{V1}/task/{quote(task_id, safe='')}/status")
    assert answer.json()["status"]["id"] == task_id


@pytest.mark.route(
    "POST /druid/indexer/v1/task",
    "differs",
    "Ids with control characters are refused with 400: in Druid such a task stalls all assignment",
)
@pytest.mark.parametrize("task_id", ["a/b", "..", "", "a\nb", "a\0b", "a\tb", "i" * 256])
async def test_ids_that_no_path_or_column_can_hold_are_refused(overlord: AsyncClient, task_id: str) -> None:
    answer = await overlord.post(f"{V1}/task", json=noop(task_id))
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_half_a_surrogate_is_refused(overlord: AsyncClient) -> None:
    answer = await overlord.post(f"{V1}/task", content=b'{"type":"noop","id":"a\\ud800"}', headers=JSON)
    assert answer.status_code in (400, 500)
    assert answer.json()["error"]


@pytest.mark.parametrize("part", ["a%2Fb", "..", "%2e%2e"])
async def test_a_path_that_no_id_can_be_is_refused_in_words(app: FastAPI, part: str) -> None:
    """As bytes: a client would tidy the path first."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": f"{V1}/task/{part}/status".encode(),
        "query_string": b"",
        "headers": [],
        "server": ("overlord", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 500
    assert "Invalid value for field [taskId]" in orjson.loads(sent[1]["body"])["errorMessage"]


async def test_a_task_of_60_mib_is_taken(overlord: AsyncClient) -> None:
    rows = '{"time":"2026-01-01T00:00:00Z","page":"Oak"}\n' * 1_400_000
    body = orjson.dumps(index_parallel("large", data=rows))
    assert len(body) > 60 << 20
    answer = await overlord.post(f"{V1}/task", content=body, headers=JSON, timeout=60)
    assert answer.json() == {"task": "large"}


@asynccontextmanager
async def started(app: FastAPI) -> AsyncGenerator[AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://overlord") as client,
    ):
        yield client


async def test_a_full_queue_is_429(settings: OverlordSettings) -> None:
    app = create_app(settings.model_copy(update={"max_queue_size": 2}))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://o") as client,
    ):
        answers = await asyncio.gather(*(client.post(f"{V1}/task", json=noop()) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429).json()
        assert (refused["persona"], refused["category"]) == ("ADMIN", "CAPACITY_EXCEEDED")
        assert "druid.indexer.queue.maxSize" in refused["errorMessage"]


async def test_a_payload_beyond_the_limit_is_400(settings: OverlordSettings) -> None:
    app = create_app(settings.model_copy(update={"max_task_payload_bytes": 1000}))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://o") as client,
    ):
        answer = await client.post(f"{V1}/task", json=noop(context={"filler": "x" * 1000}))
        assert answer.status_code == 400
        assert answer.json()["errorCode"] == "invalidInput"
        assert (await client.post(f"{V1}/task", json=noop())).status_code == 200


async def test_the_default_context_fills_only_what_is_missing(settings: OverlordSettings) -> None:
    app = create_app(settings.model_copy(update={"default_task_context": {"tags": {"team": "grove"}, "priority": 7}}))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://o") as client,
    ):
        await client.post(f"{V1}/task", json=noop("own", context={"priority": 60}))
        context = (await client.get(f"{V1}/task/own")).json()["payload"]["context"]
        assert context["priority"] == 60
        assert context["tags"] == {"team": "grove"}
