"""
Migrations: numbered SQL files, run in order, each once, recorded in `nemeton_migrations`.

A file is safe on an empty database and on one that Apache Druid made and filled: Druid's tables are created where
they are missing, and their later columns and indexes added where they are missing.
"""

from importlib import resources
from importlib.resources.abc import Traversable

from overlord.db.pool import Pool, connection, transaction

_LOCK_KEY = 0x6E656D65746F6E
"""One migration at a time, whatever number of replicas starts: "nemeton" in ASCII."""

_PATIENCE_SECONDS = 3600.0
"""Of one statement here: an index over the segments of years, or the wait while another replica makes it."""


async def migrate(pool: Pool) -> list[str]:
    """Bring the schema up to date; the names of the files that were run now. Calling twice is calling once."""
    files = _files()
    ran: list[str] = []
    async with transaction(pool) as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY, timeout=_PATIENCE_SECONDS)
        # IF NOT EXISTS speaks up (NOTICE) about each thing that is there; nobody needs to hear it at every start
        await tx.execute("SET LOCAL client_min_messages = warning")
        await tx.execute(
            "CREATE TABLE IF NOT EXISTS nemeton_migrations "
            "(name TEXT PRIMARY KEY, ran_at TIMESTAMPTZ NOT NULL DEFAULT now())"
        )
        done = {row["name"] for row in await tx.fetch("SELECT name FROM nemeton_migrations")}
        for entry in files:
            if entry.name not in done:
                await tx.execute(entry.read_text(encoding="utf-8"), timeout=_PATIENCE_SECONDS)
                await tx.execute("INSERT INTO nemeton_migrations (name) VALUES ($1)", entry.name)
                ran.append(entry.name)
    return ran


async def pending_migrations(pool: Pool) -> list[str]:
    """The files that were not run on this database, in order. Those of a later version of ours do not matter."""
    async with connection(pool) as tx:
        done = {row["name"] for row in await tx.fetch("SELECT name FROM nemeton_migrations")}
    return [entry.name for entry in _files() if entry.name not in done]


def _files() -> list[Traversable]:
    folder = resources.files("overlord.db").joinpath("migrations")
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
