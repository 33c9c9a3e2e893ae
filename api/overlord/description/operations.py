"""
What is to be said of single operations beside their routes: bodies, query parameters, answers of their own.

One table, by method and path. What all operations of a kind have in common stands in `document`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from druid_core.action import TaskAction
from druid_core.compaction import ClusterCompactionConfig, DataSourceCompactionConfig
from druid_core.runner import AttemptReport, RunnerAnnouncement
from druid_core.wire import WireModel
from overlord.access import RawPermission
from overlord.action.lock_listing import LockFilter
from overlord.description import answers
from overlord.description.answers import Answer, called_json, of_json, of_text, without_body
from overlord.runner.execution import ExecutionConfig
from overlord.task.documentation import PlainError, parameter
from overlord.task.queue_config import DataSourceConfig, QueueConfig

Parameter = dict[str, Any]
"""OpenAPI: Parameter Object"""


class ActionBody(WireModel):
    """Who asks, and for what. Druid: TaskActionHolder"""

    task: "ActingTask"
    action: TaskAction


class ActingTask(WireModel):
    """Of a task that acts its id alone is read."""

    id: str


class SegmentsToMark(WireModel):
    """Either an interval, with or without versions, or ids. Druid: SegmentsToUpdateFilter"""

    interval: str | None = None
    versions: list[str] | None = None
    segment_ids: list[str] | None = None


class NewPassword(WireModel):
    """Druid: BasicAuthenticatorCredentialUpdate"""

    password: str


class SupervisorBody(WireModel):
    """A spec: of type `NoopSupervisorSpec` or `autocompact`. Druid: SupervisorSpec"""

    type: str


class WorkerConfig(WireModel):
    """Druid: DefaultWorkerBehaviorConfig"""

    select_strategy: dict[str, Any] | None = None
    auto_scaler: dict[str, Any] | None = None


class TaskGroups(WireModel):
    """Druid: HandoffTaskGroupsRequest"""

    task_group_ids: list[int]


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of one operation."""

    body: Any = None
    """The type of its JSON body; None: it reads none, or its route describes it."""
    example: Any = None
    query: Sequence[Parameter] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict[str, Answer])
    """By status; an answer here goes before any other."""


_V1 = "/druid/indexer/v1"
_SUPERVISOR = f"{_V1}/supervisor/{{spec_id}}"
_COMPACTION = f"{_V1}/compaction"
_SOURCES = f"{_V1}/datasources/{{data_source}}"
_PODS = f"{_V1}/k8s/taskrunner/executionconfig"
_WHO = "/druid-ext/basic-security/authentication/db/{authenticator}"
_WHAT = "/druid-ext/basic-security/authorization/db/{authorizer}"
_QUEUE = "/nemeton/v1/queue/config"

_DONE = {"200": without_body("Done.")}
_BAD_NUMBER = without_body("A number that is none.")
_HISTORY = (
    parameter("interval", "Changes of this time, oldest first; the last week without it.", example="2026-01-01/P1D"),
    parameter("count", "The newest so many, newest first.", "integer", 10),
)
_OF_HISTORY = Said(query=_HISTORY, answers={"404": _BAD_NUMBER, "500": answers.UNREADABLE})
_NO_SUPERVISOR = of_text("No supervisor has this id.", "application/json")
_OF_SUPERVISOR = Said(answers={"404": _NO_SUPERVISOR})
_NOT_FOR_STREAMS = {"404": _NO_SUPERVISOR, "501": answers.UNSUPPORTED}
_LIST = Said(
    answers={
        "403": of_text("The datasource asked for may not be read.", "application/json"),
        "404": _BAD_NUMBER,
        "500": answers.UNREADABLE,
    }
)
_NO_FILTER = of_text("No filter, or one that is none; which, says the body.", "application/json")
_BAD_SEGMENTS = called_json("No such filter or id, in plain text; or what is wrong in the filter, as JSON.")
_MARKED = SegmentsToMark(interval="2026-01-01/2026-01-02").model_dump(exclude_none=True)
_NO_WORKER = of_json("No worker has this name (Druid's status for it), or it cannot be read.", PlainError)

OPERATIONS: Mapping[str, Said] = {
    # tasks
    f"POST {_V1}/task": Said(answers={"406": without_body("The caller takes no JSON.")}),
    f"POST {_V1}/taskStatus": Said(answers={"400": of_text("No ids, or not a list of ids.", "application/json")}),
    f"GET {_V1}/tasks": Said(
        answers={**_LIST.answers, "400": of_text("No such state, or no such page.", "application/json")}
    ),
    f"GET {_V1}/waitingTasks": _LIST,
    f"GET {_V1}/pendingTasks": _LIST,
    f"GET {_V1}/runningTasks": _LIST,
    f"GET {_V1}/completeTasks": _LIST,
    f"GET {_V1}/task/{{task_id}}/log": Said(answers={"404": without_body("No such task, or no log, or no offset.")}),
    f"GET {_V1}/task/{{task_id}}/reports": Said(
        answers={"404": of_text("No such task, or no reports.", "application/json")}
    ),
    f"POST {_V1}/sampler": Said(body=dict[str, Any], answers={"501": answers.UNSUPPORTED}),
    f"POST {_V1}/action": Said(
        body=ActionBody,
        example={"task": {"id": "noop_x"}, "action": {"type": "lockList"}},
        answers={
            "200": of_json("`result` is the action's own; for a lock that is not to be had it is null."),
            "500": of_json("The action is refused, in Druid's words, to whoever shows no task's token.", PlainError),
        },
    ),
    f"POST {_V1}/lockedIntervals/v2": Said(
        body=list[LockFilter], example=[{"datasource": "web", "priority": 0}], answers={"400": _NO_FILTER}
    ),
    f"POST {_V1}/activeLocks": Said(
        body=list[LockFilter], example=[{"datasource": "web", "priority": 0}], answers={"400": _NO_FILTER}
    ),
    # segments
    f"POST {_SOURCES}": Said(body=dict[str, Any], example={}),
    f"POST {_SOURCES}/markUsed": Said(body=SegmentsToMark, example=_MARKED, answers={"400": _BAD_SEGMENTS}),
    f"POST {_SOURCES}/markUnused": Said(body=SegmentsToMark, example=_MARKED, answers={"400": _BAD_SEGMENTS}),
    f"POST {_SOURCES}/segments/{{segment_id}}": Said(answers={"400": _BAD_SEGMENTS}),
    f"DELETE {_SOURCES}/segments/{{segment_id}}": Said(answers={"400": _BAD_SEGMENTS}),
    # supervisors
    f"GET {_V1}/supervisor": Said(
        query=(
            parameter("full", "With the specs."),
            parameter("state", "`true`: with their states."),
            parameter("system", "With the specs as texts."),
        )
    ),
    f"POST {_V1}/supervisor": Said(
        body=SupervisorBody, example={"type": "NoopSupervisorSpec", "id": "example", "dataSources": ["example"]}
    ),
    f"GET {_SUPERVISOR}": _OF_SUPERVISOR,
    f"GET {_SUPERVISOR}/status": _OF_SUPERVISOR,
    f"GET {_SUPERVISOR}/stats": _OF_SUPERVISOR,
    f"GET {_SUPERVISOR}/parseErrors": _OF_SUPERVISOR,
    f"GET {_SUPERVISOR}/health": Said(
        answers={
            "404": _NO_SUPERVISOR,
            "503": of_json("It does not do what its spec says, or the database is away."),
        }
    ),
    f"GET {_SUPERVISOR}/history": Said(
        query=(parameter("count", "The newest so many.", "integer", 10),),
        answers={"404": without_body("It never was; or the count is none.")},
    ),
    f"POST {_SUPERVISOR}/suspend": _OF_SUPERVISOR,
    f"POST {_SUPERVISOR}/resume": _OF_SUPERVISOR,
    f"POST {_SUPERVISOR}/terminate": _OF_SUPERVISOR,
    f"POST {_SUPERVISOR}/shutdown": _OF_SUPERVISOR,
    f"POST {_SUPERVISOR}/reset": Said(answers=_NOT_FOR_STREAMS),
    f"POST {_SUPERVISOR}/resetOffsets": Said(answers=_NOT_FOR_STREAMS),
    f"POST {_SUPERVISOR}/taskGroups/handoff": Said(body=TaskGroups, answers=_NOT_FOR_STREAMS),
    # compaction
    f"POST {_COMPACTION}/config/cluster": Said(body=ClusterCompactionConfig, example={"maxCompactionTaskSlots": 4}),
    f"POST {_COMPACTION}/config/datasources/{{data_source}}": Said(
        body=DataSourceCompactionConfig, example={"dataSource": "example"}
    ),
    f"GET {_COMPACTION}/config/datasources/{{data_source}}/history": _OF_HISTORY,
    f"POST {_COMPACTION}/simulate": Said(body=ClusterCompactionConfig, example={"maxCompactionTaskSlots": 4}),
    # workers
    f"POST {_V1}/worker/{{host}}/enable": Said(answers={"500": _NO_WORKER}),
    f"POST {_V1}/worker/{{host}}/disable": Said(answers={"500": _NO_WORKER}),
    f"GET {_V1}/scaling": Said(answers={"200": called_json("Nothing: there is no autoscaler.")}),
    f"GET {_V1}/worker": Said(answers={"200": called_json("The configuration; nothing while none was set.")}),
    f"POST {_V1}/worker": Said(body=WorkerConfig, example={"selectStrategy": None}, answers=_DONE),
    f"GET {_V1}/worker/history": _OF_HISTORY,
    f"GET {_PODS}": Said(answers={"200": called_json("The configuration; nothing while none was set.")}),
    f"POST {_PODS}": Said(body=ExecutionConfig, example={"type": "default", "capacity": 8}, answers=_DONE),
    f"GET {_PODS}/history": _OF_HISTORY,
    # the queue and runners
    f"POST {_QUEUE}": Said(body=QueueConfig, example={"maxSlots": 8}, answers=_DONE),
    f"GET {_QUEUE}/history": _OF_HISTORY,
    f"POST {_QUEUE}/datasources/{{data_source}}": Said(body=DataSourceConfig, example={"paused": True}, answers=_DONE),
    f"DELETE {_QUEUE}/datasources/{{data_source}}": Said(answers=_DONE),
    "POST /nemeton/v1/runner/announce": Said(body=RunnerAnnouncement),
    "POST /nemeton/v1/runner/assignments": Said(
        body=RunnerAnnouncement, query=(parameter("wait", "Seconds, 30 at most; 0 without it.", "number", 1),)
    ),
    "POST /nemeton/v1/runner/report": Said(body=list[AttemptReport]),
    # users and roles
    f"POST {_WHO}/users/{{user}}": Said(answers=_DONE),
    f"DELETE {_WHO}/users/{{user}}": Said(answers=_DONE),
    f"POST {_WHO}/users/{{user}}/credentials": Said(body=NewPassword, example={"password": "…"}, answers=_DONE),
    f"GET {_WHAT}/users/{{user}}": Said(query=(parameter("full", "With what the roles allow."),)),
    f"POST {_WHAT}/users/{{user}}": Said(answers=_DONE),
    f"DELETE {_WHAT}/users/{{user}}": Said(answers=_DONE),
    f"POST {_WHAT}/users/{{user}}/roles/{{role}}": Said(answers=_DONE),
    f"DELETE {_WHAT}/users/{{user}}/roles/{{role}}": Said(answers=_DONE),
    f"GET {_WHAT}/roles/{{role}}": Said(query=(parameter("full", "With who has it."),)),
    f"POST {_WHAT}/roles/{{role}}": Said(answers=_DONE),
    f"DELETE {_WHAT}/roles/{{role}}": Said(answers=_DONE),
    f"POST {_WHAT}/roles/{{role}}/permissions": Said(
        body=list[RawPermission],
        example=[{"resource": {"name": "web.*", "type": "DATASOURCE"}, "action": "READ"}],
        answers=_DONE,
    ),
    # the node
    f"GET {_V1}/leader": Said(answers={"200": called_json("A URL, bare.")}),
    "GET /status/selfDiscovered": Said(answers={"200": called_json("Nothing.")}),
    "GET /druid-internal/v1/httpRemoteTaskRunner/{view}": Said(
        answers={"200": without_body("Never here."), "403": of_text("Druid's words.", "application/json")}
    ),
    "GET /metrics": Said(
        answers={"200": of_text("In the format asked for.", "application/openmetrics-text")},
    ),
}
