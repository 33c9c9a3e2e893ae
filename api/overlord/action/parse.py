"""An action's JSON, parsed once, at the door."""

from dataclasses import dataclass
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from druid_core.action import SurrogateAction, TaskAction
from druid_core.errors import InvalidInput
from druid_core.wire import what_is_wrong

_ACTION: TypeAdapter[TaskAction] = TypeAdapter(TaskAction)

SUPPORTED = (
    "lockAcquire",
    "lockTryAcquire",
    "segmentLockAcquire",
    "segmentLockTryAcquire",
    "lockRelease",
    "lockList",
    "segmentAllocate",
    "segmentTransactionalInsert",
    "segmentTransactionalAppend",
    "segmentTransactionalReplace",
    "markSegmentsToUpgrade",
    "markSegmentsAsUnused",
    "segmentMetadataUpdate",
    "resetDataSourceMetadata",
    "checkPointDataSourceMetadata",
    "segmentListUsed",
    "segmentListUnused",
    "retrieveSegmentsById",
    "retrieveUpgradedFromSegmentIds",
    "retrieveUpgradedToSegmentIds",
    "segmentNuke",
    "updateStatus",
    "updateLocation",
    "surrogateAction",
)
"""All action types of Druid 37, by their names on the wire."""

_JAVA_CLASS = "org.apache.druid.indexing.common.actions.TaskAction"


class UnsupportedAction(InvalidInput):
    """No action type of Druid's."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """Who asks, and for what. Druid: TaskActionHolder"""

    task_id: str
    action: TaskAction


def parse_action(raw: object) -> ActionRequest:
    """
    `{"task": {"id", …}, "action": {"type", …}}`.

    Raises UnsupportedAction, or InvalidInput naming the field that is wrong.
    """
    task_id = _object(_object(raw, "the body").get("task"), "task").get("id")
    if not isinstance(task_id, str):
        raise InvalidInput("[task] must be an object with an [id]")
    fields = _object(_object(raw, "the body").get("action"), "action")
    kind = fields.get("type")
    if kind is None:
        raise UnsupportedAction(
            f"Could not resolve subtype of [simple type, class {_JAVA_CLASS}]: missing type id property 'type'"
        )
    if kind not in SUPPORTED:
        raise UnsupportedAction(
            f"Could not resolve type id '{kind}' as a subtype of `{_JAVA_CLASS}`: "
            f"known type ids = [{', '.join(SUPPORTED)}]"
        )
    try:
        return ActionRequest(task_id, _ACTION.validate_python(fields))
    except ValidationError as error:
        where, words = what_is_wrong(error, fields)
        raise InvalidInput(f"Invalid value of [{where or kind}] in action [{kind}]: {words}") from error


def innermost(action: TaskAction) -> TaskAction:
    """What is done in the end, whoever it is done for."""
    while isinstance(action, SurrogateAction):
        action = action.task_action
    return action


def _object(raw: object, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise InvalidInput(f"Missing or invalid [{name}]: expected a JSON object")
    return cast("dict[str, Any]", raw)
