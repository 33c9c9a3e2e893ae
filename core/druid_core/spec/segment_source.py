"""Rows that a datasource holds already, as the input of a task that writes them anew."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from druid_core.errors import InvalidInput
from druid_core.interval import Interval
from druid_core.spec.jackson import Map, SpecModel, Text, Texts, UnreadableValue, refuse
from druid_core.spec.row_filter import Filter, parse_filter

_INPUT = "org.apache.druid.indexing.input"


class WindowedSegment(SpecModel):
    """A segment, and the stretches of time of which its rows are wanted. Druid: WindowedSegmentId"""

    java_class: ClassVar[str] = f"{_INPUT}.WindowedSegmentId"

    segment_id: Text
    intervals: list[Interval]

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("segmentId") is None:
            refuse(cls.java_class, "null segmentId")
        given = raw.get("intervals")
        if not isinstance(given, list):
            refuse(cls.java_class, "null intervals")
        return {**raw, "intervals": [_interval(each, cls.java_class, "intervals") for each in given]}  # pyright: ignore[reportUnknownVariableType]


class DruidSource(SpecModel):
    """
    What is visible of a datasource in `interval`, or the segments that are named. Druid: DruidInputSource

    Brings its own format: each column as it is stored, `__time` in milliseconds. The timestampSpec counts as for any
    other input. `dimensions` and `metrics` are taken and mean nothing, as in Druid.
    """

    java_class: ClassVar[str] = f"{_INPUT}.DruidInputSource"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"interval", "segments", "filter", "dimensions", "metrics"})

    type: Literal["druid"] = "druid"
    data_source: Text
    interval: Interval | None = None
    segments: list[WindowedSegment] | None = Field(default=None)
    filter: Map | None = None
    dimensions: Texts | None = None
    metrics: Texts | None = None

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("dataSource", raw.get("data_source")) is None:
            refuse(cls.java_class, "dataSource")
        if (raw.get("interval") is None) == (raw.get("segments") is None):
            refuse(cls.java_class, "Specify exactly one of 'interval' and 'segments'")
        if raw.get("interval") is None:
            return raw
        return {**raw, "interval": _interval(raw["interval"], cls.java_class, "interval")}

    @property
    def row_filter(self) -> Filter | None:
        """Which rows are input; None for all."""
        return None if self.filter is None else parse_filter(self.filter)

    def check(self) -> None:
        _ = self.row_filter  # refuses what nobody could read later


def _interval(raw: object, java_class: str, name: str) -> Interval:
    if isinstance(raw, Interval):
        return raw
    try:
        return Interval.parse(str(raw))
    except InvalidInput as error:
        raise UnreadableValue(str(error), f'{java_class}["{name}"]') from error
