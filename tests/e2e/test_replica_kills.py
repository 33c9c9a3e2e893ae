"""Three replicas on one database, killed under load: what was accepted happens once, and nobody waits for a leader."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from druid_core.runner import RunnerAnnouncement
from tests.support.postgres import PostgresServer
from tests.support.replica_load import V1, Load, cancelled
from tests.support.replicas import Replica, Replicas, running_replicas

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

REPLICAS = 3
KILLS = 4
"""In a run that does not say `--kills`."""

TAKE_OVER_SECONDS = 10.0
RECOVERY_SECONDS = 12.0
"""After Postgres is back: its own recovery, and a pool that finds out that its connections are dead."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


async def urls_of(server: PostgresServer) -> list[str]:
    """A database with a user for each replica, by which Postgres tells them apart."""
    held = await asyncpg.connect(server.url)
    await held.execute("CREATE DATABASE grove")
    for number in range(REPLICAS):
        await held.execute(f"CREATE ROLE replica_{number} SUPERUSER LOGIN")
    await held.close()
    grove = server.database_url("grove")
    return [grove.replace("//postgres@", f"//replica_{number}@") for number in range(REPLICAS)]


async def rows(server: PostgresServer, statement: str) -> list[Any]:
    held = await asyncpg.connect(server.database_url("grove"))
    try:
        return await held.fetch(statement)
    finally:
        await held.close()


async def test_killed_replicas_and_a_killed_postgres_lose_nothing_and_double_nothing(
    server: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--kills", default=None) or KILLS
    seed = time.time_ns() % 1_000_000
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    outages: list[tuple[float, float]] = []
    async with running_replicas(await urls_of(server), tmp_path) as replicas:
        load = Load(replicas, chance)
        clients = [asyncio.create_task(load.submit(number)) for number in range(4)]
        clients.append(asyncio.create_task(load.read()))
        runners = [asyncio.create_task(load.run(f"runner-{number}:8091", 15)) for number in range(2)]
        for round_number in range(kills):
            await asyncio.sleep(1 + 2 * chance.random())
            for each in (*clients, *runners):
                if each.done():
                    each.result()
            victim = chance.choice(replicas.all)
            await replicas.kill(victim)
            if round_number in (kills // 3, 2 * kills // 3):
                outages.append(await outage(server))
            await victim.start()
        load.over = True
        await asyncio.gather(*clients)
        await until_all_ended(server, runners)
        for runner in runners:
            await cancelled(runner)
        await judge(server, replicas, load, outages)


async def outage(server: PostgresServer) -> tuple[float, float]:
    """Postgres killed and started; from when to when it was away."""
    began = time.monotonic()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    return began, time.monotonic()


async def until_all_ended(server: PostgresServer, runners: "list[asyncio.Task[None]]") -> None:
    deadline = time.monotonic() + 120
    while await rows(server, "SELECT 1 FROM nemeton_attempts WHERE state <> 'ENDED' LIMIT 1"):
        for runner in runners:
            if runner.done():
                runner.result()
        assert time.monotonic() < deadline, await rows(server, "SELECT * FROM nemeton_attempts WHERE state <> 'ENDED'")
        await asyncio.sleep(0.2)


async def judge(server: PostgresServer, replicas: Replicas, load: Load, outages: list[tuple[float, float]]) -> None:
    """Every promise, and the counts."""
    tasks = {row["id"]: row for row in await rows(server, "SELECT * FROM druid_tasks")}
    attempts = await rows(server, "SELECT * FROM nemeton_attempts ORDER BY assigned_ms")
    segments = {row["id"] for row in await rows(server, "SELECT id FROM druid_segments WHERE used")}
    assigned = [row["assigned_ms"] / 1000 for row in attempts]
    gaps = [min((at for at in assigned if at > killed), default=killed) - killed for killed in replicas.killed_at]
    counts = replicas.counts
    print(
        f"{counts['requests']} requests; {counts['kills']} replicas killed with {counts['in flight at kills']} of them "
        f"in flight, {counts['cut by a kill']} cut and repeated, {counts['came to a dead one']} came to a dead "
        f"one; Postgres killed {len(outages)} times, {counts['answered 503']} answers 503 meanwhile\n"
        f"{len(load.accepted)} tasks accepted, {len(tasks)} stored, {len(load.begun)} begun, "
        f"{len(segments)} segments published; the next slot was given at most {max(gaps):.1f} s after a kill"
    )
    assert replicas.unexplained == [], "a request was lost that was not in flight on a killed replica"
    assert counts["cut by a kill"] <= counts["in flight at kills"]
    for at in replicas.refused_at:
        assert any(began <= at <= ended + RECOVERY_SECONDS for began, ended in outages), "503 while Postgres was there"
    assert set(tasks) == load.accepted, "accepted and stored are the same"
    assert {row["status_payload"].find(b'"SUCCESS"') > 0 for row in tasks.values()} == {True}
    assert not any(row["active"] for row in tasks.values())
    assert sorted((row["task_id"], row["attempt"]) for row in attempts) == sorted((each, 1) for each in load.accepted)
    assert load.begun == {(each, 1): 1 for each in load.accepted}, "each began once"
    assert segments == load.published, "each segment was published once"
    for table in ("druid_tasklocks", "druid_upgradesegments", "druid_pendingsegments"):
        assert await rows(server, f"SELECT * FROM {table}") == [], f"{table} leaks"
    for replica in replicas.all:
        said = replica.log.read_text()
        assert "a call failed" not in said, said
        assert "the queue pass failed" not in said, said


async def test_release_goes_on_within_ten_seconds_after_the_replica_that_was_at_it_died(
    server: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rounds = max(1, (request.config.getoption("--kills", default=None) or 0) // 4)
    async with running_replicas(await urls_of(server), tmp_path) as replicas:
        took: list[float] = []
        for number in range(rounds):
            task_id = f"task-{number}"
            task = {"type": "noop", "id": task_id}
            answer, _ = await replicas.call("POST", f"{V1}/task", json=task)
            assert answer.status_code == 200, answer.text
            held = await asyncpg.connect(server.database_url("grove"))
            busy = held.transaction()
            await busy.start()
            # whoever assigns now stops in the middle, with the lock by which it is the only one
            await held.execute("LOCK TABLE nemeton_attempts IN EXCLUSIVE MODE")
            runner = a_runner(f"runner-{number}:8091")
            await replicas.call("POST", "/nemeton/v1/runner/announce", json=runner)
            victim = await in_the_pass(server, replicas)
            killed_at = time.monotonic()
            await replicas.kill(victim)
            await busy.rollback()
            await held.close()
            started: list[str] = []
            while task_id not in started:
                assert time.monotonic() < killed_at + 60
                answer, _ = await replicas.call("POST", "/nemeton/v1/runner/assignments?wait=1", json=runner)
                started = [each["taskId"] for each in answer.json()["start"]]
            took.append(time.monotonic() - killed_at)
            await victim.start()
        print(f"\nrelease went on {', '.join(f'{seconds:.2f}' for seconds in took)} s after its replica was killed")
        assert max(took) < TAKE_OVER_SECONDS


def a_runner(runner_id: str) -> dict[str, Any]:
    return RunnerAnnouncement(
        runner_id=runner_id,
        kind="middle-manager",
        host=runner_id,
        ip="127.0.0.1",
        version="0",
        category="_default_worker_category",
        capacity=1,
        attempts=[],
    ).to_wire()


async def in_the_pass(server: PostgresServer, replicas: Replicas) -> Replica:
    """The replica that holds the advisory lock of the queue's pass."""
    deadline = time.monotonic() + 30
    while True:
        found = await rows(
            server,
            "SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE locktype = 'advisory' AND granted AND classid = {0x6E656D} AND objid = {0x70617373}",
        )
        if found:
            return replicas.all[int(found[0]["usename"].removeprefix("replica_"))]
        assert time.monotonic() < deadline, "nobody is in the pass"
        await asyncio.sleep(0.05)
