"""
Tasks for Druid's own Java peons: taken as they were posted, with what a queue must know of them read out.

Whether the rest can be run is the peon's to say. They are as Druid prints them but for defaults, which the peon knows.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from druid_core.any_task import JAVA_PACKAGE, PRIORITY, BaseTask
from druid_core.interval import Interval
from druid_core.spec.jackson import Map, Text, refuse
from druid_core.spec.schema import GranularitySpec
from druid_core.task_id import check_storable, new_task_id

SUB_TASK_TYPES = frozenset(
    {
        "single_phase_sub_task",
        "partial_dimension_cardinality",
        "partial_dimension_distribution",
        "partial_index_generate",
        "partial_index_generic_merge",
        "partial_range_index_generate",
    }
)
"""What `index_parallel` and `compact` hand in while they run. Druid: AbstractBatchSubtask"""

JAVA_TASK_TYPES = frozenset({"archive", "compact", "index", "index_parallel", "move", "restore"})
"""Whatever else may be handed to a Java peon of Druid's core."""

_PRIORITIES = {"compact": 25, "archive": 0, "move": 0, "restore": 0}
"""Where they are not 50. Druid: Tasks"""


class JavaTask(BaseTask):
    """A task that a Java peon reads for itself. `posted` is all of it."""

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.Task"

    type: Text
    data_source: Text
    posted: Map

    intervals: list[Interval]
    """
    What it says before it runs that it will write, in whole buckets of its segment granularity.

    Empty where that shows only later, and for sub-tasks: they write under the locks of their parent.
    """

    @property
    def priority(self) -> int:
        """See `BaseTask`."""
        value = self.context.get(PRIORITY)
        return _PRIORITIES.get(self.type, self.default_priority) if value is None else int(value)

    @property
    def appends(self) -> bool:
        """Whether what is there stays beside what it writes."""
        return _at(self.posted, "spec", "ioConfig").get("appendToExisting") is True

    @property
    def replaces_chunks(self) -> bool:
        """Whether nothing of what is there stays, even where nothing is written. Druid: IngestionMode.REPLACE"""
        return not self.appends and _at(self.posted, "spec", "ioConfig").get("dropExisting") is True

    @property
    def may_split(self) -> bool:
        """Whether it may hand in sub-tasks and wait for them, in a slot of its own."""
        if self.type not in ("compact", "index_parallel"):
            return False
        tuning = _at(self.posted, "tuningConfig") or _at(self.posted, "spec", "tuningConfig")
        if _at(tuning, "partitionsSpec").get("type") in ("range", "single_dim"):
            return True
        most = tuning.get("maxNumConcurrentSubTasks")
        return isinstance(most, int) and most > 1

    def check(self) -> None:
        super().check()
        check_storable("dataSource", self.data_source, self.java_class)

    def to_wire(self) -> dict[str, Any]:
        """As it was posted, its id, group, resource, datasource and context filled in."""
        return {
            **self.posted,
            "type": self.type,
            "id": self.id,
            "groupId": self.group_id,
            "resource": self.resource.to_wire(),
            "dataSource": self.data_source,
            "context": self.context,
        }


def java_task(posted: dict[str, Any], now_ms: int) -> JavaTask:
    """
    The task as it was posted; an id is made where none was given.

    Raises InvalidTask where it names no datasource, or something that the queue must know cannot be read.
    """
    kind = posted["type"]
    data_source = posted.get("dataSource")
    if data_source is None:
        data_source = _at(posted, "spec", "dataSchema").get("dataSource")
    if data_source is None:
        refuse(JavaTask.java_class, "dataSource")
    given, group_id = posted.get("id"), posted.get("groupId")
    task_id = new_task_id(kind, str(data_source), now_ms) if given is None else given
    return JavaTask.model_validate(
        {
            "type": kind,
            "id": task_id,
            "groupId": task_id if group_id is None else group_id,
            "resource": posted.get("resource") or {"availabilityGroup": task_id},
            "context": posted.get("context"),
            "dataSource": data_source,
            "posted": posted,
            "intervals": _intervals(kind, posted),
        }
    )


def _intervals(kind: str, posted: Mapping[str, Any]) -> list[Interval]:
    match kind:
        case "index" | "index_parallel":
            spec = _at(posted, "spec", "dataSchema", "granularitySpec")
            return GranularitySpec.model_validate(spec).covered() if spec.get("intervals") else []
        case "compact":
            interval = posted.get("interval") or _at(posted, "ioConfig", "inputSpec").get("interval")
            granularity = _at(posted, "granularitySpec").get("segmentGranularity") or posted.get("segmentGranularity")
            if interval is None:
                return []
            whole = {"type": "arbitrary"} if granularity is None else {"segmentGranularity": granularity}
            return GranularitySpec.model_validate({**whole, "intervals": [interval]}).covered()
        case "archive" | "move" | "restore":
            if posted.get("interval") is None:
                refuse(JavaTask.java_class, "interval")
            return [Interval.parse(str(posted["interval"]))]
        case _:
            return []


def _at(raw: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object at the end of the path; an empty one where there is none."""
    found: Any = raw
    for name in path:
        found = cast("Mapping[str, Any]", found).get(name) if isinstance(found, Mapping) else None
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
