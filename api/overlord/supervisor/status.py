"""
What is said of a supervisor: pure, from its spec alone. Druid: SupervisorStatus, SupervisorStateManager
"""

from enum import StrEnum
from typing import Any

import orjson

from druid_core.compaction import snapshot
from druid_core.instant import format_instant
from druid_core.redaction import without_secrets
from druid_core.supervisor import SupervisorSpec
from druid_core.supervisor_type import AUTOCOMPACT, NOOP


class SupervisorState(StrEnum):
    """Druid: SupervisorStateManager.BasicState, CompactionSupervisor.State"""

    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    SCHEDULER_STOPPED = "SCHEDULER_STOPPED"  # compaction, in detail: nobody makes tasks of it here
    UNHEALTHY_SUPERVISOR = "UNHEALTHY_SUPERVISOR"  # of a type that is not here: kept, and not run


NOT_RUN = "Supervisors of type [{}] are not supported yet by this Overlord: the spec is kept, and nothing runs"


def state_of(spec: SupervisorSpec) -> tuple[SupervisorState, SupervisorState]:
    """The state, and the same in detail."""
    if spec.suspended:
        return SupervisorState.SUSPENDED, SupervisorState.SUSPENDED
    if not spec.is_supported:
        return SupervisorState.UNHEALTHY_SUPERVISOR, SupervisorState.UNHEALTHY_SUPERVISOR
    if spec.type == AUTOCOMPACT:
        return SupervisorState.SCHEDULER_STOPPED, SupervisorState.SCHEDULER_STOPPED
    return SupervisorState.RUNNING, SupervisorState.RUNNING


def is_healthy(spec: SupervisorSpec) -> bool:
    """Whether the supervisor does what its spec says."""
    return state_of(spec)[0] is not SupervisorState.UNHEALTHY_SUPERVISOR


def shown(spec: SupervisorSpec) -> dict[str, Any]:
    """The spec as others may see it."""
    return without_secrets(spec.wire)


def type_shown(spec: SupervisorSpec) -> str:
    """The type as Druid names it where it is not read back."""
    return "noop" if spec.type == NOOP else spec.type


def listed(spec: SupervisorSpec, *, full: bool, system: bool) -> dict[str, Any]:
    """A supervisor in a list; nulls are left out. Druid: SupervisorStatus"""
    state, detailed = state_of(spec)
    status: dict[str, Any] = {"id": spec.id}
    if spec.data_sources:
        status["dataSource"] = spec.data_sources[0]
    status |= {"state": state, "detailedState": detailed, "healthy": is_healthy(spec)}
    if full:
        status["spec"] = shown(spec)
    if system:
        status["specString"] = orjson.dumps(shown(spec)).decode()
        status["type"] = type_shown(spec)
        status["source"] = spec.source
    status["suspended"] = spec.suspended
    return status


def report(spec: SupervisorSpec, now_ms: int) -> dict[str, Any] | None:
    """What a supervisor has to say of itself; a noop says nothing. Druid: SupervisorReport"""
    if spec.type == NOOP:
        return None
    state, detailed = state_of(spec)
    if spec.type == AUTOCOMPACT:
        payload = snapshot(spec.data_sources[0])
    else:
        payload = {
            "dataSource": spec.data_sources[0] if spec.data_sources else None,
            "suspended": spec.suspended,
            "healthy": is_healthy(spec),
            "state": state,
            "detailedState": detailed,
            "recentErrors": [{"timestamp": None, "message": NOT_RUN.format(spec.type)}],
        }
    return {"id": spec.id, "generationTime": format_instant(now_ms), "payload": payload}
