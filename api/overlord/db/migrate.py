"""
Migrations: numbered SQL files, run in order, each once, recorded in `nemeton_migrations`. Forward only, and online:
replicas of the version before go on reading and writing meanwhile and afterwards.

A file is safe on an empty database and on one that Apache Druid made and filled: Druid's tables are created where
they are missing, and their later columns and indexes added where they are missing.

A file is one transaction, whose locks are asked for briefly and again: who waits for a table's lock holds up everyone
behind him. A file that begins with `-- no transaction` is a line of statements by themselves: indexes built
CONCURRENTLY, rows changed while others write. What it did before it was cut short stays, so each of its statements may
be repeated.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg

from overlord import events
from overlord.db.pool import Connection, Pool, connection

_LOCK_KEY = 0x6E656D65746F6E
"""One migration at a time, whatever number of replicas starts: "nemeton" in ASCII."""

_PATIENCE_SECONDS = 3600.0
"""Of one statement here: an index over the segments of years."""

_TURN_SECONDS = 0.1
"""
How often a replica looks whether another one is done with migrating. It asks and does not queue: a queued statement has
a snapshot, and building an index CONCURRENTLY waits for all snapshots.
"""

_LOCK_TIMEOUT_MS = 2000
"""How long a file in a transaction waits for a lock, with everyone behind it. Then it lets them pass."""

_AGAIN_SECONDS = 1.0
"""For so long they pass before it asks again."""

_NO_TRANSACTION = "-- no transaction\n"

_STATEMENT_END = re.compile(r";[ \t]*(?:--.*)?$", re.MULTILINE)
"""A semicolon that ends its line."""

_TABLE = (
    "CREATE TABLE IF NOT EXISTS nemeton_migrations (name TEXT PRIMARY KEY, ran_at TIMESTAMPTZ NOT NULL DEFAULT now())"
)

_DONE = "INSERT INTO nemeton_migrations (name) VALUES ($1)"

_HALF_BUILT = """
SELECT quote_ident(index.relname) AS name FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
WHERE NOT indisvalid AND index.relnamespace = current_schema()::regnamespace
"""
"""What was left of indexes whose building was cut short: they cost every write, and help no read."""


async def migrate(pool: Pool) -> list[str]:
    """Bring the schema up to date; the names of the files that were run now. Calling twice is calling once."""
    ran: list[str] = []
    async with connection(pool) as held, _our_turn(held):
        # IF NOT EXISTS speaks up (NOTICE) about each thing that is there; nobody needs to hear it at every start
        await held.execute("SET client_min_messages = warning")
        await held.execute(_TABLE)
        done = {row["name"] for row in await held.fetch("SELECT name FROM nemeton_migrations")}
        for entry in migration_files():
            if entry.name in done:
                continue
            text = entry.read_text(encoding="utf-8")
            if text.startswith(_NO_TRANSACTION):
                await run_statements(held, text)
                await held.execute(_DONE, entry.name)
            else:
                await _run_in_a_transaction(held, entry.name, text)
            ran.append(entry.name)
        await held.execute("RESET client_min_messages")
    return ran


async def pending_migrations(pool: Pool) -> list[str]:
    """The files that were not run on this database, in order. Those of a later version of ours do not matter."""
    async with connection(pool) as tx:
        done = {row["name"] for row in await tx.fetch("SELECT name FROM nemeton_migrations")}
    return [entry.name for entry in migration_files() if entry.name not in done]


def migration_files() -> list[Traversable]:
    """In the order in which they are run."""
    folder = resources.files("overlord.db").joinpath("migrations")
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)


async def run_statements(held: Connection, text: str) -> None:
    """
    Run the statements of `text`, each by itself. Indexes that an earlier try left half built are dropped before: with
    IF NOT EXISTS alone they would stay so.
    """
    statements = [part for part in _STATEMENT_END.split(text) if _has_words(part)]
    for row in await held.fetch(_HALF_BUILT):
        if any(row["name"] in part.split() for part in statements):
            await held.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {row['name']}", timeout=_PATIENCE_SECONDS)
    for statement in statements:
        await held.execute(statement, timeout=_PATIENCE_SECONDS)


async def _run_in_a_transaction(held: Connection, name: str, text: str) -> None:
    while True:
        try:
            async with held.transaction():
                await held.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
                await held.execute(text, timeout=_PATIENCE_SECONDS)
                await held.execute(_DONE, name)
            return
        except asyncpg.LockNotAvailableError as error:
            events.warning("a migration waits for a table that is in use", file=name, why=str(error))
        await asyncio.sleep(_AGAIN_SECONDS)


@asynccontextmanager
async def _our_turn(held: Connection) -> AsyncGenerator[None]:
    """While no other replica migrates. A lock of the session: it outlives the transactions of the files."""
    while True:
        if await held.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            break
        await asyncio.sleep(_TURN_SECONDS)
    try:
        yield
    finally:
        if not held.is_closed():
            await held.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)


def _has_words(statement: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in statement.splitlines())
