"""What every input format hands over: columns of a stretch of records, and the records that could not be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peon.batch import RawColumn


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that its format could not parse."""

    line: int
    """Its line in the input entity, from 1."""
    text: str


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """
    Records before their timestamps are looked at, in input order.

    `time` is the timestamp column, None where no record has it. `columns` are the wanted fields. `lines` has the line
    of each record in its entity, from 1; None for formats without lines. `event_text` gives a record as messages show
    it. `unreadable` is in order of lines.
    """

    rows: int
    columns: dict[str, RawColumn]
    time: RawColumn | None
    event_text: Callable[[int], str]
    lines: npt.NDArray[np.int64] | None
    unreadable: Sequence[UnreadableRecord] = ()
    empty_counts: bool = False
    """Whether a column is a field of the input even if no record has a value in it."""
