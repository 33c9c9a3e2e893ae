"""The whole of an ingestion spec: dataSchema, ioConfig and tuningConfig, and what they must be to each other."""

from enum import StrEnum
from typing import Any, ClassVar, Literal, cast

from pydantic import Field

from druid_core.errors import NotSupportedYet
from druid_core.spec.input import INPUT_SOURCE_TYPES, InputFormat, InputSource
from druid_core.spec.jackson import Bool, SpecModel, refuse
from druid_core.spec.schema import DataSchema
from druid_core.spec.segment_source import DruidSource
from druid_core.spec.tuning import (
    DynamicPartitionsSpec,
    HashedPartitionsSpec,
    IndexTuningConfig,
    ParallelIndexTuningConfig,
)
from druid_core.spec.type_ids import TypeIds

_TASK = "org.apache.druid.indexing.common.task"
_PARALLEL = f"{_TASK}.batch.parallel"


class IngestionMode(StrEnum):
    """What becomes of the segments that are there. Druid: AbstractTask.IngestionMode"""

    APPEND = "APPEND"  # they stay, new ones come beside them
    REPLACE = "REPLACE"  # all in the intervals go, tombstones where no new rows are
    REPLACE_LEGACY = "REPLACE_LEGACY"  # those go whose chunk of time gets new rows


class IOConfig(SpecModel):
    """
    Where rows come from, and what becomes of those that are there.

    Druid: ParallelIndexIOConfig, IndexTask.IndexIOConfig
    """

    java_class: ClassVar[str] = f"{_PARALLEL}.ParallelIndexIOConfig"

    type: Literal["index", "index_parallel"]
    input_source: InputSource
    input_format: InputFormat | None = None
    """None for a source that brings its own."""
    append_to_existing: Bool = False
    drop_existing: Bool = False

    @property
    def mode(self) -> IngestionMode:
        """Druid: AbstractTask.computeBatchIngestionMode"""
        if self.append_to_existing:
            return IngestionMode.APPEND
        return IngestionMode.REPLACE if self.drop_existing else IngestionMode.REPLACE_LEGACY


class IngestionSpec(SpecModel):
    """What `index` and `index_parallel` have in common."""

    task_class: ClassVar[str]
    """The Java class of the task that this is the spec of."""
    task_type: ClassVar[str]
    """The type that ioConfig and tuningConfig must have too."""
    io_types: ClassVar[TypeIds]
    tuning_types: ClassVar[TypeIds]

    data_schema: DataSchema
    io_config: IOConfig
    tuning_config: IndexTuningConfig | ParallelIndexTuningConfig = Field(discriminator="type")

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        io, tuning = raw.get("ioConfig"), raw.get("tuningConfig")
        if io is None:
            io_class = cls.java_class.replace("IngestionSpec", "IOConfig")
            refuse(cls.java_class, f'Cannot invoke "{io_class}.getInputSource()" because "ioConfig" is null')
        io = cls.io_types.read(io)
        if isinstance(io, dict):
            cls._require_input(cast("dict[str, Any]", io))
        if raw.get("dataSchema") is None:
            refuse(
                cls.task_class,
                'Cannot invoke "org.apache.druid.segment.indexing.DataSchema.getDataSource()" because the return value '
                f'of "{cls.java_class}.getDataSchema()" is null',
            )
        return {
            "dataSchema": raw["dataSchema"],
            "ioConfig": io,
            "tuningConfig": {"type": cls.task_type} if tuning is None else cls.tuning_types.read(tuning),
        }

    @classmethod
    def _require_input(cls, io: dict[str, Any]) -> None:
        """A source of a type that is not here is told so first: it may be one that needs no format."""
        if io.get("inputSource") is None:
            refuse(cls.java_class, "inputSource must not be null")
        source = INPUT_SOURCE_TYPES.read(io["inputSource"])
        brings_format = source.get("type") == "druid" if isinstance(source, dict) else isinstance(source, DruidSource)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if io.get("inputFormat") is None and not brings_format:
            refuse(cls.java_class, "inputFormat must not be null")

    def check(self) -> None:
        io = self.io_config
        if io.append_to_existing and io.drop_existing:
            refuse(
                self.task_class,
                "Cannot simultaneously replace and append to existing segments. "
                "Either dropExisting or appendToExisting should be set to false",
            )
        if io.mode is IngestionMode.REPLACE and not self.data_schema.granularity_spec.intervals:
            how = "for" if self.task_type == "index" else "when using"
            refuse(self.task_class, f"GranularitySpec's intervals cannot be empty {how} replace.")
        if self.tuning_config.force_guaranteed_rollup and io.append_to_existing:
            refuse(self.task_class, "Perfect rollup cannot be guaranteed when appending to existing dataSources")

    def check_what_is_here(self) -> None:
        """Refuse what Druid would take and no peon can do yet. Comes last, after Druid's own objections."""
        tuning = self.tuning_config
        partitions = tuning.given_or_default_partitions_spec
        if not isinstance(partitions, DynamicPartitionsSpec):
            raise NotSupportedYet(f"partitionsSpec type [{partitions.type}]", ("dynamic",))
        if tuning.await_segment_availability_timeout_millis:
            raise NotSupportedYet("awaitSegmentAvailabilityTimeoutMillis other than 0")


class IndexIngestionSpec(IngestionSpec):
    """Of an `index` task. Druid: IndexTask.IndexIngestionSpec"""

    java_class: ClassVar[str] = f"{_TASK}.IndexTask$IndexIngestionSpec"
    task_class: ClassVar[str] = f"{_TASK}.IndexTask"
    task_type: ClassVar[str] = "index"
    io_types: ClassVar[TypeIds] = TypeIds(
        f"{_TASK}.IndexTask$IndexIOConfig", ("index",), noun="ioConfig", property_name="ioConfig"
    )
    tuning_types: ClassVar[TypeIds] = TypeIds(
        IndexTuningConfig.java_class, ("index",), noun="tuningConfig", property_name="tuningConfig"
    )

    def check(self) -> None:
        super().check()
        spec = self.tuning_config.partitions_spec
        if spec is not None and not isinstance(spec, DynamicPartitionsSpec | HashedPartitionsSpec):
            refuse(self.task_class, f"partitionsSpec[{type(spec).java_class}] is not supported")
        self.check_what_is_here()


class ParallelIndexIngestionSpec(IngestionSpec):
    """Of an `index_parallel` task. Druid: ParallelIndexIngestionSpec"""

    java_class: ClassVar[str] = f"{_PARALLEL}.ParallelIndexIngestionSpec"
    task_class: ClassVar[str] = f"{_PARALLEL}.ParallelIndexSupervisorTask"
    task_type: ClassVar[str] = "index_parallel"
    io_types: ClassVar[TypeIds] = TypeIds(
        IOConfig.java_class, ("index_parallel",), noun="ioConfig", property_name="ioConfig"
    )
    tuning_types: ClassVar[TypeIds] = TypeIds(
        ParallelIndexTuningConfig.java_class,
        ("index_parallel",),
        noun="tuningConfig",
        property_name="tuningConfig",
    )

    def check(self) -> None:
        super().check()
        self.check_what_is_here()
