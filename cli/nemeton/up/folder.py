"""The data folder of one `nemeton up`: what lies where, and who may use it now."""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from druid_core.errors import Conflict, InvalidInput


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Everything that outlives the process, below one path."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "DataFolder":
        """The folder, made where it is missing. Raises InvalidInput where it cannot be."""
        folder = cls(path.expanduser().resolve())
        try:
            for part in (folder.run, folder.logs, folder.segments, folder.task_logs, folder.tasks):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise InvalidInput(
                f"cannot use {folder.path} as data folder: {reason}; choose another with --data"
            ) from error
        return folder

    @property
    def run(self) -> Path:
        """Who runs now: the lock, one record a process. Worth nothing once all have ended."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """What the parts themselves have to say; tasks' logs are in `task_logs`."""
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def segments(self) -> Path:
        return self.path / "segments"

    @property
    def task_logs(self) -> Path:
        return self.path / "task-logs"

    @property
    def tasks(self) -> Path:
        """The MiddleManager's task directories."""
        return self.path / "tasks"

    @property
    def middle_manager(self) -> Path:
        """What the MiddleManager remembers over a restart."""
        return self.path / "middle-manager"

    @property
    def runner_secret(self) -> Path:
        """What the MiddleManager shows the Overlord: nobody else on this machine is to pass for it."""
        return self.path / "runner-token"

    def runner_token(self) -> str:
        """The secret in that file, which is made, for its owner alone, where it is missing. Raises InvalidInput."""
        secret = self.runner_secret
        try:
            if not secret.exists():
                unfinished = secret.with_name(f".{secret.name}.new")
                unfinished.touch(0o600)
                unfinished.write_text(secrets.token_urlsafe(32))
                unfinished.replace(secret)
            return secret.read_text().strip()
        except OSError as error:
            raise InvalidInput(f"cannot use {secret}: {error.strerror or error}") from error

    def record(self, part: str) -> Path:
        return self.run / f"{part}.json"

    @contextmanager
    def locked(self) -> Generator[None]:
        """
        Holds the folder for this process. The kernel lets go of the lock when the process ends, however it ends.

        Raises Conflict where another `nemeton up` holds it.
        """
        file = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(file, 32).decode(errors="replace").strip()
                by = f" (pid {pid})" if pid else ""
                raise Conflict(
                    f"another `nemeton up`{by} is using {self.path}; stop it, or choose another folder with --data"
                ) from None
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(file)
