"""Migrations are online: others read and write while they run, and what was cut short is mended by the next try."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from overlord.db import migrate as migrations
from overlord.db.migrate import migrate, migration_files
from overlord.db.pool import Pool, connect
from tests.support.postgres import TestPostgres

QUEUE_INDEXES = "0007_queue_indexes.sql"


@pytest.fixture
async def old(postgres: TestPostgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    """A database as it was before the indexes of the queue, with a few attempts in it."""
    url = await postgres.empty()
    pool = await connect(url, min_size=1, max_size=8)
    with monkeypatch.context() as then:
        before = [entry for entry in migration_files() if entry.name < QUEUE_INDEXES]
        then.setattr(migrations, "migration_files", lambda: before)
        await migrate(pool)
    for number in range(3):
        await insert(pool, f"t{number}")
    yield pool
    pool.terminate()
    await postgres.drop(url)


async def insert(held: Pool | asyncpg.pool.PoolConnectionProxy, task_id: str) -> None:
    await held.execute(
        "INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type) "
        "VALUES ($1, '2026-01-01', 'web', '{}', '{}', TRUE, 'kill')",
        task_id,
    )
    await held.execute(
        "INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms) "
        "VALUES ($1, 1, 'web', $1, 0, 'PENDING', 1)",
        task_id,
        timeout=10,
    )


async def test_while_indexes_are_built_others_write(old: Pool) -> None:
    async with old.acquire() as held:
        busy = held.transaction()
        await busy.start()
        await insert(held, "under-way")
        migrating = asyncio.create_task(migrate(old))
        for number in range(10):
            await insert(old, f"meanwhile{number}")
            await asyncio.sleep(0.1)
        assert not migrating.done(), "an index waits for whoever wrote before it"
        await busy.commit()
    assert QUEUE_INDEXES in await migrating
    assert await old.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert await old.fetchval("SELECT count(*) FROM nemeton_attempts") == 14
    assert await old.fetchval("SELECT DISTINCT task_type FROM nemeton_attempts WHERE task_id ~ '^t'") == "kill"


async def test_an_index_that_was_left_half_built_is_built_anew(old: Pool) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await old.execute("CREATE UNIQUE INDEX CONCURRENTLY nemeton_attempts_line ON nemeton_attempts (data_source)")
    await migrate(old)
    index = await old.fetchrow(
        "SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = 'nemeton_attempts_line'::regclass"
    )
    assert index is not None
    assert (index["indisvalid"], index["indisunique"]) == (True, False)


async def test_a_migration_that_waits_for_a_table_lets_others_pass(
    old: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(old)
    (tmp_path / "9999_more.sql").write_text("ALTER TABLE nemeton_attempts ADD COLUMN more TEXT;\n")
    monkeypatch.setattr(migrations, "migration_files", lambda: [tmp_path / "9999_more.sql"])
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT_MS", 200)
    async with old.acquire() as held:
        busy = held.transaction()
        await busy.start()
        await insert(held, "under-way")
        migrating = asyncio.create_task(migrate(old))
        began = asyncio.get_running_loop().time()
        for number in range(10):
            await insert(old, f"meanwhile{number}")
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() - began < 8, "it holds up whoever comes after it for a moment only"
        assert not migrating.done()
        await busy.commit()
    assert await migrating == ["9999_more.sql"]
    assert await old.fetchval("SELECT more FROM nemeton_attempts LIMIT 1") is None


async def test_a_migration_that_fails_is_undone_and_not_recorded(
    old: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "9999_more.sql").write_text("CREATE TABLE nemeton_more (id TEXT);\nSELECT no_such_thing;\n")
    monkeypatch.setattr(migrations, "migration_files", lambda: [tmp_path / "9999_more.sql"])
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(old)
    assert await old.fetchval("SELECT to_regclass('nemeton_more')") is None
    (tmp_path / "9999_more.sql").write_text("CREATE TABLE nemeton_more (id TEXT);\n")
    assert await migrate(old) == ["9999_more.sql"], "the turn was given back"


@pytest.mark.parametrize("name", [entry.name for entry in migration_files()])
def test_no_migration_blocks_writers_or_takes_away_what_the_version_before_uses(name: str) -> None:
    (text,) = (entry.read_text() for entry in migration_files() if entry.name == name)
    statements = re.sub(r"--.*", "", text)
    made_here = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", statements))
    for table in re.findall(r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)[\w ]+?\s+ON (\w+)", statements):
        assert table in made_here, f"an index on {table} is built CONCURRENTLY, in a file that says `-- no transaction`"
    for word in ("DROP TABLE", "DROP COLUMN", "RENAME", "ALTER COLUMN", "SET NOT NULL", "TRUNCATE"):
        assert word not in statements
    assert not re.search(r"ADD COLUMN (?:(?!DEFAULT)[^,;])*NOT NULL(?![^,;]*DEFAULT)", statements)
    if text.startswith("-- no transaction\n"):
        for made in re.findall(r"(?:CREATE|DROP) (?:UNIQUE )?INDEX.*", statements):
            assert "CONCURRENTLY IF" in made, "it may be run again"
