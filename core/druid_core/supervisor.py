"""
Supervisors: specs that stay until somebody terminates them, and what of them an Overlord must know.

`parse_supervisor` is the door for new ones; `load_supervisor` reads what is stored, whoever stored it: a database
that Apache Druid filled holds specs of streams, which are shown, suspended and terminated, but not run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from druid_core.compaction import parse_datasource_config
from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.supervisor_type import AUTOCOMPACT, KNOWN_TYPES, NOOP, SUPPORTED_TYPES
from druid_core.task_id import check_name, check_storable

_NOOP_NAMES = (NOOP, "noop")
"""Druid prints the type twice in one object: the first is what it reads, the second what most others do."""

COMPACTION_ID_PREFIX = "autocompact__"
"""Before the datasource, in the id of its compaction supervisor. Druid: CompactionSupervisorSpec.ID_PREFIX"""


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """A spec, as it is stored and printed (`wire`), and what of it counts."""

    id: str
    type: str
    data_sources: tuple[str, ...]
    source: str
    """Where the rows come from: a topic; empty for what reads no stream."""
    suspended: bool
    wire: Mapping[str, Any]

    @property
    def is_supported(self) -> bool:
        """Whether it does here what it says; others are only kept."""
        return self.type in SUPPORTED_TYPES

    def suspend(self, suspended: bool) -> "SupervisorSpec":
        """The same spec, suspended or running."""
        return replace(self, suspended=suspended, wire={**self.wire, "suspended": suspended})

    def tombstone(self) -> dict[str, Any]:
        """The spec that follows when this one is terminated: who may see it stays known by its datasources."""
        return _noop_wire(None, list(self.data_sources), False)


def parse_supervisor(raw: object) -> SupervisorSpec:
    """
    A spec from the JSON value that was posted.

    Raises InvalidTask, whose answer has the shape of Druid's for what cannot be mapped.
    """
    if not isinstance(raw, dict):
        raise InvalidTask("A supervisor spec must be a JSON object with a [type]")
    fields = cast("dict[str, Any]", raw)
    kind = fields.get("type")
    if kind is None or not isinstance(kind, str):
        raise InvalidTask(f"Missing [type] of the supervisor spec: expected one of {_one_of(SUPPORTED_TYPES)}")
    if kind in KNOWN_TYPES:
        raise NotSupportedYet(f"Supervisor type [{kind}]", SUPPORTED_TYPES)
    match kind:
        case "NoopSupervisorSpec" | "noop":
            return _parse_noop(fields)
        case "autocompact":
            return _parse_autocompact(fields)
        case _:
            raise InvalidTask(f"Unknown type [{kind}] of the supervisor spec: expected {_one_of(SUPPORTED_TYPES)}")


def load_supervisor(spec_id: str, raw: object) -> SupervisorSpec | None:
    """A spec as it is stored; None for one that says that its supervisor was terminated. Never raises."""
    fields = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    kind = str(fields.get("type"))
    if kind in _NOOP_NAMES:
        if fields.get("id") is None:
            return None
        kind = NOOP
    return SupervisorSpec(
        spec_id, kind, data_sources_of(fields), _source_of(fields), fields.get("suspended") is True, fields
    )


def data_sources_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The datasources of a stored spec; none where it names none that can be understood."""
    listed = raw.get("dataSources")
    if isinstance(listed, list):
        return tuple(str(each) for each in cast("list[object]", listed))
    inner = raw.get("spec")
    for fields in (raw, inner):
        if isinstance(fields, dict):
            spec = cast("dict[str, Any]", fields)
            schema = spec.get("dataSchema")
            named = cast("dict[str, Any]", schema).get("dataSource") if isinstance(schema, dict) else None
            named = spec.get("dataSource") if named is None else named
            if named is not None:
                return (str(named),)
    return ()


def compaction_supervisor_id(data_source: str) -> str:
    """Druid: CompactionSupervisorSpec.getSupervisorIdForDatasource"""
    return COMPACTION_ID_PREFIX + data_source


def _parse_noop(fields: dict[str, Any]) -> SupervisorSpec:
    spec_id, data_sources = fields.get("id"), fields.get("dataSources")
    if spec_id is None or not isinstance(spec_id, str | int) or spec_id == "":
        raise InvalidTask("Invalid value of [id] of the supervisor spec: expected a text that is not empty")
    if not isinstance(data_sources, list) or not data_sources:
        raise InvalidTask("Invalid value of [dataSources] of the supervisor spec: expected a list of at least one name")
    names = [str(each) for each in cast("list[object]", data_sources)]
    for field, text in (("id", str(spec_id)), *(("dataSources", name) for name in names)):
        check_name(field, text, "supervisor spec")
        check_storable(field, text, "supervisor spec")
    wire = _noop_wire(str(spec_id), names, _suspended(fields))
    return SupervisorSpec(str(spec_id), NOOP, tuple(names), "noop", bool(wire["suspended"]), wire)


def _parse_autocompact(fields: dict[str, Any]) -> SupervisorSpec:
    config = parse_datasource_config(fields.get("spec"))
    suspended = _suspended(fields)
    wire = {"type": AUTOCOMPACT, "spec": config.to_wire(), "suspended": suspended}
    spec_id = compaction_supervisor_id(config.data_source)
    return SupervisorSpec(spec_id, AUTOCOMPACT, (config.data_source,), "", suspended, wire)


def _noop_wire(spec_id: str | None, data_sources: list[str], suspended: bool) -> dict[str, Any]:
    return {"type": NOOP, "id": spec_id, "dataSources": data_sources, "suspended": suspended, "source": "noop"}


def _suspended(fields: dict[str, Any]) -> bool:
    value = fields.get("suspended")
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidTask(f"Invalid value [{value}] of [suspended] of the supervisor spec: expected true or false")


def _source_of(fields: Mapping[str, Any]) -> str:
    """The topic or stream of a stored spec."""
    if fields.get("type") in _NOOP_NAMES:
        return "noop"
    inner = fields.get("spec")
    for outer in (fields, inner):
        io_config = cast("dict[str, Any]", outer).get("ioConfig") if isinstance(outer, Mapping) else None
        if isinstance(io_config, dict):
            io_fields = cast("dict[str, Any]", io_config)
            named = io_fields.get("topic") or io_fields.get("topicPattern") or io_fields.get("stream")
            if named is not None:
                return str(named)
    return ""


def _one_of(names: tuple[str, ...]) -> str:
    return f"[{', '.join(sorted(names))}]"
