"""What all client commands have in common: the Overlord's address, errors in words, JSON on the standard output."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from druid_core.errors import NemetonError, NotFound

DEFAULT_OVERLORD = "http://127.0.0.1:8090"

OverlordUrl = Annotated[str, typer.Option("--overlord", envvar="NEMETON_OVERLORD", help="The Overlord's URL.")]

WIDE = 1000
"""Columns of output: more than any line has. A terminal breaks a long line better than a table breaks an id."""


@contextmanager
def in_words(exit_status: int = 2) -> Generator[None]:
    """An error of ours is a sentence on the standard error output, never a stack trace."""
    try:
        yield
    except NotFound as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from error
    except NemetonError as error:
        typer.secho(f"nemeton: {error}", fg="red", err=True)
        raise typer.Exit(exit_status) from error
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        raise typer.Exit(0) from None


def print_json(value: Any) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
