"""How a person starts this command here: for hints that can be pasted as they are."""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit


def as_started(program: str | None = None, interpreter: str | None = None) -> str:
    """
    `nemeton` where the shell finds this very program by that name, else its path, relative where it lies below here.

    `program` is argv[0], `interpreter` the Python that runs it; by default our own.
    """
    program = sys.argv[0] if program is None else program
    interpreter = sys.executable if interpreter is None else interpreter
    if Path(program).name == "__main__.py":
        return f"{_short(Path(interpreter))} -m nemeton"
    if Path(program).name == "nemeton":
        return _short(Path(program))
    beside = Path(interpreter).with_name("nemeton")  # another program of ours, such as `make demo`
    return _short(beside) if beside.exists() else "nemeton"


def shown_url(url: str) -> str:
    """A URL as it may stand on a screen: without the password of its user."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}").geturl()


def _short(program: Path) -> str:
    found = shutil.which(program.name)
    if found is not None and _is_same(Path(found), program):
        return program.name
    # Not resolved: an environment's interpreter is a link, and what it links to knows nothing of the environment.
    path = Path(os.path.abspath(program))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_same(found: Path, program: Path) -> bool:
    """The same file in the same folder; an interpreter elsewhere that both link to is another one."""
    return found.parent.resolve() / found.name == program.parent.resolve() / program.name
