"""
What the queue is told while it runs: how many slots whom, and which datasources wait.

Two rows of `druid_config`: ours, and of Druid's worker configuration the limits by type.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from math import floor
from typing import Annotated, Any, TypeVar, cast

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.instant import format_instant, parse_instant
from druid_core.wire import WireModel, what_is_wrong
from overlord.db.pool import Connection

CONFIG_KEY = "nemeton.queue.config"
"""In `druid_config` and `druid_audit`."""

WORKER_CONFIG_KEY = "worker.config"
"""Druid: WorkerBehaviorConfig.CONFIG_KEY"""

MINUTE_MS = 60_000

Slots = Annotated[int, Field(ge=0, le=2_147_483_647, strict=True)]


class _Told(WireModel):
    """A word that is misspelt is refused: a limit that nobody reads is no limit."""

    model_config = ConfigDict(extra="forbid")


Told = TypeVar("Told", bound=_Told)


class DataSourceConfig(_Told):
    """What holds for the tasks of one datasource. Sub-tasks of a task that runs are not held up."""

    max_slots: Slots | None = None
    """Slots at once; None: `max_slots_per_data_source`."""
    paused: bool = Field(default=False, strict=True)
    """None is started. What runs goes on."""
    not_before: str | None = None
    """None is started before this instant."""
    starts_per_minute: Annotated[int, Field(ge=1, le=2_147_483_647, strict=True)] | None = None
    """In any minute no more than so many are started."""

    @field_validator("not_before")
    @classmethod
    def _is_an_instant(cls, text: str | None) -> str | None:
        try:
            return None if text is None else format_instant(parse_instant(text))
        except InvalidInput as error:
            raise ValueError(str(error)) from error

    @property
    def not_before_ms(self) -> int | None:
        return None if self.not_before is None else parse_instant(self.not_before)

    def stops(self, now_ms: int) -> bool:
        """Whether nothing is started at present."""
        return self.paused or (self.not_before_ms or 0) > now_ms


class QueueConfig(_Told):
    """Limits and holds; without a word there are none."""

    max_slots: Slots | None = None
    """All tasks together, whatever the runners offer. Druid has it for pods: KubernetesTaskRunnerConfig.capacity"""
    max_slots_per_data_source: Slots | None = None
    """Each datasource that has no limit of its own. Druid has none."""
    slots_kept_for_sub_tasks: Slots = 1
    """Slots that tasks with sub-tasks leave to these. Druid: druid.indexer.runner.parallelIndexTaskSlotRatio"""
    data_sources: dict[str, DataSourceConfig] = {}


@dataclass(frozen=True, slots=True)
class QueueRules:
    """Both configurations together, as assignment asks them."""

    config: QueueConfig = field(default_factory=QueueConfig)
    count_by_type: Mapping[str, int] = field(default_factory=dict[str, int])
    """Druid: TaskLimits.maxSlotCountByType"""
    ratio_by_type: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of all slots. Druid: TaskLimits.maxSlotRatioByType"""

    def of(self, data_source: str) -> DataSourceConfig:
        return self.config.data_sources.get(data_source, _NOTHING)

    def most_of_source(self, data_source: str) -> int | None:
        """Slots that a datasource may have at once; None: no limit."""
        own = self.of(data_source).max_slots
        return self.config.max_slots_per_data_source if own is None else own

    def most_of_type(self, task_type: str, capacity: int) -> int | None:
        """
        Slots that a type may have at once, of `capacity` in all; None: no limit.

        Of two limits the smaller counts. Druid: LimiterUtils
        """
        limits = list[int]()
        if (count := self.count_by_type.get(task_type)) is not None:
            limits.append(count)
        if (ratio := self.ratio_by_type.get(task_type)) is not None:
            limits.append(floor(ratio * capacity))
        return min(limits, default=None)

    def most_in_all(self, capacity: int) -> int:
        """Slots that may be used at once."""
        return capacity if self.config.max_slots is None else min(capacity, self.config.max_slots)

    def types_with_limits(self) -> Set[str]:
        return self.count_by_type.keys() | self.ratio_by_type.keys()


_MOST_SLOTS = 2_147_483_647


class _TaskLimits(_Told):
    """Druid: TaskLimits"""

    max_slot_count_by_type: dict[str, Slots] | None = None
    max_slot_ratio_by_type: dict[str, Annotated[float, Field(ge=0, le=1, strict=True)]] | None = None


_NOTHING = DataSourceConfig()
_LIMITS = TypeAdapter(_TaskLimits)
_CONFIG = TypeAdapter(QueueConfig)
_OF_SOURCE = TypeAdapter(DataSourceConfig)


def parse_config(raw: Any) -> QueueConfig:
    """Raises InvalidTask naming the field, in Druid's shape for what cannot be mapped."""
    return _parse(_CONFIG, raw)


def parse_data_source(raw: Any) -> DataSourceConfig:
    """The part about one datasource. Raises InvalidTask naming the field."""
    return _parse(_OF_SOURCE, raw)


async def read_config(tx: Connection) -> QueueConfig:
    """As it is stored; none where it was never set, or what is stored cannot be read."""
    return _readable(await tx.fetchval("SELECT payload FROM druid_config WHERE name = $1", CONFIG_KEY))


async def read_rules(tx: Connection) -> QueueRules:
    """Both configurations. What cannot be read limits nothing: a row written by hand must not stop all assignment."""
    rows = await tx.fetch(
        "SELECT name, payload FROM druid_config WHERE name IN ($1, $2)", CONFIG_KEY, WORKER_CONFIG_KEY
    )
    payloads: dict[str, bytes] = {row["name"]: row["payload"] for row in rows}
    limits = _task_limits(payloads.get(WORKER_CONFIG_KEY))
    return QueueRules(
        _readable(payloads.get(CONFIG_KEY)),
        {name: int(count) for name, count in _numbers(limits, "maxSlotCountByType", _MOST_SLOTS).items()},
        _numbers(limits, "maxSlotRatioByType", 1.0),
    )


def check_task_limits(raw: Any) -> None:
    """Raises InvalidTask naming the field, for limits of types that nobody could keep. Druid: TaskLimits"""
    try:
        _LIMITS.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(("taskLimits", *map(str, first["loc"])))
        raise InvalidTask(f"Cannot read {where} of the worker config: {first['msg']}") from error


def _parse(model: TypeAdapter[Told], raw: Any) -> Told:
    try:
        return model.validate_python(raw)
    except ValidationError as error:
        where, words = what_is_wrong(error, raw)
        raise InvalidTask(f"Cannot read {where or 'the body'} of the queue's configuration: {words}") from error


def _readable(payload: bytes | None) -> QueueConfig:
    try:
        return QueueConfig() if payload is None else parse_config(orjson.loads(payload))
    except (InvalidInput, orjson.JSONDecodeError):
        return QueueConfig()


def _task_limits(payload: bytes | None) -> Mapping[str, Any]:
    """`selectStrategy.taskLimits` of a worker configuration. Druid: TaskLimits"""
    try:
        found: Any = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        found = None
    for name in ("selectStrategy", "taskLimits"):
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _numbers(limits: Mapping[str, Any], name: str, most: float) -> dict[str, float]:
    """A number beyond `most` limits as much as that does: nothing."""
    found = limits.get(name)
    numbers = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return {key: min(value, most) for key, value in numbers.items() if isinstance(value, int | float) and value >= 0}
