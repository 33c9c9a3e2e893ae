"""What nobody should send: refused in words, and every row is as before. Bad actions have a file of their own."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool
from tests.api.test_action_refusals import DAY, NEXT, nothing_changes, peon_with_lock, wire
from tests.api.test_overlord_process import ready, serving
from tests.support.overlord_calls import V1, submit
from tests.support.ports import free_port
from tests.support.task_specs import index_parallel, kill, noop

GIB = 1 << 30
JSON = {"Content-Type": "application/json"}
EVIL_IDS = [
    "x'; DROP TABLE druid_tasks; --",
    'x" OR 1=1 --',
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a\r\nX-Evil: 1",
    "a\nSet-Cookie: evil=1",
    "\0",
    "%00",
    "${jndi:ldap://evil}",
    "<script>alert(1)</script>",
    "💥",
]


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    """A replica at a port, and its process."""
    port = free_port()
    async with (
        serving(database_url, port, NEMETON_BODY_PATIENCE_SECONDS="2") as process,
        AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await ready(client)
        yield port, psutil.Process(process.pid)


async def _raw(port: int, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    return reader, writer


async def _is_well(port: int) -> bool:
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        return (await client.get(f"{V1}/tasks")).json() == []


POST = f"POST {V1}/task HTTP/1.1\nHost: x\nContent-Type: application/json\n"


async def test_a_body_of_1_gib_is_refused_by_its_length_alone(served: tuple[int, Any], pool: Pool) -> None:
    port, _ = served
    async with nothing_changes(pool):
        reader, writer = await _raw(port, f"{POST}Content-Length: {GIB}")
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
        writer.close()
        assert await _is_well(port)


async def test_a_body_of_1_gib_that_does_not_say_its_length_is_cut_at_the_limit(
    served: tuple[int, psutil.Process], pool: Pool
) -> None:
    port, process = served
    async with nothing_changes(pool):
        reader, writer = await _raw(port, f"{POST}Transfer-Encoding: chunked")
        piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        sent = 0
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        async with asyncio.timeout(120):
            while sent < GIB and not answer.done():
                try:
                    writer.write(piece)
                    await writer.drain()
                except ConnectionError:
                    break
                sent += 1 << 20
            assert (await answer).startswith(b"HTTP/1.1 413 ")
        writer.close()
        assert sent < GIB // 2, "nobody reads on beyond max_body_bytes"
        assert process.memory_info().rss < 600 << 20
        assert await _is_well(port)


async def test_1_gib_in_1_mib_of_gzip_is_not_unpacked(served: tuple[int, psutil.Process], pool: Pool) -> None:
    port, process = served
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    packed = b"".join([packer.compress(bytes(1 << 24)) for _ in range(GIB >> 24)]) + packer.flush()
    async with nothing_changes(pool), AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        answer = await client.post(f"{V1}/task", content=packed, headers=JSON | {"Content-Encoding": "gzip"})
        assert answer.status_code in (400, 413)
        assert answer.json()["error"] == "druidException"
        assert process.memory_info().rss < 600 << 20
        assert await _is_well(port)


async def test_clients_that_hang_or_go_in_the_middle_of_a_body_change_nothing(
    served: tuple[int, Any], pool: Pool
) -> None:
    port, _ = served
    body = b'{"type":"noop","id":"half"'
    async with nothing_changes(pool):
        hanging = [await _raw(port, f"{POST}Content-Length: {len(body) + 1}") for _ in range(20)]
        for number, (_, writer) in enumerate(hanging):
            writer.write(body)
            if number % 2:
                writer.transport.abort()
        for reader, writer in hanging[::2]:
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 408 ")
            writer.close()
        assert await _is_well(port)


@pytest.mark.parametrize(
    "path",
    [
        f"{V1}/task",
        f"{V1}/taskStatus",
        f"{V1}/action",
        f"{V1}/supervisor",
        f"{V1}/worker",
        f"{V1}/k8s/taskrunner/executionconfig",
        "/nemeton/v1/queue/config",
        "/nemeton/v1/runner/announce",
        "/nemeton/v1/runner/report",
    ],
)
async def test_json_nested_10000_deep_is_refused(overlord: AsyncClient, pool: Pool, path: str) -> None:
    depth = 10_000
    async with nothing_changes(pool):
        for deep in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
            answer = await overlord.post(path, content=b'{"type":"noop","context":{"deep":%b}}' % deep, headers=JSON)
            assert answer.status_code in (400, 500)
            assert answer.json()["error"]
            assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", EVIL_IDS)
async def test_an_id_that_tries_something_is_only_an_id(overlord: AsyncClient, pool: Pool, name: str) -> None:
    part = quote(name, safe="")
    async with nothing_changes(pool):
        for method, path in (
            ("GET", f"task/{part}"),
            ("GET", f"task/{part}/status"),
            ("GET", f"task/{part}/log"),
            ("GET", f"task/{part}/reports"),
            ("GET", f"task/{part}/explain"),
            ("GET", f"task/{part}/segments"),
            ("POST", f"task/{part}/shutdown"),
            ("POST", f"datasources/{part}/shutdownAllTasks"),
            ("POST", f"worker/{part}/disable"),
            ("GET", f"supervisor/{part}"),
            ("GET", f"supervisor/{part}/history"),
            ("POST", f"supervisor/{part}/terminate"),
            ("GET", f"tasks?datasource={part}&type={part}&after={part}&limit=1"),
            ("DELETE", f"pendingSegments/{part}?interval=2026-01-01/2026-01-02"),
        ):
            answer = await overlord.request(method, f"{V1}/{path}")
            assert answer.status_code < 500 or answer.json()["error"], (path, answer.text)
            assert "x-evil" not in answer.headers
            assert "set-cookie" not in answer.headers
            assert b"root:" not in answer.content


@pytest.mark.parametrize("name", EVIL_IDS)
async def test_a_task_whose_names_try_something_is_refused_or_only_stored(
    overlord: AsyncClient, pool: Pool, name: str
) -> None:
    kept = await submit(overlord, noop("kept"))
    answer = await overlord.post(f"{V1}/task", json=noop(name, dataSource=name, groupId=name))
    if answer.status_code == 200:
        assert answer.json() == {"task": name}
        assert await pool.fetchval("SELECT datasource FROM druid_tasks WHERE id = $1", name) == name
    else:
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert await pool.fetchval("SELECT count(*) FROM druid_tasks") == 1
    assert "x-evil" not in answer.headers
    assert (await overlord.get(f"{V1}/task/{kept}/status")).status_code == 200


@pytest.mark.parametrize(
    "interval", ["2026-01-02/2026-01-01", "2026-01-01", "", "/", "x/y", "2026-13-01/2026-14-01", None, 7, {"a": 1}]
)
async def test_a_task_whose_interval_is_none_is_refused(overlord: AsyncClient, pool: Pool, interval: Any) -> None:
    async with nothing_changes(pool):
        for task in (kill("killing", interval), index_parallel("loading", intervals=[interval])):
            answer = await overlord.post(f"{V1}/task", json=task)
            assert answer.status_code == 400, (task["type"], answer.text)
            assert answer.json()["error"]


@pytest.mark.parametrize("interval", ["2026-01-02/2026-01-01", "x/y", 7])
async def test_segments_of_an_interval_that_is_none_are_not_marked(
    overlord: AsyncClient, pool: Pool, interval: Any
) -> None:
    peon, version = await peon_with_lock(overlord)
    assert (await peon.perform("segmentTransactionalInsert", segments=[wire(DAY, version)]))["success"]
    async with nothing_changes(pool):
        for what in ("markUsed", "markUnused"):
            answer = await overlord.post(f"{V1}/datasources/web/{what}", json={"interval": interval})
            assert answer.status_code in (400, 500), answer.text
            assert answer.json()["error"]


@pytest.mark.parametrize("kind", ["Insert", "Replace", "Append"])
async def test_segments_outside_of_its_lock_are_not_published(overlord: AsyncClient, pool: Pool, kind: str) -> None:
    lock_type = {"Insert": "EXCLUSIVE", "Replace": "REPLACE", "Append": "APPEND"}[kind]
    peon, version = await peon_with_lock(overlord, lock_type)
    wider = "2026-01-01T00:00:00.000Z/2026-01-03T00:00:00.000Z"
    async with nothing_changes(pool):
        for outside in ([wire(NEXT, version)], [wire(wider, version)], [wire(DAY, version), wire(NEXT, version)]):
            answer = await peon.send(f"segmentTransactional{kind}", segments=outside)
            assert answer.status_code == 500, answer.text
            assert "covered by" in answer.json()["error"]


async def test_a_caller_who_goes_away_within_his_body_is_no_error_of_ours(database_url: str) -> None:
    port = free_port()
    async with serving(database_url, port) as process, AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await ready(client)
        for path in (f"{V1}/task", f"{V1}/action", f"{V1}/taskStatus"):
            head = f"POST {path} HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 100"
            _, writer = await _raw(port, head)
            writer.write(b'{"type":')
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.close()
        await asyncio.sleep(0.3)
        assert await _is_well(port)
        process.terminate()
        _, errors = await process.communicate()
    assert b"Traceback" not in errors
    assert b"ERROR" not in errors


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("datasources/web%2F..%2Fsecret", 400, "dataSource"),
        ("pendingSegments/..", 400, "dataSource"),
        ("supervisor/a%2Fb", 400, "supervisorId"),
        ("nowhere/a%2Fb", 400, "path"),
        ("task/a%2Fb", 500, "taskId"),
    ],
)
async def test_a_name_with_a_slash_is_refused_by_the_field_that_it_is(
    served: tuple[int, Any], path: str, status: int, field: str
) -> None:
    reader, writer = await _raw(served[0], f"DELETE {V1}/{path} HTTP/1.1\nHost: x\nConnection: close")
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert f"Invalid value for field [{field}]: Value [" in answer
