"""
How a cluster and its datasources are to be compacted: what is set, checked once, and stored.

The stored form is Druid's, under Druid's key, because a Coordinator reads it there.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.granularity import parse_granularity
from druid_core.interval import add_period
from druid_core.task_id import check_name
from druid_core.wire import WireModel, camel

MAX_INT = 2_147_483_647

NOT_SCHEDULED = "Compaction is not scheduled by this Overlord: a Coordinator does it, and tells how far it is"

DEFAULT_INPUT_SEGMENT_SIZE_BYTES = 100_000_000_000_000
"""Druid: DataSourceCompactionConfig.DEFAULT_INPUT_SEGMENT_SIZE_BYTES"""


def _period(text: object) -> str:
    try:
        add_period(0, str(text))
    except InvalidInput as error:
        raise ValueError(str(error)) from error
    return str(text)


def _granularities(fields: dict[str, Any]) -> dict[str, Any]:
    for name in ("segmentGranularity", "queryGranularity"):
        if fields.get(name) is not None:
            try:
                parse_granularity(fields[name], name)
            except InvalidInput as error:
                words = f"{name} [{fields[name]}] is no granularity: expected a name such as DAY, or an ISO-8601 period"
                raise ValueError(words) from error
    return fields


def _left_to_the_coordinator(use_supervisors: bool) -> bool:
    if use_supervisors:
        raise ValueError("this Overlord schedules no compaction yet, so it must be false: a Coordinator does it then")
    return False


def _without_queries(engine: str) -> str:
    if engine == "msq":
        raise ValueError("MSQ Compaction engine can be used only with compaction supervisors.")
    return engine


def _policy(fields: dict[str, Any]) -> dict[str, Any]:
    kind = fields.get("type")
    if kind not in _POLICIES:
        raise ValueError(f"its type [{kind}] is none of {', '.join(_POLICIES)}")
    return {name: value for name, value in fields.items() if value is not None}


_POLICIES = ("fixedIntervalOrder", "mostFragmentedFirst", "newestSegmentFirst")
"""Druid: CompactionCandidateSearchPolicy"""


def _tuning(fields: dict[str, Any]) -> dict[str, Any]:
    """With the fields that Druid prints although nobody set them."""
    own = {"type": "index_parallel", "forceGuaranteedRollup": bool(fields.get("forceGuaranteedRollup"))}
    return {**{name: fields.get(name) for name in _TUNING}, **own}


def _only(*names: str) -> AfterValidator:
    """Without what Druid does not know and what is null."""
    return AfterValidator(lambda fields: {name: fields[name] for name in names if fields.get(name) is not None})


Engine = Annotated[
    Literal["native", "msq"], BeforeValidator(lambda text: text.lower() if isinstance(text, str) else text)
]
Fields = dict[str, Any]

_TUNING = (
    "maxRowsInMemory",
    "appendableIndexSpec",
    "maxBytesInMemory",
    "maxTotalRows",
    "splitHintSpec",
    "partitionsSpec",
    "indexSpec",
    "indexSpecForIntermediatePersists",
    "maxPendingPersists",
    "pushTimeout",
    "segmentWriteOutMediumFactory",
    "maxNumConcurrentSubTasks",
    "maxRetry",
    "taskStatusCheckPeriodMs",
    "chatHandlerTimeout",
    "chatHandlerNumRetries",
    "maxNumSegmentsToMerge",
    "totalNumMergeTasks",
    "maxColumnsToMerge",
)
"""Druid: UserCompactionTaskQueryTuningConfig"""


class _Model(WireModel):
    """A null is as good as nothing."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        return {name: value for name, value in cast("Fields", raw).items() if value is not None}


class DataSourceCompactionConfig(_Model):
    """How one datasource is to be compacted. Druid: InlineSchemaDataSourceCompactionConfig"""

    type: Annotated[str, AfterValidator(lambda _: "inline")] = "inline"
    """Whatever is given, as in Druid."""
    data_source: str
    task_priority: int = 25
    input_segment_size_bytes: int = DEFAULT_INPUT_SEGMENT_SIZE_BYTES
    max_rows_per_segment: int | None = None
    skip_offset_from_latest: Annotated[str, BeforeValidator(_period)] = "P1D"
    tuning_config: Annotated[Fields, AfterValidator(_tuning)] | None = None
    granularity_spec: (
        Annotated[Fields, AfterValidator(_granularities), _only("segmentGranularity", "queryGranularity", "rollup")]
        | None
    ) = None
    dimensions_spec: Annotated[Fields, _only("dimensions")] | None = None
    metrics_spec: list[Fields] | None = None
    transform_spec: Fields | None = None
    projections: list[Fields] | None = None
    io_config: Annotated[Fields, _only("dropExisting")] | None = None
    engine: Engine | None = None
    task_context: Fields | None = None

    @model_validator(mode="after")
    def _has_a_usable_name(self) -> Self:
        check_name("dataSource", self.data_source, "compaction config")
        return self


class ClusterCompactionConfig(_Model):
    """How much of the cluster compaction may use. Druid: ClusterCompactionConfig"""

    compaction_task_slot_ratio: float = Field(default=0.1, ge=0)
    max_compaction_task_slots: int = Field(default=MAX_INT, ge=0, le=MAX_INT)
    compaction_policy: Annotated[Fields, AfterValidator(_policy)] = {"type": "newestSegmentFirst"}
    """Which time is compacted first; but for its type it is the Coordinator's to understand."""
    use_supervisors: Annotated[bool, AfterValidator(_left_to_the_coordinator)] = False
    engine: Annotated[Engine, AfterValidator(_without_queries)] = "native"
    store_compaction_state_per_segment: bool = True


Config = TypeVar("Config", bound=_Model)


def parse_datasource_config(raw: object) -> DataSourceCompactionConfig:
    """From the JSON value that was posted. Raises InvalidTask naming the field."""
    return _parse(DataSourceCompactionConfig, raw, "compaction config")


def parse_cluster_config(raw: object) -> ClusterCompactionConfig:
    """From the JSON value that was posted; what is left out has its default. Raises InvalidTask naming the field."""
    return _parse(ClusterCompactionConfig, raw, "cluster compaction config")


def stored_cluster_config(stored: Mapping[str, Any]) -> ClusterCompactionConfig:
    """The cluster's part of what is stored, by whomever; a field that cannot be read counts as not set."""
    readable: dict[str, Any] = {}
    for name in ClusterCompactionConfig.model_fields:
        field = {camel(name): stored.get(camel(name))}
        try:
            parse_cluster_config(field)
        except InvalidTask:
            continue
        readable |= field
    return parse_cluster_config(readable)


def _parse(model: type[Config], raw: object, what: str) -> Config:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise InvalidTask(f"Cannot construct instance of `{what}`, problem: {where}") from error
        raise InvalidTask(f"Cannot read {where or 'the body'} of the {what}, problem: {words}") from error


def snapshot(data_source: str, message: str = NOT_SCHEDULED) -> dict[str, Any]:
    """How far a datasource's compaction is: it is not scheduled here. Druid: AutoCompactionSnapshot"""
    counts = {
        f"{what}{state}": 0
        for what in ("bytes", "segmentCount", "intervalCount")
        for state in ("AwaitingCompaction", "Compacted", "Skipped")
    }
    return {"dataSource": data_source, "scheduleStatus": "NOT_ENABLED", "message": message, **counts}
