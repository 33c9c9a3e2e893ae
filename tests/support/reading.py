"""Read a few bytes as a task would, and see rows instead of columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from druid_core.input_policy import UNBOUND
from druid_core.report import RowTotals
from druid_core.spec.input import InputFormat, LocalSource
from druid_core.spec.schema import TimestampSpec
from peon.batch import InputBatch
from peon.read.fields import FieldSelection
from peon.read.lines import CHUNK_BYTES
from peon.read.reader import read_batches
from peon.read.tokens import value_at
from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler

EVERYTHING = FieldSelection(discover=True)


@dataclass(frozen=True)
class Reading:
    """What came out: `(milliseconds, {field: value})` without nulls, `(input, message)`, and the batches themselves."""

    rows: list[tuple[int, dict[str, Any]]]
    errors: list[tuple[str, str]]
    totals: RowTotals
    batches: list[InputBatch]

    @property
    def fields(self) -> list[str]:
        """Names of columns in order of first appearance."""
        return list(dict.fromkeys(name for batch in self.batches for name in batch.columns))


def read_file(
    path: Path,
    format: InputFormat,
    fields: FieldSelection = EVERYTHING,
    timestamp_spec: TimestampSpec | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    system_fields: tuple[str, ...] = (),
) -> Reading:
    """All of one file."""
    meters = RowMeters(clock=lambda: 0)
    handler = ParseExceptionHandler(meters, 1 << 31, 1 << 20, log=False, clock=lambda: 0)
    spec = timestamp_spec or TimestampSpec(column="t")
    source = LocalSource(files=[str(path)], system_fields=list(system_fields))
    batches = list(read_batches(source, format, spec, fields, handler, meters, UNBOUND, path.parent, chunk_bytes))
    errors = [(kept.input, kept.details[0]) for kept in reversed(handler.saved())]
    return Reading(list(_rows(batches)), errors, meters.totals(), batches)


def _rows(batches: Iterable[InputBatch]) -> Iterable[tuple[int, dict[str, Any]]]:
    for batch in batches:
        for row in range(batch.rows):
            values = {name: value_at(column, row) for name, column in batch.columns.items()}
            yield int(batch.time_ms[row]), {name: value for name, value in values.items() if value is not None}
