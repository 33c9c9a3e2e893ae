"""Rows that cannot be read or converted: counted, logged, the newest kept, and too many of them the end of the task."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from druid_core.errors import TaskFailure
from druid_core.report import ParseExceptionReport
from peon.report.meters import RowMeters

_log = logging.getLogger(__name__)


class TooManyParseExceptions(TaskFailure):
    """More rows went wrong than the task's maxParseExceptions."""

    def __init__(self, max_parse_exceptions: int) -> None:
        self.max_parse_exceptions = max_parse_exceptions
        super().__init__(f"Max parse exceptions[{max_parse_exceptions}] exceeded")


class ParseExceptionHandler:
    """
    What one phase of a task does with rows that go wrong. Druid: ParseExceptionHandler

    Counts into `meters`; logs each one if `log`; keeps the last `max_saved`; raises TooManyParseExceptions at the
    first one beyond `max_parse_exceptions`. `clock` returns milliseconds UTC.
    """

    def __init__(
        self,
        meters: RowMeters,
        max_parse_exceptions: int,
        max_saved: int,
        log: bool,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._meters = meters
        self._max_parse_exceptions = max_parse_exceptions
        self._saved: deque[ParseExceptionReport] = deque(maxlen=max(max_saved, 0))
        self._log = log
        self._clock = clock

    @property
    def wants_text(self) -> bool:
        """Whether anybody reads the texts; if not, `count_unparseable` is enough."""
        return self._log or self._saved.maxlen != 0

    def unparseable(self, input: str, message: str, count: int = 1) -> None:  # noqa: A002  Druid's word in the report
        """`count` records with the text `input` that cannot be read. Raises TooManyParseExceptions."""
        for _ in range(count):
            self._meters.unparseable()
            self._keep(input, "unparseable", [message], message)

    def count_unparseable(self, count: int) -> None:
        """As `unparseable`, where nobody wants the texts. Raises TooManyParseExceptions."""
        allowed = self._max_parse_exceptions - self._meters.errors
        # Counting stops at the first one too many, as it does when they come one by one.
        self._meters.unparseable(min(count, max(allowed + 1, 1)) if count > allowed else count)
        self._check()

    def processed_with_error(self, input: str, details: Sequence[str]) -> None:  # noqa: A002  as above
        """A row that was added with nulls in place of what could not be converted. Raises TooManyParseExceptions."""
        self._meters.processed_with_error()
        # Druid: UnparseableColumnsParseException
        message = f"Found unparseable columns in row: [{input}], exceptions: [{','.join(details)}]"
        self._keep(input, "processedWithError", list(details), message)

    def count_processed_with_error(self, count: int) -> None:
        """As `processed_with_error`, where nobody wants the texts. Raises TooManyParseExceptions."""
        allowed = self._max_parse_exceptions - self._meters.errors
        self._meters.processed_with_error(min(count, max(allowed + 1, 1)) if count > allowed else count)
        self._check()

    def saved(self) -> list[ParseExceptionReport]:
        """The last errors, newest first."""
        return list(reversed(tuple(self._saved)))

    def _keep(self, text: str, error_type: str, details: list[str], message: str) -> None:
        if self._log:
            _log.error("Encountered parse exception: %s", message)
        if self._saved.maxlen:
            self._saved.append(
                ParseExceptionReport(
                    input=text,
                    error_type=error_type,
                    details=details,
                    time_of_exception_millis=self._clock(),
                )
            )
        self._check()

    def _check(self) -> None:
        if self._meters.errors > self._max_parse_exceptions:
            raise TooManyParseExceptions(self._max_parse_exceptions)
