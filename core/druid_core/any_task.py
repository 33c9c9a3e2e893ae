"""What all tasks have, whoever runs them."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field

from druid_core.errors import InvalidTask
from druid_core.lock import LockType
from druid_core.spec.jackson import Map, PrimitiveInt, SpecModel, Text, read_int
from druid_core.task_id import check_name, check_storable

JAVA_PACKAGE = "org.apache.druid.indexing.common.task"
"""Of the classes of tasks, for Druid's messages."""

FORCE_TIME_CHUNK_LOCK = "forceTimeChunkLock"
"""Context key: lock whole chunks of time. Druid: Tasks.FORCE_TIME_CHUNK_LOCK_KEY"""
LOCK_TIMEOUT = "taskLockTimeout"
"""Context key: how long to wait for locks, in milliseconds. Druid: Tasks.LOCK_TIMEOUT_KEY"""
LOCK_TYPE = "taskLockType"
"""Context key: how to lock, where `useConcurrentLocks` does not say it. Druid: Tasks.TASK_LOCK_TYPE"""
PRIORITY = "priority"
"""Context key. Druid: Tasks.PRIORITY_KEY"""

_MILLISECONDS = re.compile(r"[0-9]{1,18}")


class TaskResource(SpecModel):
    """Druid: TaskResource"""

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.TaskResource"

    availability_group: Text = ""
    required_capacity: PrimitiveInt = 1


class BaseTask(SpecModel):
    """What all tasks have."""

    default_priority: ClassVar[int] = 50

    id: Text
    group_id: Text
    resource: TaskResource
    context: Map = Field(default_factory=dict[str, Any])

    @property
    def priority(self) -> int:
        """Of its locks, and among the tasks that wait for a slot; the greater the sooner."""
        value = self.context.get(PRIORITY)
        return self.default_priority if value is None else int(value)

    @property
    def lock_timeout_ms(self) -> int | None:
        """How long it waits for its locks; None: as long as it takes."""
        return _read_lock_timeout(self.context)

    @property
    def forces_time_chunk_lock(self) -> bool:
        """Whether the task itself insists on locks of whole time chunks, whatever its context says."""
        return False

    def with_context(self, context: dict[str, Any]) -> Self:
        """The same task in another context."""
        return self.model_copy(update={"context": context})

    def check(self) -> None:
        check_name("task ID", self.id, self.java_class)
        check_storable("groupId", self.group_id, self.java_class)
        if self.context.get(PRIORITY) is not None:
            read_int(self.context[PRIORITY])
        _read_lock_timeout(self.context)
        _check_lock_type(self.context)


def _read_lock_timeout(context: Mapping[str, Any]) -> int | None:
    value = context.get(LOCK_TIMEOUT)
    if value is None:
        return None
    if isinstance(value, bool | float) or not _MILLISECONDS.fullmatch(str(value)):
        raise InvalidTask(f"context [{LOCK_TIMEOUT}] must be a whole number of milliseconds, not [{value}]")
    return int(value)


def _check_lock_type(context: Mapping[str, Any]) -> None:
    """Here and not in the peon, as a spec that cannot run is refused by whoever takes it."""
    value = context.get(LOCK_TYPE)
    if value is not None and str(value) not in set(LockType):
        raise InvalidTask(f"context [{LOCK_TYPE}] must be one of {', '.join(LockType)}, not [{value}]")
