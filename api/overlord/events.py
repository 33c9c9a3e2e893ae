"""
Log lines for the person on call: one event a line, its ids as fields.

The standard library's logging: structlog draws in a terminal toolkit that costs a third of a second at every start.
"""

import logging
import sys
import time

_LOG = logging.getLogger("overlord")


def info(event: str, **fields: object) -> None:
    _LOG.info(_line(event, fields))


def warning(event: str, **fields: object) -> None:
    _LOG.warning(_line(event, fields))


def error(event: str, cause: BaseException | None = None, **fields: object) -> None:
    """With the trace of `cause`, and never with the values of its local variables: they may be secrets."""
    _LOG.error(_line(event, fields), exc_info=cause)


def configure() -> None:
    """Lines to standard error, times in UTC. For the server process; a test or a notebook has its own."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("{asctime}.{msecs:03.0f}Z {levelname} {name} - {message}", "%Y-%m-%dT%H:%M:%S", "{")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    _LOG.setLevel(logging.INFO)


def _line(event: str, fields: dict[str, object]) -> str:
    return event + "".join(f" {name}={value!r}" for name, value in fields.items())
