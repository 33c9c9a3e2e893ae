"""What the API page says of task endpoints: shapes of answers, parameters, examples. Never on the path of a call."""

from typing import Any

from druid_core.wire import WireModel


class TaskSubmitted(WireModel):
    """The id of the task, given or made."""

    task: str


class ShownLocation(WireModel):
    """Where the peon serves; null and -1 while there is none."""

    host: str | None
    port: int
    tls_port: int


class TaskStatusPlus(WireModel):
    """A task as lists show it. Druid: TaskStatusPlus"""

    id: str
    group_id: str
    type: str
    created_time: str
    queue_insertion_time: str
    status_code: str
    """RUNNING from submission on, then SUCCESS or FAILED."""
    status: str
    """The same again."""
    runner_status_code: str
    """WAITING for locks, PENDING for a slot, RUNNING, or NONE when finished."""
    duration: int
    """Milliseconds; -1 until finished, and after a shutdown."""
    location: ShownLocation
    data_source: str
    error_msg: str | None


class TaskStatusAnswer(WireModel):
    task: str
    status: TaskStatusPlus


class TaskPayloadAnswer(WireModel):
    task: str
    payload: dict[str, Any]
    """The task as it is stored, with all defaults filled in and passwords hidden."""


class DruidExceptionBody(WireModel):
    """An error. Druid: DruidException"""

    error: str = "druidException"
    error_code: str
    persona: str
    category: str
    error_message: str
    context: dict[str, str] = {}


class PlainError(WireModel):
    """An error in Druid's other shape."""

    error: str


NOOP_EXAMPLE: dict[str, Any] = {"type": "noop", "runTime": 1000}

INDEX_PARALLEL_EXAMPLE: dict[str, Any] = {
    "type": "index_parallel",
    "spec": {
        "dataSchema": {
            "dataSource": "example",
            "timestampSpec": {"column": "time", "format": "iso"},
            "dimensionsSpec": {"dimensions": ["page", {"type": "long", "name": "added"}]},
            "metricsSpec": [],
            "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": False},
        },
        "ioConfig": {
            "type": "index_parallel",
            "inputSource": {"type": "inline", "data": '{"time":"2026-01-01T00:00:00Z","page":"Oak","added":7}'},
            "inputFormat": {"type": "json"},
        },
        "tuningConfig": {"type": "index_parallel"},
    },
}

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {
        "description": "No task has this id.",
        "content": {"text/plain": {"example": "Cannot find any task with id: [noop_x]"}},
    }
}

STORAGE_AWAY: dict[int | str, dict[str, Any]] = {
    503: {"description": "Log storage does not answer; `Retry-After` says when to ask again."},
}


def parameter(name: str, description: str, kind: str = "string", example: object = None) -> dict[str, Any]:
    """One query parameter for the API page."""
    shown: dict[str, Any] = {"name": name, "in": "query", "description": description, "schema": {"type": kind}}
    if example is not None:
        shown["example"] = example
    return shown


SUBMIT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
                "examples": {
                    "noop": {"summary": "A task that does nothing for a second", "value": NOOP_EXAMPLE},
                    "index_parallel": {"summary": "One row from the request itself", "value": INDEX_PARALLEL_EXAMPLE},
                },
            }
        },
    }
}

STATUS_IDS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": {"type": "string"}},
                "example": ["noop_2026-01-01T00:00:00.000Z_00000000-0000-0000-0000-000000000000"],
            }
        },
    }
}

_DATA_SOURCE = parameter("datasource", "Only tasks of this datasource.")
_TYPE = parameter("type", "Only tasks of this type.", example="index_parallel")
_WINDOW = parameter(
    "createdTimeInterval",
    "Only tasks created in this interval, `_` or `/` between its parts. Without it: finished tasks of the last day.",
    example="2026-01-01_2026-01-02",
)
_MAX = parameter("max", "At most so many finished tasks; `n` says the same.", "integer", 100)

_LIMIT = parameter("limit", "A page of at most so many tasks; not Druid's.", "integer", 100)
_AFTER = parameter("after", "With `limit`: the id of the last task of the page before; not Druid's.")

LIST: dict[str, Any] = {
    "parameters": [
        parameter("state", "pending, waiting, running or complete, in any case.", example="running"),
        _DATA_SOURCE,
        _WINDOW,
        _MAX,
        _TYPE,
        _LIMIT,
        _AFTER,
    ]
}
LIST_OF_STATE: dict[str, Any] = {"parameters": [_DATA_SOURCE, _WINDOW, _MAX, _TYPE, _LIMIT, _AFTER]}
