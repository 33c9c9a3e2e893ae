"""How the work is done: memory, partitions, errors, encodings."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationError

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.interval import add_period
from druid_core.spec.index_spec import IndexSpec
from druid_core.spec.jackson import Bool, Int, Long, Map, SpecModel, read_bool
from druid_core.spec.partitions import (
    DEFAULT_ROWS_PER_SEGMENT,
    DynamicPartitionsSpec,
    HashedPartitionsSpec,
    PartitionsSpec,
    RangePartitionsSpec,
    SingleDimPartitionsSpec,
)
from druid_core.spec.type_ids import TypeIds

UNLIMITED_PARSE_EXCEPTIONS = 2**31 - 1

_PARALLEL = "org.apache.druid.indexing.common.task.batch.parallel.ParallelIndexTuningConfig"
_INDEX = "org.apache.druid.indexing.common.task.IndexTask$IndexTuningConfig"


_HUMAN_BYTES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "p": 10**15,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
    "pi": 2**50,
}


def read_human_bytes(raw: Any) -> Any:
    """Bytes of `1073741824`, `"1GiB"`, `"500M"`. Druid: HumanReadableBytes"""
    if isinstance(raw, str):
        text = raw.strip()
        digits = text.rstrip("kKmMgGtTpPiIbB")
        unit = text[len(digits) :].lower().removesuffix("b") if text[len(digits) :].lower() != "b" else "?"
        if not digits.isdigit() or unit not in _HUMAN_BYTES:
            raise InvalidTask(f"Invalid format of number: {raw}")
        return int(digits) * _HUMAN_BYTES[unit]
    return raw


class SplitHintSpec(SpecModel):
    """How much input one sub-task gets. Druid: MaxSizeSplitHintSpec, SegmentsSplitHintSpec"""

    java_class: ClassVar[str] = "org.apache.druid.data.input.MaxSizeSplitHintSpec"

    type: Literal["maxSize", "segments"] = "maxSize"
    max_split_size: Annotated[int, BeforeValidator(read_human_bytes)] = 2**30
    max_num_files: Int = 1000
    max_input_segment_bytes_per_task: Annotated[int, BeforeValidator(read_human_bytes)] = 2**30
    max_num_segments: Int = 1000

    def check(self) -> None:
        if self.max_num_files <= 0:
            self.refuse("maxNumFiles should be larger than 0")

    def to_wire(self) -> dict[str, Any]:
        if self.type == "segments":
            return {
                "type": self.type,
                "maxInputSegmentBytesPerTask": self.max_input_segment_bytes_per_task,
                "maxNumSegments": self.max_num_segments,
            }
        return {"type": self.type, "maxSplitSize": self.max_split_size, "maxNumFiles": self.max_num_files}


_SPLIT_HINTS = TypeIds(
    "org.apache.druid.data.input.SplitHintSpec",
    ("maxSize", "segments"),
    noun="splitHintSpec",
    default="maxSize",
    property_name="splitHintSpec",
)


def _read_split_hint(raw: Any) -> Any:
    """A SplitHintSpec; what is wrong inside is said with its place, which Druid's words for a number leave out."""
    try:
        return SplitHintSpec.model_validate(_SPLIT_HINTS.read(raw))
    except InvalidTask as error:
        raise InvalidTask(f"{error} (at spec.tuningConfig.splitHintSpec)") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(("splitHintSpec", *(str(step) for step in first["loc"])))
        raise InvalidTask(f"Cannot read field [spec.tuningConfig.{path}]: {first['msg']}") from error


class AppendableIndexSpec(SpecModel):
    """Druid: OnheapIncrementalIndex.Spec"""

    java_class: ClassVar[str] = "org.apache.druid.segment.incremental.OnheapIncrementalIndex$Spec"

    type: Literal["onheap"] = "onheap"
    preserve_existing_metrics: Bool = False


def _duration(raw: Any) -> Any:
    """A duration as Joda prints one, in seconds: `PT10S`."""
    if isinstance(raw, str):
        try:
            millis = add_period(0, raw)
        except InvalidInput as error:
            raise InvalidTask(str(error)) from error
    elif isinstance(raw, int):
        millis = raw
    else:
        return raw
    if millis < 0:
        raise InvalidTask(f"A duration cannot be negative: {millis} ms")
    return f"PT{millis // 1000}S" if millis % 1000 == 0 else f"PT{millis / 1000:.3f}S"


def _at_least(least: int) -> Callable[[int], int]:
    return lambda value: max(value, least)


class TuningConfig(SpecModel):
    """
    What `index` and `index_parallel` can both be told.

    `max_bytes_in_memory` 0 leaves the bound to the peon, -1 takes it away. Druid: IndexTuningConfig
    """

    appendable_index_spec: AppendableIndexSpec = AppendableIndexSpec()
    max_rows_in_memory: Int = 1_000_000
    max_bytes_in_memory: Long = 0
    skip_bytes_in_memory_overhead_check: Bool = False
    partitions_spec: PartitionsSpec | None = None
    """As given; `given_or_default_partitions_spec` is what counts."""
    index_spec: IndexSpec = IndexSpec()
    index_spec_for_intermediate_persists: IndexSpec = IndexSpec()
    max_pending_persists: Int = 0
    force_guaranteed_rollup: Bool = False
    report_parse_exceptions: Bool = False
    push_timeout: Long = 0
    segment_write_out_medium_factory: Map | None = None
    log_parse_exceptions: Bool = False
    max_parse_exceptions: Int = UNLIMITED_PARSE_EXCEPTIONS
    max_saved_parse_exceptions: Int = 0
    max_columns_to_merge: Int = -1
    await_segment_availability_timeout_millis: Annotated[Long, AfterValidator(_at_least(0))] = 0
    num_persist_threads: Annotated[Int, AfterValidator(_at_least(1))] = 1

    @property
    def given_or_default_partitions_spec(
        self,
    ) -> DynamicPartitionsSpec | HashedPartitionsSpec | RangePartitionsSpec | SingleDimPartitionsSpec:
        """The partitions that the task makes. Druid: getGivenOrDefaultPartitionsSpec"""
        if self.partitions_spec is not None:
            return self.partitions_spec
        if self.force_guaranteed_rollup:
            return HashedPartitionsSpec(max_rows_per_segment=DEFAULT_ROWS_PER_SEGMENT)
        return DynamicPartitionsSpec()

    @property
    def max_rows_per_segment(self) -> int | None:
        """The old spelling, for the payload. Druid: getMaxRowsPerSegment"""
        match self.partitions_spec:
            case None:
                return None
            case RangePartitionsSpec() as ranges:
                return ranges.resolved_max_rows
            case DynamicPartitionsSpec() | HashedPartitionsSpec() as spec:
                return spec.max_rows_per_segment

    @property
    def max_total_rows(self) -> int | None:
        """The old spelling, for the payload."""
        return self.partitions_spec.max_total_rows if isinstance(self.partitions_spec, DynamicPartitionsSpec) else None

    @property
    def num_shards(self) -> int | None:
        """The old spelling, for the payload."""
        return self.partitions_spec.num_shards if isinstance(self.partitions_spec, HashedPartitionsSpec) else None

    @property
    def partition_dimensions(self) -> list[str]:
        """The old spelling, for the payload."""
        spec = self.partitions_spec
        return spec.partition_dimensions if isinstance(spec, HashedPartitionsSpec) else []

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        changed = dict(raw)
        if "maxRowsInMemory" not in raw and "rowFlushBoundary" in raw:
            changed["maxRowsInMemory"] = raw["rowFlushBoundary"]
        if "pushTimeout" not in raw and "publishTimeout" in raw:
            changed["pushTimeout"] = raw["publishTimeout"]
        if "indexSpec" in raw and "indexSpecForIntermediatePersists" not in raw:
            changed["indexSpecForIntermediatePersists"] = raw["indexSpec"]
        if read_bool(raw.get("reportParseExceptions", False)):
            changed["maxParseExceptions"] = 0
            saved = raw.get("maxSavedParseExceptions", 0)
            changed["maxSavedParseExceptions"] = min(1, saved) if isinstance(saved, int) else saved
        if "partitionsSpec" not in raw:
            cls._partitions_of_old(raw, changed)
        return changed

    @classmethod
    def _partitions_of_old(cls, raw: dict[str, Any], changed: dict[str, Any]) -> None:
        """The deprecated fields make a partitionsSpec. Druid: IndexTuningConfig.getPartitionsSpec"""
        if "targetPartitionSize" in raw and "maxRowsPerSegment" in raw:
            raise InvalidTask(
                f"Cannot construct instance of `{cls.java_class}`, problem: "
                "Can't use targetPartitionSize and maxRowsPerSegment together"
            )
        rows = raw.get("maxRowsPerSegment", raw.get("targetPartitionSize"))
        if read_bool(raw.get("forceGuaranteedRollup", False)):
            if rows is not None or "numShards" in raw or raw.get("partitionDimensions"):
                changed["partitionsSpec"] = {
                    "type": "hashed",
                    "maxRowsPerSegment": rows,
                    "numShards": raw.get("numShards"),
                    "partitionDimensions": raw.get("partitionDimensions"),
                }
        elif rows is not None or "maxTotalRows" in raw:
            changed["partitionsSpec"] = {
                "type": "dynamic",
                "maxRowsPerSegment": rows,
                "maxTotalRows": raw.get("maxTotalRows"),
            }

    def check(self) -> None:
        spec = self.partitions_spec
        if spec is not None:
            dynamic = isinstance(spec, DynamicPartitionsSpec)
            if self.force_guaranteed_rollup and dynamic:
                self.refuse("DynamicPartitionsSpec cannot be used for perfect rollup")
            if not self.force_guaranteed_rollup and not dynamic:
                self.refuse("DynamicPartitionsSpec must be used for best-effort rollup")


_SHARED_HEAD = (
    "type",
    "max_rows_per_segment",
    "appendable_index_spec",
    "max_rows_in_memory",
    "max_bytes_in_memory",
    "skip_bytes_in_memory_overhead_check",
    "max_total_rows",
    "num_shards",
)
_SHARED_MIDDLE = (
    "partitions_spec",
    "index_spec",
    "index_spec_for_intermediate_persists",
    "max_pending_persists",
    "force_guaranteed_rollup",
    "report_parse_exceptions",
    "push_timeout",
    "segment_write_out_medium_factory",
)
_SHARED_ERRORS = (
    "log_parse_exceptions",
    "max_parse_exceptions",
    "max_saved_parse_exceptions",
    "max_columns_to_merge",
    "await_segment_availability_timeout_millis",
)


class IndexTuningConfig(TuningConfig):
    """Of an `index` task. Druid: IndexTask.IndexTuningConfig"""

    java_class: ClassVar[str] = _INDEX
    wire_order: ClassVar[tuple[str, ...]] = (
        *_SHARED_HEAD,
        "partition_dimensions",
        *_SHARED_MIDDLE,
        *_SHARED_ERRORS,
        "num_persist_threads",
    )

    type: Literal["index"] = "index"


class ParallelIndexTuningConfig(TuningConfig):
    """Of an `index_parallel` task. Druid: ParallelIndexTuningConfig"""

    java_class: ClassVar[str] = _PARALLEL
    wire_order: ClassVar[tuple[str, ...]] = (
        *_SHARED_HEAD,
        "split_hint_spec",
        *_SHARED_MIDDLE,
        "max_num_concurrent_sub_tasks",
        "max_retry",
        "task_status_check_period_ms",
        "chat_handler_timeout",
        "chat_handler_num_retries",
        "max_num_segments_to_merge",
        "total_num_merge_tasks",
        *_SHARED_ERRORS,
        "max_allowed_lock_count",
        "num_persist_threads",
        "partition_dimensions",
    )

    type: Literal["index_parallel"] = "index_parallel"
    split_hint_spec: Annotated[SplitHintSpec, BeforeValidator(_read_split_hint)] | None = None
    max_num_concurrent_sub_tasks: Int = 1
    max_retry: Int = 3
    task_status_check_period_ms: Long = 1000
    chat_handler_timeout: Annotated[str, BeforeValidator(_duration)] = "PT10S"
    chat_handler_num_retries: Int = 5
    max_num_segments_to_merge: Int = 100
    total_num_merge_tasks: Int = 10
    max_allowed_lock_count: Int = -1

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        changed = super().prepare(raw)
        if "maxNumSubTasks" in raw:
            if "maxNumConcurrentSubTasks" in raw:
                raise InvalidTask(
                    f"Cannot construct instance of `{cls.java_class}`, problem: Can't use both maxNumSubTasks and "
                    "maxNumConcurrentSubTasks. Use maxNumConcurrentSubTasks instead"
                )
            changed["maxNumConcurrentSubTasks"] = raw["maxNumSubTasks"]
        return changed

    def check(self) -> None:
        super().check()
        if self.max_num_concurrent_sub_tasks <= 0:
            self.refuse("maxNumConcurrentSubTasks must be positive")
        if self.max_num_segments_to_merge <= 0:
            self.refuse("maxNumSegmentsToMerge must be positive")
        if self.total_num_merge_tasks <= 0:
            self.refuse("totalNumMergeTasks must be positive")
        if isinstance(self.partitions_spec, RangePartitionsSpec) and not self.partitions_spec.partition_dimensions:
            self.refuse("partitionDimensions must be specified")
