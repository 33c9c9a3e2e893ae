"""
Log lines for the person on call: one event a line, its ids as fields.

As text, or as one JSON object a line with the keys that structlog's users know: `timestamp`, `level`, `logger`,
`event`, the fields, and `exception`. The standard library's logging: structlog draws in a terminal toolkit that costs
a third of a second at every start.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping

_LOG = logging.getLogger("overlord")
_TIME = "%Y-%m-%dT%H:%M:%S"


def info(event: str, **fields: object) -> None:
    _tell(logging.INFO, event, fields)


def warning(event: str, **fields: object) -> None:
    _tell(logging.WARNING, event, fields)


def error(event: str, cause: BaseException | None = None, **fields: object) -> None:
    """With the trace of `cause`, and never with the values of its local variables: they may be secrets."""
    _tell(logging.ERROR, event, fields, cause)


def configure(log_format: str = "text") -> None:
    """Lines to standard error, `text` or `json`, times in UTC. For the server process; a test has its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else _text_lines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    _LOG.setLevel(logging.INFO)
    # a database that is away is told in one line of ours; the driver would add a traceback for each lost connection
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)


class JsonLines(logging.Formatter):
    """One JSON object a record, whoever logged it. A field of a key's own name is told with `_` after it."""

    converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        said = record.args if isinstance(record.args, Mapping) and record.name == _LOG.name else None
        line: dict[str, object] = {
            "timestamp": f"{self.formatTime(record, _TIME)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if said is None else said["event"],
        }
        if said is not None:
            fields: Mapping[str, object] = said["fields"]  # pyright: ignore[reportAssignmentType]
            for name, value in fields.items():
                line[f"{name}_" if name in (*line, "exception") else name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _text_lines() -> logging.Formatter:
    formatter = logging.Formatter("{asctime}.{msecs:03.0f}Z {levelname} {name} - {message}", _TIME, "{")
    formatter.converter = time.gmtime
    return formatter


def _tell(level: int, event: str, fields: dict[str, object], cause: BaseException | None = None) -> None:
    if _LOG.isEnabledFor(level):
        words = "".join(f" {name}={value!r}" for name, value in fields.items())
        _LOG.log(level, "%(event)s%(words)s", {"event": event, "words": words, "fields": fields}, exc_info=cause)
