"""
What an ingestion must store, computed one row at a time in plain Python.

Slow and simple on purpose, and it shares no code with the product: this is the judge. It knows the rules of Druid's
batch ingestion (reference: Druid's documentation of native batch, rollup and string dimensions), not its code.
"""

import struct
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.peer.datasets import DataSet
from tests.peer.granularity_oracle import bucket
from tests.peer.hyper_unique_oracle import collector

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

Key = tuple[Any, ...]


@dataclass(slots=True)
class StoredSegment:
    """One expected segment: `rows` in stored order, column name to value; a string value is a list of strings."""

    start_ms: int
    end_ms: int
    partition: int
    rows: list[dict[str, Any]] = field(default_factory=list)


def ingest(data: DataSet) -> list[StoredSegment]:
    """The segments that `data` becomes, by interval and partition number."""
    done: list[StoredSegment] = []
    numbers: dict[tuple[int, int], int] = {}
    sinks: dict[tuple[int, int], _Sink] = {}
    limit = data.tuning.get("maxRowsPerSegment", 5_000_000)
    total_limit = data.tuning.get("maxTotalRows", 20_000_000)
    dimensions = dimension_specs(data)

    def push_all() -> None:
        for (start, end), sink in sinks.items():
            done.append(StoredSegment(start, end, sink.partition, sink.finish()))
        sinks.clear()

    for ms, record in data.rows:
        interval = bucket(ms, data.segment_granularity)
        if not data.keeps(interval):
            continue
        if interval not in sinks:
            sinks[interval] = _Sink(data, dimensions, interval[0], numbers.get(interval, 0))
            numbers[interval] = numbers.get(interval, 0) + 1
        sinks[interval].add(ms, record)
        if len(sinks[interval].entries) >= limit or sum(len(sink.entries) for sink in sinks.values()) >= total_limit:
            push_all()
    push_all()
    return sorted(done, key=lambda segment: (segment.start_ms, segment.partition))


def dimension_specs(data: DataSet) -> list[dict[str, Any]]:
    """The dimensions as objects; with none listed, every field in order of first appearance, as strings."""
    if data.dimensions:
        return [{"type": "string", "name": each} if isinstance(each, str) else each for each in data.dimensions]
    inputs = {metric.get("fieldName") for metric in data.metrics} | {metric["name"] for metric in data.metrics}
    seen: dict[str, None] = {}
    for _, record in data.rows:
        seen.update(dict.fromkeys(name for name in record if name not in inputs))
    return [{"type": "string", "name": name} for name in seen]


@dataclass(slots=True)
class _Sink:
    data: DataSet
    dimensions: list[dict[str, Any]]
    start_ms: int
    partition: int
    entries: list[tuple[Key, dict[str, Any], list["Aggregate"]]] = field(default_factory=list)
    by_key: dict[Key, int] = field(default_factory=dict)

    def add(self, ms: int, record: dict[str, Any]) -> None:
        time = max(bucket(ms, self.data.query_granularity)[0], self.start_ms)
        values = {each["name"]: dimension_value(each, record.get(each["name"])) for each in self.dimensions}
        key = (time, *(sort_key(each, values[each["name"]]) for each in self.dimensions))
        if not self.data.rollup or key not in self.by_key:
            self.by_key[key] = len(self.entries)
            aggregates = [Aggregate(metric) for metric in self.data.metrics]
            self.entries.append((key, {"__time": time, **values}, aggregates))
        for aggregate in self.entries[self.by_key[key]][2]:
            aggregate.add(record)

    def finish(self) -> list[dict[str, Any]]:
        """Rows by time, then by every dimension in order; ties in order of arrival (the sort is stable)."""
        ordered = sorted(self.entries, key=lambda entry: entry[0])
        return [{**row, **{each.name: each.value() for each in aggregates}} for _, row, aggregates in ordered]


def dimension_value(spec: dict[str, Any], raw: Any) -> Any:
    """A list of strings (empty: null) for a string dimension; int, float or None for a number."""
    match spec["type"]:
        case "long":
            return dimension_long(raw)
        case "double":
            return dimension_double(raw)
        case "float":
            return to_float(dimension_double(raw))
        case _:
            return strings(raw, spec.get("multiValueHandling", "SORTED_ARRAY"))


def strings(raw: Any, handling: str) -> list[str | None]:
    """What a string dimension stores of a value: a list of it, as the dimension's multi-value handling has it."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        return [text(raw)]
    values = [text(each) for each in raw]
    if handling != "ARRAY":
        values.sort(key=lambda each: (each is not None, utf16(each)))
    if handling == "SORTED_SET":
        values = list(dict.fromkeys(values))
    return values if values != [None] else []


def text(raw: Any) -> str | None:
    """As Java prints it. Floats of the data sets stay between 0.001 and 10,000,000, where Java and Python agree."""
    if raw is None or isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return repr(raw)


def dimension_long(raw: Any) -> int | None:
    if isinstance(raw, str):
        try:
            number = Decimal(raw)
        except InvalidOperation:
            return None
        exact = raw.strip() == raw and "_" not in raw and number.is_finite() and number == int(number)
        return int(number) if exact and LONG_MIN <= number <= LONG_MAX else None
    if isinstance(raw, (int, float)):  # a boolean counts, too
        return min(max(int(raw), LONG_MIN), LONG_MAX)
    return None


def dimension_double(raw: Any) -> float | None:
    if isinstance(raw, str):
        plain = raw.strip() == raw and "_" not in raw and raw.lower() not in ("nan", "inf", "infinity", "-inf")
        if raw in ("NaN", "Infinity", "-Infinity"):
            return float(raw)
        try:
            return float(raw) if plain else None
        except ValueError:
            return None
    return float(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) else None


def metric_number(raw: Any) -> int | float | None:
    """A metric's input is read more kindly than a dimension's: blanks and thousands commas are allowed."""
    if isinstance(raw, str):
        cleaned = raw.strip().replace(",", "").removeprefix("+")
        try:
            return int(cleaned)
        except ValueError:
            return dimension_double(cleaned)
    return raw if isinstance(raw, (int, float)) and not isinstance(raw, bool) else None


def to_long(number: float) -> int:
    """Java's cast of a double to a long."""
    if number != number:
        return 0
    return LONG_MAX if number >= LONG_MAX else LONG_MIN if number <= LONG_MIN else int(number)


def wrapped(number: int) -> int:
    """Java's addition of longs: the low 64 bits, signed."""
    return (number - LONG_MIN) % 2**64 + LONG_MIN


def to_float(number: float | None) -> float | None:
    """The nearest 32-bit float, as a Python float."""
    if number is None:
        return None
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def sort_key(spec: dict[str, Any], value: Any) -> Any:
    """Nulls first; strings by UTF-16 code units, lists element by element; numbers by value, NaN last, -0.0 < 0.0."""
    if spec["type"] == "string":
        return tuple((each is not None, utf16(each)) for each in value) or ((False, b""),)
    if value is None:
        return (0, 0, 0)
    if value != value:
        return (2, 0, 0)
    return (1, value, 0 if isinstance(value, float) and str(value) == "-0.0" else 1)


def utf16(value: str | None) -> bytes:
    return b"" if value is None else value.encode("utf-16-be", "surrogatepass")


class Aggregate:
    """One metric of one stored row, fed one input row at a time."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.name: str = spec["name"]
        self._kind: str = spec["type"]
        self._field: str = spec.get("fieldName", "")
        self._count = 0
        self._number: Any = None
        self._texts: set[str] = set()

    def add(self, record: dict[str, Any]) -> None:
        self._count += 1
        raw = record.get(self._field)
        if self._kind == "hyperUnique":
            self._texts.update(each for each in strings(raw, "ARRAY") if each is not None)
            return
        number = None if self._kind == "count" else self._cast(metric_number(raw))
        if number is None:
            return
        if self._number is None:
            self._number = number
        elif self._kind.endswith("Sum"):
            total = self._number + number
            self._number = wrapped(total) if isinstance(total, int) else self._cast(total)
        elif self._kind.endswith("Min"):
            self._number = min(self._number, number)
        else:
            self._number = max(self._number, number)

    def value(self) -> Any:
        if self._kind == "count":
            return self._count
        return collector(self._texts) if self._kind == "hyperUnique" else self._number

    def _cast(self, number: float | None) -> int | float | None:
        if number is None:
            return None
        if self._kind.startswith("long"):
            return to_long(number)
        return float(number) if self._kind.startswith("double") else to_float(number)
