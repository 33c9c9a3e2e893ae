"""
Several sorted runs as one, in bounded memory: a window of each run at a time.

Rows that agree in all keys keep the order of their runs, and with rollup their states are combined.
Druid: IndexMergerV9, RowCombiningTimeAndDimsIterator
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from peon.build.entries import Codes, Entries, unite
from peon.build.plan import BuildPlan
from peon.build.row_order import runs as key_runs
from peon.build.row_order import sort
from peon.build.sorted_rows import RowSlice, joined, sort_words
from peon.build.values import Numbers

WINDOW_ROWS = 65_536
"""Rows of each run in memory at once: ten runs of ten columns are some 50 MiB."""


class Run(Protocol):
    """Sorted rows, in memory (SortedRows) or on disk (Spill)."""

    @property
    def rows(self) -> int: ...

    @property
    def entries(self) -> tuple[Entries | None, ...]: ...

    def slices(self, rows: int) -> Iterator[RowSlice]: ...


@dataclass(frozen=True, slots=True)
class Merged:
    """The entries of all runs as one, and the rows in order."""

    entries: tuple[Entries | None, ...]
    slices: Iterator[RowSlice]


def merge(sorted_runs: Sequence[Run], plan: BuildPlan) -> Merged:
    """One or more runs as one. The slices are read while they are asked for, once."""
    if len(sorted_runs) == 1:
        only = sorted_runs[0]
        return Merged(only.entries, only.slices(4 * WINDOW_ROWS))
    entries, translations = _united([run.entries for run in sorted_runs])
    windows = [
        _Window(run.slices(WINDOW_ROWS), translation)
        for run, translation in zip(sorted_runs, translations, strict=True)
    ]
    return Merged(entries, _merged_slices(windows, entries, plan))


Translation = tuple[Codes | None, ...]
"""For each dimension, a run's entry numbers to the united ones; None for numeric dimensions."""


def _united(of_runs: Sequence[tuple[Entries | None, ...]]) -> tuple[tuple[Entries | None, ...], list[Translation]]:
    united: list[Entries | None] = []
    translations: list[list[Codes | None]] = [[] for _ in of_runs]
    for parts in zip(*of_runs, strict=True):
        if parts[0] is None:
            united.append(None)
            for translation in translations:
                translation.append(None)
            continue
        known = cast("tuple[Entries, ...]", parts)
        codes, entries = unite([part.as_values() for part in known])
        united.append(entries)
        borders = np.cumsum([len(part) for part in known])[:-1]
        for translation, own in zip(translations, np.split(codes, borders), strict=True):
            translation.append(own)
    return tuple(united), [tuple(translation) for translation in translations]


class _Window:
    """The rows of one run that are in memory, and the rest of it."""

    def __init__(self, slices: Iterator[RowSlice], translation: Translation) -> None:
        self._slices = slices
        self._translation = translation
        self.rows: RowSlice | None = None
        self.exhausted = False
        self.read_more()

    def read_more(self) -> None:
        """Add the run's next slice."""
        following = next(self._slices, None)
        if following is None:
            self.exhausted = True
            return
        dimensions = tuple(
            values if codes is None or isinstance(values, Numbers) else codes[values]
            for values, codes in zip(following.dimensions, self._translation, strict=True)
        )
        translated = RowSlice(following.time_ms, dimensions, following.states)
        self.rows = translated if self.rows is None else joined([self.rows, translated])

    def drop(self, count: int) -> None:
        """Forget the first rows, and read on when none are left."""
        rows = cast("RowSlice", self.rows)
        self.rows = rows.take(slice(count, None)) if count < rows.rows else None
        if self.rows is None and not self.exhausted:
            self.read_more()


def _merged_slices(windows: list[_Window], entries: tuple[Entries | None, ...], plan: BuildPlan) -> Iterator[RowSlice]:
    while active := [window for window in windows if window.rows is not None]:
        parts = [cast("RowSlice", window.rows) for window in active]
        together = joined(parts)
        words = sort_words(together.time_ms, together.dimensions, entries, plan)
        order = sort(words)
        starts = key_runs(words if order is None else [word[order] for word in words])
        origin = np.repeat(np.arange(len(parts)), [part.rows for part in parts])
        ready = _ready_rows(active, parts, order, starts)
        if ready == 0:
            # All that is in memory may still be followed by equal rows: read on where a window ends.
            for window in active:
                if not window.exhausted:
                    window.read_more()
            continue
        rows = np.arange(ready) if order is None else order[:ready]
        yield _combined(together, rows, starts[starts < ready] if plan.rollup else None, plan)
        for window, count in zip(active, np.bincount(origin[rows], minlength=len(parts)).tolist(), strict=True):
            window.drop(count)


def _ready_rows(
    active: Sequence[_Window],
    parts: Sequence[RowSlice],
    order: npt.NDArray[np.int64] | None,
    starts: npt.NDArray[np.int64],
) -> int:
    """
    How many of the sorted rows are final: those before the first key that ends a window whose run goes on, for equal
    rows may follow there.
    """
    total = sum(part.rows for part in parts)
    lasts = np.cumsum([part.rows for part in parts]) - 1
    open_lasts = [int(last) for last, window in zip(lasts, active, strict=True) if not window.exhausted]
    if not open_lasts:
        return total
    if order is not None:
        place = np.empty(total, np.int64)
        place[order] = np.arange(total)
        open_lasts = [int(place[last]) for last in open_lasts]
    return int(starts[np.searchsorted(starts, min(open_lasts), side="right") - 1])


def _combined(
    together: RowSlice, rows: npt.NDArray[np.int64], starts: npt.NDArray[np.int64] | None, plan: BuildPlan
) -> RowSlice:
    kept = together.take(rows)
    if starts is None or len(starts) == len(rows):
        return kept
    states = tuple(
        aggregator.combine([state], None, starts)  # type: ignore[list-item]
        for aggregator, state in zip(plan.aggregators, kept.states, strict=True)
    )
    firsts = RowSlice(kept.time_ms, kept.dimensions, ()).take(starts)
    return RowSlice(firsts.time_ms, firsts.dimensions, states)
