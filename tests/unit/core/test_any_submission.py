"""Whatever is posted: a task that can be stored and read back, or a refusal. Never anything else."""

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from druid_core.errors import InvalidTask
from druid_core.task import inject_context, load_task, parse_task, redacted

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["index", "noop", "all", "day", "PT1H", "hashed", "range", "csv", "http", "1", "-1", "true", "2026/2027"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "name", "fieldName", "columns", "uris", "period"]), inner, max_size=3),
    ),
    max_leaves=5,
)

WHOLE: dict[str, Any] = {
    "type": "index_parallel",
    "id": "i",
    "groupId": "g",
    "resource": {"availabilityGroup": "a", "requiredCapacity": 1},
    "context": {"priority": 5},
    "spec": {
        "dataSchema": {
            "dataSource": "wiki",
            "timestampSpec": {"column": "ts", "format": "iso", "missingValue": "2026-01-01"},
            "dimensionsSpec": {
                "dimensions": [
                    "page",
                    {"type": "string", "name": "q", "multiValueHandling": "array"},
                    {"type": "auto", "name": "z"},
                ],
                "dimensionExclusions": ["x"],
                "includeAllDimensions": False,
                "useSchemaDiscovery": True,
                "forceSegmentSortByTime": True,
            },
            "metricsSpec": [
                {"type": "count", "name": "c"},
                {"type": "doubleMax", "name": "m", "fieldName": "v"},
                {"type": "hyperUnique", "name": "u", "fieldName": "w"},
            ],
            "granularitySpec": {
                "type": "uniform",
                "segmentGranularity": {"type": "period", "period": "P1D", "timeZone": "Europe/Rome", "origin": None},
                "queryGranularity": {"type": "duration", "duration": 1000},
                "rollup": True,
                "intervals": ["2026-01-01/P1D"],
            },
            "transformSpec": {"transforms": [], "filter": None},
        },
        "ioConfig": {
            "type": "index_parallel",
            "inputSource": {
                "type": "local",
                "baseDir": "/data",
                "filter": "*",
                "files": ["a"],
                "systemFields": ["__file_uri"],
            },
            "inputFormat": {
                "type": "json",
                "flattenSpec": {
                    "useFieldDiscovery": True,
                    "fields": ["a", {"type": "path", "name": "b", "expr": "$.b"}],
                },
                "featureSpec": {"ALLOW_COMMENTS": True},
            },
            "appendToExisting": False,
            "dropExisting": False,
        },
        "tuningConfig": {
            "type": "index_parallel",
            "partitionsSpec": {"type": "dynamic", "maxRowsPerSegment": 2, "maxTotalRows": 9},
            "forceGuaranteedRollup": False,
            "splitHintSpec": {"type": "maxSize", "maxSplitSize": "1GiB"},
            "indexSpec": {"bitmap": {"type": "roaring"}, "longEncoding": "auto", "dimensionCompression": "LZ4"},
            "maxRowsInMemory": 5,
            "chatHandlerTimeout": "PT20S",
            "reportParseExceptions": False,
            "maxSavedParseExceptions": 3,
        },
    },
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [path, *(deeper for key, item in inside for deeper in _paths(item, (*path, key)))]


PATHS = _paths(WHOLE)[1:]


def _check(raw: Any) -> None:
    try:
        task = parse_task(raw, 0)
    except InvalidTask:
        return
    wire = inject_context(task, {"x": 1}).to_wire()
    # NaN is no JSON: it can only be built in Python
    assert load_task(json.loads(json.dumps(wire))).to_wire() == wire or "NaN" in json.dumps(wire)
    redacted(wire)
    assert isinstance(task.priority, int)
    assert task.data_source


def test_the_whole_example_is_accepted() -> None:
    task = parse_task(WHOLE, 0)
    assert load_task(task.to_wire()).to_wire() == task.to_wire()
    assert (task.id, task.group_id, task.priority) == ("i", "g", 5)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PATHS), values)
def test_one_odd_value_anywhere_is_taken_or_refused(path: tuple[Any, ...], value: Any) -> None:
    raw = copy.deepcopy(WHOLE)
    place = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    _check(raw)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["noop", "kill", "index", "index_parallel"]),
    st.dictionaries(
        st.sampled_from(
            ["id", "groupId", "dataSource", "runTime", "context", "interval", "versions", "batchSize", "limit", "spec"]
        ),
        values,
    ),
)
def test_any_object_with_a_type_is_taken_or_refused(kind: str, fields: dict[str, Any]) -> None:
    _check({"type": kind, **fields})


@settings(max_examples=200, deadline=None)
@given(values)
def test_any_json_at_all_is_taken_or_refused(raw: Any) -> None:
    _check(raw)
