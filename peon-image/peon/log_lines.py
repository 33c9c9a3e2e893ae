"""
The peon's log: lines of Druid's shape on standard output, so that Druid's readers and habits keep working.

    2026-01-01T00:00:00,000 INFO [main] peon.task.index - text
"""

import logging
import sys
import threading
import time

from druid_core.redaction import covered

_FORMAT = "%(asctime)s,%(msecs)03d %(levelname)s [%(threadName)s] %(name)s - %(message)s"
_LEVEL_WORDS = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}
"""Where Log4j's word is not Python's."""


class _Lines(logging.Formatter):
    """Lines, stack traces included, without the secrets of the task."""

    secrets: frozenset[str] = frozenset()

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return covered(line, self.secrets) if self.secrets else line


def cover_in_log(secrets: frozenset[str]) -> None:
    """From now on no line has one of these in it, whoever writes it."""
    _Lines.secrets = secrets


def write_log_to_stdout() -> None:
    """Every logger of this process writes to standard output from now on, INFO and above, times in UTC."""
    formatter = _Lines(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    threading.main_thread().name = "main"  # as a JVM calls it
    for level, word in _LEVEL_WORDS.items():
        logging.addLevelName(level, word)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
