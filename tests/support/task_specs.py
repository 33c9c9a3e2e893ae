"""Small tasks for tests."""

from typing import Any


def noop(task_id: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "noop", **({} if task_id is None else {"id": task_id}), **fields}


def index_parallel(
    task_id: str | None = None,
    *,
    data_source: str = "web",
    intervals: list[str] | None = None,
    granularity: Any = "DAY",
    context: dict[str, Any] | None = None,
    data: str = '{"time":"2026-01-01T00:00:00Z","page":"Oak"}',
) -> dict[str, Any]:
    """One that reads its rows from the request itself."""
    spec: dict[str, Any] = {"type": "uniform", "segmentGranularity": granularity, "queryGranularity": "NONE"}
    if intervals is not None:
        spec["intervals"] = intervals
    return {
        "type": "index_parallel",
        **({} if task_id is None else {"id": task_id}),
        "spec": {
            "dataSchema": {
                "dataSource": data_source,
                "timestampSpec": {"column": "time", "format": "iso"},
                "dimensionsSpec": {"dimensions": ["page"]},
                "metricsSpec": [],
                "granularitySpec": spec,
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputSource": {"type": "inline", "data": data},
                "inputFormat": {"type": "json"},
            },
            "tuningConfig": {"type": "index_parallel"},
        },
        **({} if context is None else {"context": context}),
    }


def kill(task_id: str, interval: str, data_source: str = "web") -> dict[str, Any]:
    return {"type": "kill", "id": task_id, "dataSource": data_source, "interval": interval}
