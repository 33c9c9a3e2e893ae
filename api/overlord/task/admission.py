"""Who may submit a task: the right to write its datasource, and where it is asked for, to read where it reads from."""

from collections.abc import Iterator
from typing import Any, cast

from pydantic import TypeAdapter

from druid_core.errors import InvalidInput
from druid_core.input_policy import InputPolicy
from druid_core.java_task import JavaTask
from druid_core.spec.input import InputSource
from druid_core.spec.segment_source import DruidSource
from druid_core.task import IndexParallelTask, IndexTask, Task
from overlord.access import Action, Caller, data_source, input_source
from overlord.problems import AccessDenied
from overlord.settings import OverlordSettings

_INPUT_SOURCE: TypeAdapter[InputSource] = TypeAdapter(InputSource)
_CHECKED_TYPES = ("http", "local")
"""Input sources that the policy is about. What a Java peon reads besides is bounded by its own configuration."""


def check_admission(task: Task, caller: Caller, settings: OverlordSettings) -> None:
    """
    Raises AccessDenied where `caller` may not submit `task`, InvalidInput for an input source without a type.

    A peon hands in tasks of its own group and datasource: its sub-tasks. Druid: OverlordResource.taskPost
    """
    if caller.may_all:
        return
    if (own := caller.task) is not None:
        if (task.group_id, task.data_source) != (own.group_id, own.data_source):
            raise AccessDenied(
                f"{caller.name} submits tasks of group [{own.group_id}] on datasource [{own.data_source}] alone"
            )
        return
    caller.require(Action.WRITE, data_source(task.data_source))
    for name in sorted(_read_data_sources(task)):
        caller.require(Action.READ, data_source(name))
    if settings.input_source_security:
        for type_id in sorted(set(input_source_types(task.to_wire()))):
            caller.require(Action.READ, input_source(type_id))


def check_inputs(task: Task, policy: InputPolicy) -> None:
    """Raises InvalidTask where a task would read from where nobody may; a name's address is asked about by its peon."""
    match task:
        case IndexTask() | IndexParallelTask():
            policy.check(task.spec.io_config.input_source)
        case JavaTask(posted=posted):
            for raw_source in _input_sources(posted):
                if raw_source.get("type") in _CHECKED_TYPES:
                    policy.check(_INPUT_SOURCE.validate_python(raw_source))
        case _:
            pass


def _read_data_sources(task: Task) -> set[str]:
    """The datasources whose rows a task takes as input. Without a right to them it would be a way around it."""
    match task:
        case IndexTask() | IndexParallelTask():
            source = task.spec.io_config.input_source
            return {source.data_source} if isinstance(source, DruidSource) else set()
        case JavaTask(posted=posted):
            druid = (each for each in _input_sources(posted) if each.get("type") == "druid")
            return {str(name) for each in druid if (name := each.get("dataSource")) is not None}
        case _:
            return set()


def input_source_types(raw: Any) -> Iterator[str]:
    """The types of all input sources in the JSON of a task, those inside of others included."""
    for raw_source in _input_sources(raw):
        type_id = raw_source.get("type")
        if not isinstance(type_id, str):
            raise InvalidInput("An input source has no type, so nobody can say whether it may be read")
        yield type_id


def _input_sources(raw: Any) -> Iterator[dict[str, Any]]:
    if isinstance(raw, list):
        for each in cast("list[Any]", raw):
            yield from _input_sources(each)
    if not isinstance(raw, dict):
        return
    for name, value in cast("dict[str, Any]", raw).items():
        sources = [value] if name in ("inputSource", "delegate") else value if name == "delegates" else []
        for source in cast("list[Any]", sources if isinstance(sources, list) else []):
            if isinstance(source, dict):
                yield cast("dict[str, Any]", source)
        yield from _input_sources(value)
