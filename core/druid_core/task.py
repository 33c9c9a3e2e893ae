"""
Tasks: what is submitted, checked once, and stored.

`parse_task` is the one door. What comes out has every default filled in; `to_wire` prints it as Druid prints a task
that it has accepted, key for key.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import AfterValidator, ValidationError

from druid_core.any_task import FORCE_TIME_CHUNK_LOCK, JAVA_PACKAGE, BaseTask
from druid_core.errors import InvalidInput, InvalidTask, NotSupportedYet
from druid_core.instant import parse_instant
from druid_core.interval import Interval
from druid_core.java_order import copied_capacity, grown_capacity, hash_order
from druid_core.java_task import JavaTask, java_task
from druid_core.redaction import without_secrets
from druid_core.spec.ingestion import IndexIngestionSpec, IngestionMode, IngestionSpec, ParallelIndexIngestionSpec
from druid_core.spec.input import ALLOWED_HTTP_HEADERS, TRUSTED
from druid_core.spec.jackson import Int, PrimitiveLong, Text, Texts, UnreadableValue, refuse
from druid_core.spec.type_ids import TypeIds
from druid_core.supervisor_type import SUPERVISOR_PATH, SUPERVISOR_TYPES
from druid_core.task_id import check_storable, new_noop_id, new_task_id
from druid_core.task_type import SUPPORTED_TYPES
from druid_core.wire import what_is_wrong

LINEAGE_BASED_ALLOCATION = "useLineageBasedSegmentAllocation"
"""Context key. Druid: SinglePhaseParallelIndexTaskRunner.CTX_USE_LINEAGE_BASED_SEGMENT_ALLOCATION_KEY"""

NOOP_RUN_TIME_MS = 2500
"""How long a noop runs that does not say. Druid: NoopTask"""


class NoopTask(BaseTask):
    """Does nothing for `run_time` milliseconds. Druid: NoopTask"""

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.NoopTask"
    wire_order: ClassVar[tuple[str, ...]] = ("type", "id", "group_id", "data_source", "run_time", "context", "resource")

    type: Literal["noop"] = "noop"
    data_source: Text = "none"
    run_time: Annotated[PrimitiveLong, AfterValidator(lambda ms: ms or NOOP_RUN_TIME_MS)] = NOOP_RUN_TIME_MS

    def check(self) -> None:
        super().check()
        check_storable("dataSource", self.data_source, self.java_class)


class KillTask(BaseTask):
    """
    Deletes unused segments that lie inside `interval`, rows first, then files. Druid: KillUnusedSegmentsTask

    `limit` segments at most, `batch_size` at a time; only those of `versions`, and only those that became unused up to
    `max_used_status_last_updated_time` (milliseconds), where these are given.
    """

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.KillUnusedSegmentsTask"
    default_priority: ClassVar[int] = 0
    wire_order: ClassVar[tuple[str, ...]] = (
        "type",
        "id",
        "data_source",
        "interval",
        "versions",
        "context",
        "batch_size",
        "limit",
        "max_used_status_last_updated_time",
        "group_id",
        "resource",
    )

    type: Literal["kill"] = "kill"
    data_source: Text
    interval: Interval
    versions: Texts | None = None
    batch_size: Int = 100
    limit: Int | None = None
    max_used_status_last_updated_time: Text | None = None

    def check(self) -> None:
        check_storable("dataSource", self.data_source, self.java_class)
        super().check()
        if self.interval.is_empty:
            self.refuse("interval empty")
        if self.batch_size <= 0:
            self.refuse(f"batchSize[{self.batch_size}] must be a positive integer.")
        if self.limit is not None and self.limit <= 0:
            self.refuse(f"limit[{self.limit}] must be a positive integer.")
        if self.max_used_status_last_updated_time is not None:
            try:
                parse_instant(self.max_used_status_last_updated_time)
            except InvalidInput as error:
                raise UnreadableValue(str(error), f'{self.java_class}["maxUsedStatusLastUpdatedTime"]') from error


class BatchTask(BaseTask):
    """What `index` and `index_parallel` have in common."""

    spec: IngestionSpec

    @property
    def data_source(self) -> str:
        """The datasource that is written."""
        return self.spec.data_schema.data_source

    @property
    def mode(self) -> IngestionMode:
        """What becomes of the segments that are there."""
        return self.spec.io_config.mode


class IndexTask(BatchTask):
    """Ingests within one process. Druid: IndexTask"""

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.IndexTask"
    wire_order: ClassVar[tuple[str, ...]] = ("type", "id", "resource", "spec", "context", "group_id", "data_source")

    type: Literal["index"] = "index"


class IndexParallelTask(BatchTask):
    """Ingests, with sub-tasks where its tuning asks for them. Druid: ParallelIndexSupervisorTask"""

    java_class: ClassVar[str] = f"{JAVA_PACKAGE}.batch.parallel.ParallelIndexSupervisorTask"
    wire_order: ClassVar[tuple[str, ...]] = ("type", "id", "group_id", "resource", "spec", "context", "data_source")

    type: Literal["index_parallel"] = "index_parallel"

    @property
    def forces_time_chunk_lock(self) -> bool:
        """Who overwrites without naming intervals must lock what he finds, whole."""
        return self.mode is not IngestionMode.APPEND and not self.spec.data_schema.granularity_spec.intervals


Task = IndexTask | IndexParallelTask | NoopTask | KillTask | JavaTask

_TYPE = TypeIds(
    f"{JAVA_PACKAGE}.Task",
    SUPPORTED_TYPES,
    noun="Task",
    known=(
        "archive",
        "compact",
        "index_hadoop",
        "index_kafka",
        "index_kinesis",
        "index_sub",
        "move",
        "partial_dimension_cardinality",
        "partial_dimension_distribution",
        "partial_index_generate",
        "partial_index_generic_merge",
        "partial_range_index_generate",
        "query_controller",
        "query_worker",
        "restore",
        "single_phase_sub_task",
    ),
    shown=(
        "archive",
        "compact",
        "index",
        "index_hadoop",
        "index_parallel",
        "index_sub",
        "kill",
        "move",
        "noop",
        "partial_dimension_cardinality",
        "partial_dimension_distribution",
        "partial_index_generate",
        "partial_index_generic_merge",
        "partial_range_index_generate",
        "restore",
        "single_phase_sub_task",
    ),
)


def parse_task(
    raw: object,
    now_ms: int,
    *,
    allowed_http_headers: frozenset[str] = frozenset(),
    java_types: Collection[str] = (),
) -> Task:
    """
    A task from the JSON value that was posted; an id is made where none was given.

    `allowed_http_headers` are the request headers, in lower case, that an http inputSource may set (Druid:
    druid.ingestion.http.allowedHeaders, by default none). A task of one of `java_types` may ask for what Druid has and
    this product has not: it comes out as a `JavaTask`. Raises InvalidTask with what Druid would answer.
    """
    return _parse(raw, now_ms, {ALLOWED_HTTP_HEADERS: allowed_http_headers}, java_types)


def load_task(raw: object, *, java_types: Collection[str] = ()) -> Task:
    """
    A task from its stored payload, as `to_wire` printed it; `java_types` as in `parse_task`.

    Raises InvalidTask for a payload that no version of this product has accepted.
    """
    return _parse(raw, 0, {TRUSTED: True}, java_types)


def inject_context(task: Task, default_context: Mapping[str, Any], *, force_time_chunk_lock: bool = True) -> Task:
    """
    The task as it is stored: the Overlord's context entries added where the task has none of its own.

    Twice is once. Druid: TaskQueue.add and its TaskLockConfig, DefaultTaskConfig
    """
    context = task.context
    added = {FORCE_TIME_CHUNK_LOCK: force_time_chunk_lock, **default_context, LINEAGE_BASED_ALLOCATION: True}
    if all(key in context for key in added):
        return task
    # an index_parallel has put its own key into the map before the Overlord did
    posted = len(context) - (task.forces_time_chunk_lock and next(reversed(context), None) == FORCE_TIME_CHUNK_LOCK)
    together = {**added, **context}
    in_order = [*context, *(key for key in added if key not in context)]
    capacity = grown_capacity(copied_capacity(posted), len(in_order))
    return task.with_context({key: together[key] for key in hash_order(in_order, capacity)})


def redacted(task_wire: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a task with passwords, keys and request headers covered; for everyone but the task's own peon."""
    return cast("dict[str, Any]", without_secrets(task_wire))


def _parse(raw: object, now_ms: int, validation: dict[str, Any], java_types: Collection[str]) -> Task:
    try:
        _refuse_supervisor(raw)
        try:
            return _own_task(raw, now_ms, validation)
        except NotSupportedYet:
            fields = cast("dict[str, Any]", raw)
            if fields["type"] not in java_types:
                raise
            return java_task(fields, now_ms)
    except InvalidTask:
        raise
    except InvalidInput as error:
        raise InvalidTask(str(error)) from error
    except ValidationError as error:
        fields = cast("dict[str, Any]", raw)  # what is no object is refused before
        path, words = what_is_wrong(error, fields.get("spec") if _is_of_spec(error) else fields)
        raise InvalidTask(f"Cannot read field [{path}]: {words}") from error


def _is_of_spec(error: ValidationError) -> bool:
    """A spec is read by itself; nothing of a task outside of it has such a field."""
    return error.errors(include_url=False)[0]["loc"][:1] in (("dataSchema",), ("ioConfig",), ("tuningConfig",))


def _own_task(raw: object, now_ms: int, validation: dict[str, Any]) -> Task:
    fields = cast("dict[str, Any]", _TYPE.read(raw))
    match fields["type"]:
        case "noop":
            return _noop(fields, now_ms)
        case "kill":
            return _kill(fields, now_ms)
        case "index":
            return _index(fields, now_ms, validation)
        case _:
            return _index_parallel(fields, now_ms, validation)


def _refuse_supervisor(raw: object) -> None:
    """Raises InvalidTask for what belongs to another door."""
    kind = cast("dict[str, Any]", raw).get("type") if isinstance(raw, dict) else None
    if isinstance(kind, str) and kind in SUPERVISOR_TYPES:
        raise InvalidTask(f"This is the spec of a supervisor, of type [{kind}]: post it to {SUPERVISOR_PATH}")


def _noop(raw: dict[str, Any], now_ms: int) -> NoopTask:
    given = raw.get("id")
    task_id = new_noop_id(now_ms) if given is None else given
    group_id = raw.get("groupId")
    return NoopTask.model_validate(
        {
            "id": task_id,
            "groupId": task_id if group_id is None else group_id,
            "dataSource": raw.get("dataSource"),
            "runTime": raw.get("runTime"),
            "context": raw.get("context"),
            "resource": {"availabilityGroup": task_id},
        }
    )


def _kill(raw: dict[str, Any], now_ms: int) -> KillTask:
    interval = raw.get("interval")
    if interval is not None:
        try:
            interval = Interval.parse(str(interval))
        except InvalidInput as error:
            raise UnreadableValue(str(error), f'{KillTask.java_class}["interval"]') from error
    for field in ("dataSource", "interval"):
        if raw.get(field) is None:
            refuse(KillTask.java_class, field)
    given = raw.get("id")
    task_id = new_task_id("kill", raw["dataSource"], now_ms, interval) if given is None else given
    return KillTask.model_validate(
        {**raw, "interval": interval, "id": task_id, "groupId": task_id, "resource": {"availabilityGroup": task_id}}
    )


def _index(raw: dict[str, Any], now_ms: int, validation: dict[str, Any]) -> IndexTask:
    spec = _ingestion_spec(IndexIngestionSpec, raw.get("spec"), validation)
    data_source = spec.data_schema.data_source
    given = raw.get("id")
    task_id = new_task_id("index", data_source, now_ms) if given is None else given
    # those that append do not stand in each other's way: one group, one lock. Druid: IndexTask.makeGroupId
    group_id = f"index_append_{data_source}" if spec.io_config.append_to_existing else task_id
    resource = raw.get("resource") or {"availabilityGroup": task_id}
    return IndexTask.model_validate(
        {"id": task_id, "groupId": group_id, "resource": resource, "spec": spec, "context": raw.get("context")}
    )


def _index_parallel(raw: dict[str, Any], now_ms: int, validation: dict[str, Any]) -> IndexParallelTask:
    spec = _ingestion_spec(ParallelIndexIngestionSpec, raw.get("spec"), validation)
    given, group_id = raw.get("id"), raw.get("groupId")
    task_id = new_task_id("index_parallel", spec.data_schema.data_source, now_ms) if given is None else given
    task = IndexParallelTask.model_validate(
        {
            "id": task_id,
            "groupId": task_id if group_id is None else group_id,
            "resource": raw.get("resource") or {"availabilityGroup": task_id},
            "spec": spec,
            "context": raw.get("context"),
        }
    )
    if task.forces_time_chunk_lock and task.context.get(FORCE_TIME_CHUNK_LOCK) is not True:
        return task.with_context({**task.context, FORCE_TIME_CHUNK_LOCK: True})
    return task


Spec = TypeVar("Spec", bound=IngestionSpec)


def _ingestion_spec(model: type[Spec], raw: object, validation: dict[str, Any]) -> Spec:
    if raw is None:
        refuse(
            model.task_class, f'Cannot invoke "{model.java_class}.getDataSchema()" because "ingestionSchema" is null'
        )
    try:
        return model.model_validate(raw, context=validation)
    except UnreadableValue as error:
        raise error.below(
            f'{model.task_class}["spec"]',
            f'{model.java_class}["dataSchema"]',
            'org.apache.druid.segment.indexing.DataSchema["granularitySpec"]',
        ) from error
