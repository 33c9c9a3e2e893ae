"""Numbers side by side: ours, Druid's, the ratio, the target, and whether it is met."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["ours", "druids"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on our number, or on ours divided by Druid's when `of_druid`. `at_least` turns it round."""

    bound: float
    of_druid: bool = False
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if not self.of_druid:
            return f"{sign} {self.bound:g}"
        if self.bound < 1:
            return f"{sign} 1/{1 / self.bound:g} of Druid"
        return f"{sign} {self.bound:g}x Druid"

    def is_met(self, ours: float, druids: float | None) -> bool | None:
        """None when Druid's number is needed and missing."""
        if self.of_druid and not druids:
            return None
        value = ours / druids if self.of_druid and druids else ours
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(slots=True)
class Line:
    """One line of the table: all runs of both, of which the table shows the medians."""

    name: str
    unit: str
    ours: Sequence[float] = ()
    druids: Sequence[float] = ()
    target: Target | None = None

    @property
    def our_median(self) -> float | None:
        return statistics.median(self.ours) if self.ours else None

    @property
    def druids_median(self) -> float | None:
        return statistics.median(self.druids) if self.druids else None

    @property
    def is_met(self) -> bool | None:
        if self.target is None or self.our_median is None:
            return None
        return self.target.is_met(self.our_median, self.druids_median)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": list(self.ours),
            "druid": list(self.druids),
            "oursMedian": self.our_median,
            "druidMedian": self.druids_median,
            "target": str(self.target) if self.target else None,
            "met": self.is_met,
        }


class Book:
    """Puts the numbers of one side into the lines, making those that are not there yet."""

    def __init__(
        self, lines: list[Line], side: Side, say: Callable[[str], None], targets: Mapping[str, Target]
    ) -> None:
        self._lines = lines
        self._side: Side = side
        self._say = say
        self._targets = targets

    def note(self, name: str, unit: str, values: Sequence[float]) -> None:
        self._say(f"  {name}: {', '.join(f'{value:.4g}' for value in values)} {unit}")
        line = next((line for line in self._lines if line.name == name), None)
        if line is None:
            line = Line(name, unit, target=self._targets.get(name))
            self._lines.append(line)
        if self._side == "ours":
            line.ours = values
        else:
            line.druids = values


def table(lines: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [["measure", "unit", "ours", "Druid 37", "ours / Druid", "target", "met"]]
    for line in lines:
        ours, druids = line.our_median, line.druids_median
        met = {True: "yes", False: "**no**", None: ""}[line.is_met]
        ratio = f"{ours / druids:.3g}" if ours is not None and druids else ""
        rows.append([line.name, line.unit, _short(ours), _short(druids), ratio, str(line.target or ""), met])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
