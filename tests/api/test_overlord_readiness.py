"""`/status/ready` means it, and its failure says what is missing."""

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from overlord import readiness
from overlord.db.pool import Pool


async def _missing(client: AsyncClient) -> list[str]:
    answer = await client.get("/status/ready")
    if answer.status_code == 200:
        assert answer.json() is True
        return []
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    return answer.json()["missing"]


async def test_a_replica_with_all_it_needs_is_ready(overlord: AsyncClient) -> None:
    assert await _missing(overlord) == []


async def test_without_its_database_it_is_not_ready_and_says_so(app: FastAPI, overlord: AsyncClient) -> None:
    await app.state.pool.close()
    (missing,) = await _missing(overlord)
    assert missing.startswith("the database: ")


async def test_a_database_that_is_silent_is_told_before_the_probe_gives_up(
    overlord: AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "ANSWER_SECONDS", 0.3)
    async with pool.acquire() as held, held.transaction():
        await held.execute("LOCK TABLE nemeton_migrations IN ACCESS EXCLUSIVE MODE")
        (missing,) = await _missing(overlord)
    assert "said nothing" in missing
    assert await _missing(overlord) == []


async def test_a_migration_that_did_not_run_is_named_and_one_of_a_later_version_is_no_matter(
    overlord: AsyncClient, pool: Pool
) -> None:
    await pool.execute("INSERT INTO nemeton_migrations (name) VALUES ('9999_of_tomorrow.sql')")
    assert await _missing(overlord) == []
    await pool.execute("DELETE FROM nemeton_migrations WHERE name = '0003_pods.sql'")
    assert await _missing(overlord) == ["migrations of the database: 0003_pods.sql"]


async def test_a_queue_loop_that_ended_or_is_stuck_is_told(
    app: FastAPI, overlord: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "QUEUE_SECONDS", -1.0)
    (stuck,) = await _missing(overlord)
    assert stuck.startswith("the queue loop: it looked at the queue ")
    monkeypatch.undo()
    await app.state.queue.stop()
    assert await _missing(overlord) == ["the queue loop: it has ended, start the process anew"]


async def test_a_replica_that_was_told_to_stop_takes_no_new_callers(app: FastAPI, overlord: AsyncClient) -> None:
    app.state.stopping.set()
    assert await _missing(overlord) == ["the process: it was told to stop"]
