"""Postgres dies, hands over to another one, stands still, has no connection left: 503, and then all goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from httpx import AsyncClient, Response

from overlord.db.migrate import migrate
from overlord.db.pool import connect
from overlord.settings import OverlordSettings
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, replica, submit, until
from tests.support.postgres import PostgresServer
from tests.support.task_specs import noop

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests break; each leaves it as it was."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[str]:
    """The name of a migrated database on it."""
    await _on(server, "CREATE DATABASE broken")
    pool = await connect(server.database_url("broken"), min_size=1, max_size=1)
    await migrate(pool)
    await pool.close()
    yield "broken"
    await _on(server, "DROP DATABASE broken WITH (FORCE)")


def settings_of(url: str, **more: Any) -> OverlordSettings:
    return OverlordSettings(database_url=url, queue_interval_ms=100, **more)


async def _on(server: PostgresServer, statement: str) -> Any:
    held = await asyncpg.connect(server.url)
    try:
        return await held.fetchval(statement)
    finally:
        await held.close()


def assert_away(answer: Response) -> None:
    """503 in Druid's shape, and when to come again."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    body = answer.json()
    assert (body["error"], body["category"]) == ("druidException", "SERVICE_UNAVAILABLE")
    assert body["errorMessage"].startswith("The metadata database ")


async def all_connections(server: PostgresServer) -> list[asyncpg.Connection]:
    """As many as it has left."""
    taken: list[asyncpg.Connection] = []
    while True:
        try:
            taken.append(await asyncpg.connect(server.url))
        except asyncpg.TooManyConnectionsError:
            return taken


async def goes_on(client: AsyncClient, task_id: str, seconds: float = 15) -> None:
    """A task is taken in, and given to a runner."""

    async def is_taken_in() -> bool:
        answer = await client.post(f"{V1}/task", json=noop(task_id))
        return answer.status_code == 200 or "already exists" in answer.text

    await until(is_taken_in, seconds)
    runner = FakeRunner(client, capacity=100)
    async with asyncio.timeout(seconds):
        while all(each.task_id != task_id for each in (await runner.poll(1)).start):
            pass


async def test_a_postgres_that_was_killed_is_503_and_then_all_goes_on(server: PostgresServer, database: str) -> None:
    async with replica(settings_of(server.database_url(database))) as (app, client):
        kept = await submit(client, noop("kept"))
        server.kill()
        for _ in range(3):
            assert_away(await client.post(f"{V1}/task", json=noop("lost")))
            assert_away(await client.get(f"{V1}/tasks"))
        assert (await client.get("/status/health")).status_code == 200
        assert (await client.get("/status/ready")).status_code == 503
        server.start()
        await goes_on(client, "after")
        assert {task["id"] for task in (await client.get(f"{V1}/tasks")).json()} == {kept, "after"}

        async def hints_are_heard() -> bool:
            return app.state.replica.hints.are_heard

        await until(hints_are_heard)


async def test_while_the_database_takes_no_writes_they_are_503_and_reads_go_on(
    server: PostgresServer, database: str
) -> None:
    async with replica(settings_of(server.database_url(database))) as (_, client):
        await submit(client, noop("kept"))
        await _on(server, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await _on(server, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'broken'")

        async def is_read() -> bool:
            return (await client.get(f"{V1}/tasks")).status_code == 200

        await until(is_read)
        for _ in range(20):
            refused = await client.post(f"{V1}/task", json=noop("refused"))
            assert_away(refused)
            assert "takes no writes at present" in refused.json()["errorMessage"]
            assert [task["id"] for task in (await client.get(f"{V1}/tasks")).json()] == ["kept"]
        # nobody cuts the connections to a server that has become a standby: we leave it by ourselves
        await _on(server, f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await goes_on(client, "after")


async def test_of_two_hosts_the_one_that_takes_writes_is_found_after_a_failover(
    server: PostgresServer, database: str
) -> None:
    with server.standby() as standby:
        both = f"postgresql://postgres@/{database}?host={server.folder},{standby.folder}"
        async with replica(settings_of(both)) as (_, client):
            await submit(client, noop("kept"))
            lsn = await _on(server, "SELECT pg_current_wal_lsn()::text")

            async def is_copied() -> bool:
                return await _on(standby, f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'")

            await until(is_copied, 30)
            server.kill()
            for _ in range(3):
                assert_away(await client.post(f"{V1}/task", json=noop("lost")))
            await _on(standby, "SELECT pg_promote()")
            await goes_on(client, "after", 30)
            assert {task["id"] for task in (await client.get(f"{V1}/tasks")).json()} == {"kept", "after"}
    server.start()


async def test_a_database_that_stands_still_is_waited_for(server: PostgresServer, database: str) -> None:
    async with replica(settings_of(server.database_url(database))) as (_, client):
        await submit(client, noop("before"))
        server.halt()
        calls = [
            asyncio.create_task(client.post(f"{V1}/task", json=noop("meanwhile"))),
            asyncio.create_task(client.get(f"{V1}/tasks")),
        ]
        done, _ = await asyncio.wait(calls, timeout=1.5)
        server.go_on()
        assert not done
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200, 200]


async def test_a_database_that_stands_still_for_too_long_is_503_and_then_all_goes_on(
    server: PostgresServer, database: str
) -> None:
    settings = settings_of(server.database_url(database), database_statement_seconds=0.5)
    async with replica(settings) as (_, client):
        await submit(client, noop("before"))
        clock = asyncio.get_running_loop().time
        server.halt()
        try:
            began = clock()
            for answer in await asyncio.gather(
                client.post(f"{V1}/task", json=noop("too-late")), *(client.get(f"{V1}/tasks") for _ in range(5))
            ):
                assert_away(answer)
            assert (await client.get("/status/ready")).status_code == 503
            assert clock() - began < 30, "nobody waits for a silent server to cancel what it was asked"
        finally:
            server.go_on()
        await goes_on(client, "after")


async def test_where_no_connection_is_left_requests_wait_for_one_of_ours(server: PostgresServer, database: str) -> None:
    server.stop()
    server.start(max_connections=6, superuser_reserved_connections=0, reserved_connections=0, max_wal_senders=0)
    try:
        async with replica(settings_of(server.database_url(database))) as (_, client):
            answers = await asyncio.gather(
                *(client.post(f"{V1}/task", json=noop(f"n{n}")) for n in range(60)),
                *(client.get(f"{V1}/task/n{n}/status") for n in range(60)),
            )
            for answer in answers:
                if answer.status_code not in (200, 404):
                    assert_away(answer)
            assert [answer.status_code for answer in answers[:60]] == [200] * 60
            await goes_on(client, "after")
    finally:
        server.stop()
        server.start(max_connections=300, max_wal_senders=10)


async def test_a_server_full_of_others_is_503_and_then_all_goes_on(server: PostgresServer, database: str) -> None:
    server.stop()
    server.start(max_connections=6, superuser_reserved_connections=0, reserved_connections=0, max_wal_senders=0)
    try:
        async with replica(settings_of(server.database_url(database), database_pool_size=2)) as (app, client):
            await submit(client, noop("before"))
            await app.state.pool.expire_connections()
            others = await all_connections(server)
            for _ in range(2):
                answer = await client.get(f"{V1}/tasks")
                if answer.status_code != 200:
                    assert_away(answer)
            for other in others:
                await other.close()
            await goes_on(client, "after")
    finally:
        server.stop()
        server.start(max_connections=300, max_wal_senders=10)
