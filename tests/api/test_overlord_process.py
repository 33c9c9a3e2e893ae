"""The process itself and its database: start, stop, migration, a Postgres that goes away."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
from httpx import AsyncClient, ConnectError

from overlord.db.migrate import migrate
from overlord.db.pool import connect
from tests.support.fake_runner import FakeRunner
from tests.support.ports import free_port
from tests.support.postgres import TestPostgres
from tests.support.task_specs import noop

V1 = "/druid/indexer/v1"
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def serving(database_url: str, port: int, **more: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """`python -m overlord.server`, killed at the end of the block if it is still there."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "core"), str(ROOT / "api")]),
        "NEMETON_DATABASE_URL": database_url,
        "NEMETON_PORT": str(port),
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "overlord.server", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(client: AsyncClient, seconds: float = 60) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            if (await client.get("/status/ready")).status_code == 200:
                return
        except ConnectError:
            pass
        assert asyncio.get_running_loop().time() < deadline, "the server did not come up"
        await asyncio.sleep(0.05)


async def test_a_stop_ends_long_polls_at_once_and_the_process_with_0(database_url: str) -> None:
    port = free_port()
    async with (
        serving(database_url, port) as process,
        AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client,
    ):
        await ready(client)
        runner = FakeRunner(client)
        await runner.announce()
        waiting = asyncio.create_task(runner.poll(30))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(8):
            orders = await waiting
            assert await process.wait() == 0
        assert orders.start == []


async def test_a_killed_overlord_goes_on_where_it_was(database_url: str) -> None:
    port = free_port()
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client:
        runner = FakeRunner(client)
        async with serving(database_url, port) as process:
            await ready(client)
            await client.post(f"{V1}/task", json=noop("survivor"))
            first = (await runner.poll()).start
            process.kill()
            await process.wait()
        async with serving(database_url, port):
            await ready(client)
            assert (await runner.poll()).start == first, "the same attempt with the same token"


async def test_a_wrong_setting_ends_the_start_with_a_sentence(database_url: str) -> None:
    async with serving(database_url, 70000) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode != 0
        assert b"NEMETON_PORT" in errors


@asynccontextmanager
async def door_of(database_url: str, folder: Path) -> AsyncGenerator[None]:
    """A second way to the server, through a socket in `folder` that is there for the time of the block."""
    parts = urlsplit(database_url)
    sockets = parse_qs(parts.query).get("host")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = (
            await asyncio.open_unix_connection(f"{sockets[0]}/.s.PGSQL.5432")
            if sockets
            else await asyncio.open_connection(parts.hostname, parts.port or 5432)
        )
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer), return_exceptions=True)

    async with await asyncio.start_unix_server(let_in, folder / ".s.PGSQL.5432"):
        yield


def late_url(database_url: str, folder: Path) -> str:
    """The same database through `door_of` the same folder."""
    parts = urlsplit(database_url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@", query=urlencode({"host": str(folder)})))


async def words_until(process: asyncio.subprocess.Process, words: bytes) -> bytes:
    """What the process says until it says `words`."""
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(60):
        while words not in said:
            line = await process.stderr.readline()
            assert line, f"it ended without [{words.decode()}]: {said.decode()}"
            said += line
    return said


async def test_overlords_that_start_before_their_database_serve_once_it_is_there(
    postgres: TestPostgres, tmp_path: Path
) -> None:
    url = await postgres.empty()
    late = late_url(url, tmp_path)
    ports = (free_port(), free_port())
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(serving(late, port)) for port in ports]
        for process in processes:
            assert b"nobody listens there" in await words_until(process, b"waiting for the database")
        await stack.enter_async_context(door_of(url, tmp_path))
        for port in ports:
            client = await stack.enter_async_context(AsyncClient(base_url=f"http://127.0.0.1:{port}"))
            await ready(client)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert [await process.wait() for process in processes] == [0, 0]
    await postgres.drop(url)


async def test_an_overlord_that_waits_in_vain_ends_with_1_and_a_sentence(database_url: str, tmp_path: Path) -> None:
    late = late_url(database_url, tmp_path)
    async with serving(late, free_port(), NEMETON_DATABASE_WAIT_SECONDS="2") as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        assert errors.decode().splitlines()[-1].endswith("It was waited for 2 s (NEMETON_DATABASE_WAIT_SECONDS)")
        assert b"Traceback" not in errors


async def test_an_overlord_that_waits_for_its_database_stops_when_told_to(database_url: str, tmp_path: Path) -> None:
    async with serving(late_url(database_url, tmp_path), free_port()) as process:
        await words_until(process, b"waiting for the database")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def test_a_database_that_does_not_exist_is_not_waited_for(postgres: TestPostgres) -> None:
    async with serving(postgres.url("no_such_database"), free_port()) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 1
        assert b'does not let us in: database "no_such_database" does not exist' in errors
        assert b"waiting" not in errors


async def test_a_user_who_is_refused_is_not_waited_for(postgres: TestPostgres) -> None:
    parts = urlsplit(postgres.url("postgres"))
    stranger = urlunsplit(parts._replace(netloc=f"nobody-here:secret@{parts.netloc.rpartition('@')[2]}"))
    async with serving(stranger, free_port()) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 1
        assert b"does not let us in" in errors
        assert b"waiting" not in errors
        assert b"secret" not in errors


async def test_an_empty_database_gets_all_tables_and_a_second_start_none(postgres: TestPostgres) -> None:
    url = await postgres.empty()
    pools = [await connect(url, min_size=1, max_size=2) for _ in range(3)]
    ran = await asyncio.gather(*(migrate(pool) for pool in pools))
    assert sorted(map(len, ran), reverse=True) == [len(max(ran, key=len)), 0, 0], "one of three ran the files"
    tables = {row[0] for row in await pools[0].fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert {"druid_tasks", "druid_segments", "druid_tasklocks", "druid_config", "nemeton_attempts"} <= tables
    for pool in pools:
        pool.terminate()
    await postgres.drop(url)


async def test_the_database_of_an_older_druid_is_taken_over_with_its_rows(postgres: TestPostgres) -> None:
    url = await postgres.empty()
    pool = await connect(url, min_size=1, max_size=2)
    await pool.execute(
        """
        CREATE TABLE druid_tasks (id VARCHAR(255) NOT NULL, created_date VARCHAR(255) NOT NULL,
            datasource VARCHAR(255) NOT NULL, payload BYTEA NOT NULL, status_payload BYTEA NOT NULL,
            active BOOLEAN NOT NULL DEFAULT FALSE, PRIMARY KEY (id));
        CREATE TABLE druid_segments (id VARCHAR(255) NOT NULL, datasource VARCHAR(255) NOT NULL,
            created_date VARCHAR(255) NOT NULL, start VARCHAR(255) NOT NULL, "end" VARCHAR(255) NOT NULL,
            partitioned BOOLEAN NOT NULL, version VARCHAR(255) NOT NULL, used BOOLEAN NOT NULL,
            payload BYTEA NOT NULL, used_status_last_updated VARCHAR(255) NOT NULL, PRIMARY KEY (id));
        INSERT INTO druid_tasks VALUES ('old', '2020-01-01T00:00:00.000Z', 'web', '{}', '{}', FALSE);
        """
    )
    await migrate(pool)
    assert await pool.fetchval("SELECT id FROM druid_tasks WHERE type IS NULL") == "old"
    columns = await pool.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'druid_segments'")
    assert "indexing_state_fingerprint" in {row[0] for row in columns}
    pool.terminate()
    await postgres.drop(url)


@pytest.mark.parametrize("path", [f"{V1}/tasks", "/status/ready"])
async def test_calls_go_on_after_connections_were_cut(overlord: AsyncClient, postgres: TestPostgres, path: str) -> None:
    """As at a fail-over of Postgres: every connection of the pool is gone at once."""
    assert (await overlord.get(path)).status_code == 200
    cutter = await connect(postgres.url("postgres"), min_size=1, max_size=1)
    await cutter.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'nemeton-overlord' AND pid <> pg_backend_pid()"
    )
    cutter.terminate()
    codes = [(await overlord.get(path)).status_code for _ in range(10)]
    assert set(codes) <= {200, 503}
    assert codes[-1] == 200
