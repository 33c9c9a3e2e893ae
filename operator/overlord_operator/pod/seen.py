"""
A pod's JSON with its parts found: what the readers of phases and causes look at.

All of Kubernetes' optional fields are answered here once, so that no reader asks twice whether a list was there.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from overlord_operator import names
from overlord_operator.druid_task.resource import read_time

Raw = Mapping[str, Any]

_NOTHING: Raw = {}


@dataclass(frozen=True, slots=True)
class Container:
    """One container's state: exactly one of the three is given, or none while the kubelet has said nothing."""

    name: str
    waiting: Raw | None
    running: Raw | None
    terminated: Raw | None

    @property
    def exit_code(self) -> int | None:
        return None if self.terminated is None else self.terminated.get("exitCode")

    @property
    def reason(self) -> str:
        """Kubernetes' word for why it waits or ended."""
        return str((self.waiting or self.terminated or _NOTHING).get("reason") or "")

    @property
    def message(self) -> str:
        """The kubelet's or the runtime's own words, on one line."""
        return flat((self.waiting or self.terminated or _NOTHING).get("message"))


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod as the API server last told it. Times are milliseconds."""

    name: str
    attempt: int
    phase: str
    reason: str
    """Of the whole pod: the kubelet writes it where the pod, not a container, is the matter."""
    message: str
    node: str | None
    ip: str | None
    created_ms: int
    deleted_ms: int | None
    """When its grace is over; None while nobody deleted it."""
    delete_asked_ms: int | None
    """When somebody deleted it, or, where there is no grace, not later than this."""
    grace_ms: int | None
    """Between the two; None while nobody deleted it."""
    conditions: Mapping[str, Raw]
    main: Container
    inits: tuple[Container, ...]
    sidecars: tuple[Container, ...]
    memory_limit: str | None
    """Of the peon's container, as written."""
    deadline_seconds: int | None

    @classmethod
    def of(cls, raw: Raw) -> "SeenPod":
        """The parts of a pod's JSON. Any of them may be missing."""
        metadata, spec, status = _part(raw, "metadata"), _part(raw, "spec"), _part(raw, "status")
        main_spec = _peon_container(_list(spec, "containers"))
        main_name = str(main_spec.get("name") or names.PEON_CONTAINER)
        containers = tuple(_container(item) for item in _list(status, "containerStatuses"))
        main = next((item for item in containers if item.name == main_name), None)
        deleted_ms = read_time(metadata.get("deletionTimestamp"))
        grace_ms = 1000 * int(metadata.get("deletionGracePeriodSeconds") or 0)
        limits = _part(_part(main_spec, "resources"), "limits")
        return cls(
            name=str(metadata.get("name") or ""),
            attempt=_attempt(metadata),
            phase=str(status.get("phase") or "Pending"),
            reason=str(status.get("reason") or ""),
            message=flat(status.get("message")),
            node=spec.get("nodeName") or None,
            ip=status.get("podIP") or None,
            created_ms=read_time(metadata.get("creationTimestamp")) or 0,
            deleted_ms=deleted_ms,
            delete_asked_ms=None if deleted_ms is None else deleted_ms - grace_ms,
            grace_ms=None if deleted_ms is None else grace_ms,
            conditions={str(item.get("type")): item for item in _list(status, "conditions")},
            main=main or Container(main_name, None, None, None),
            inits=tuple(_container(item) for item in _list(status, "initContainerStatuses")),
            sidecars=tuple(item for item in containers if item.name != main_name),
            memory_limit=None if limits.get("memory") is None else str(limits["memory"]),
            deadline_seconds=spec.get("activeDeadlineSeconds"),
        )

    def condition(self, kind: str, status: str) -> Raw | None:
        """The condition of this type, where it has this status."""
        found = self.conditions.get(kind)
        return found if found is not None and found.get("status") == status else None

    @property
    def last_words(self) -> dict[str, Any] | None:
        """The log keeper's termination message; None where the pod ended without one, or with another's."""
        text = (self.main.terminated or _NOTHING).get("message")
        if not isinstance(text, str) or not text.lstrip().startswith("{"):
            return None
        try:
            words: object = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        return cast("dict[str, Any]", words) if isinstance(words, dict) and "exitCode" in words else None


def flat(text: object) -> str:
    """A text on one line; the empty text for none."""
    return re.sub(r"\s+", " ", text).strip() if isinstance(text, str) else ""


def sentence(text: str) -> str:
    """A text with a full stop at its end, one and not two."""
    return f"{text.rstrip('. ')}."


def _part(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return cast("Raw", value) if isinstance(value, Mapping) else _NOTHING


def _list(raw: Raw, key: str) -> Sequence[Raw]:
    value = raw.get(key)
    return cast("Sequence[Raw]", value) if isinstance(value, list) else ()


def _peon_container(containers: Iterable[Raw]) -> Raw:
    """The one called `main`; of a pod that has none (a foreign template's), the first, as Druid takes it."""
    found = list(containers)
    named = (item for item in found if item.get("name") == names.PEON_CONTAINER)
    return next(named, found[0] if found else _NOTHING)


def _container(raw: Raw) -> Container:
    state = _part(raw, "state")
    waiting, running, terminated = (state.get(key) for key in ("waiting", "running", "terminated"))
    return Container(str(raw.get("name") or ""), waiting, running, terminated)


def _attempt(metadata: Raw) -> int:
    for place, key in (("annotations", names.ANNOTATION_ATTEMPT), ("labels", names.LABEL_ATTEMPT)):
        text = _part(metadata, place).get(key)
        if isinstance(text, str) and text.isdecimal():
            return int(text)
    return 1
