"""Whether what Druid read out of a segment is what the oracle says must be in it."""

import base64
from typing import Any

from tests.peer.datasets import TIME_COLUMN, DataSet, iso
from tests.peer.granularity_oracle import ALL
from tests.peer.oracle import StoredSegment, dimension_specs, to_float
from tests.support.druid.workshop import Dump

KINDS = {"long": "LONG", "double": "DOUBLE", "float": "FLOAT", "string": "STRING"}
STANDARD_PERIODS = {"P1D": "DAY", "PT1H": "HOUR", "P1M": "MONTH", "P1W": "WEEK"}


def interval_text(start_ms: int, end_ms: int) -> str:
    if (start_ms, end_ms) == ALL:
        return "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z"
    return f"{iso(start_ms)}/{iso(end_ms)}"


def column_kinds(data: DataSet) -> dict[str, str]:
    """Every column and its type as Druid's metadata names it."""
    kinds = {"__time": "LONG"}
    kinds |= {each["name"]: KINDS[each["type"]] for each in dimension_specs(data)}
    for metric in data.metrics:
        family = next((kind for kind in ("long", "double", "float") if metric["type"].startswith(kind)), None)
        kinds[metric["name"]] = KINDS[family] if family else "LONG" if metric["type"] == "count" else "hyperUnique"
    return kinds


def assert_rows(dump: Dump, expected: StoredSegment, data: DataSet) -> None:
    """Row by row, in stored order, every column."""
    kinds = column_kinds(data)
    wanted = [{name: _as_dumped(row[name], kinds[name]) for name in kinds} for row in expected.rows]
    got = [{name: _as_read(value, kinds.get(name, "?")) for name, value in row.items()} for row in dump.rows]
    for number, (ours, right) in enumerate(zip(got, wanted, strict=False)):
        assert ours == right, f"row {number}: read {ours}, expected {right}"
    assert len(got) == len(wanted)


def assert_metadata(dump: Dump, expected: StoredSegment, data: DataSet) -> None:
    meta = dump.metadata
    assert meta["numRows"] == len(expected.rows)
    assert meta["intervals"] == [interval_text(expected.start_ms, expected.end_ms)]
    assert meta["rollup"] is data.rollup
    assert meta["queryGranularity"] == _granularity_json(data)
    assert meta["timestampSpec"] == {"column": TIME_COLUMN, "format": data.stamp.format, "missingValue": None}
    assert meta["aggregators"] == {each["name"]: _combining(each) for each in data.metrics}
    columns = meta["columns"]
    assert {name: column["type"] for name, column in columns.items()} == column_kinds(data)
    for spec in dimension_specs(data):
        column = columns[spec["name"]]
        values = [row[spec["name"]] for row in expected.rows]
        if spec["type"] == "string":
            assert column["hasMultipleValues"] is any(len(each) > 1 for each in values), spec["name"]
            assert column["hasNulls"] is any(each == [] or None in each for each in values), spec["name"]
            assert column["cardinality"] == len({each for value in values for each in value or [None]}), spec["name"]
        else:
            assert column["hasNulls"] is any(each is None for each in values), spec["name"]


def assert_bitmaps(dump: Dump, expected: StoredSegment, data: DataSet) -> None:
    """The rows under every value of every string dimension; null has the rows of nulls and of empty lists."""
    for spec in dimension_specs(data):
        name = spec["name"]
        values = [row[name] for row in expected.rows]
        rows_by_value: dict[str, list[int]] = {}
        for number, value in enumerate(values if spec["type"] == "string" else []):
            for each in dict.fromkeys(value or [None]):
                rows_by_value.setdefault("null" if each is None else each, []).append(number)
        indexed = spec["type"] == "string" and spec.get("createBitmapIndex", True) and rows_by_value.keys() != {"null"}
        if indexed:
            assert dump.bitmaps[name] == rows_by_value, name


def _as_dumped(value: Any, kind: str) -> Any:
    """An oracle's value as dump-segment prints it: lists of none or one lose their brackets, sketches are base64."""
    if kind == "STRING":
        return None if not value else value[0] if len(value) == 1 else value
    return base64.b64encode(value).decode() if isinstance(value, bytes) else _comparable(value)


def _as_read(value: Any, kind: str) -> Any:
    if kind in ("DOUBLE", "FLOAT") and value is not None:
        number = float(value)
        return _comparable(to_float(number) if kind == "FLOAT" else number)
    return value


def _comparable(value: Any) -> Any:
    """Floats as text, so that NaN equals NaN and -0.0 is not 0.0."""
    return repr(value) if isinstance(value, float) else value


def _granularity_json(data: DataSet) -> Any:
    granularity = data.query_granularity
    if granularity in ("NONE", "ALL"):
        return {"type": str(granularity).lower()}
    if isinstance(granularity, str):
        return granularity
    if granularity["type"] == "duration":
        return {**granularity, "origin": "1970-01-01T00:00:00.000Z"}
    return {"origin": None, **granularity}


def _combining(metric: dict[str, Any]) -> dict[str, Any]:
    name = metric["name"]
    if metric["type"] == "hyperUnique":
        return {"type": "hyperUnique", "name": name, "fieldName": name, "isInputHyperUnique": False, "round": False}
    kind = "longSum" if metric["type"] == "count" else metric["type"]
    return {"type": kind, "name": name, "fieldName": name}
