"""
Why a pod does not start, from its Events: for what the kubelet writes nowhere else.

Asked for only where a reading `asks_events`, so that a healthy cluster pays no call for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from overlord_operator.druid_task.resource import read_time
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import PodReading
from overlord_operator.pod.seen import flat, sentence

_MOUNT_REASONS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "VolumeFailedDelete"})
_SANDBOX_REASONS = frozenset({"FailedCreatePodSandBox", "NetworkNotReady", "FailedCreatePodContainer"})


def with_events(reading: PodReading, raw_events: Iterable[Mapping[str, Any]]) -> PodReading:
    """The reading, with the cause that the newest telling Event names; as it was if none of them tells."""
    if not reading.asks_events:
        return reading
    for event in sorted(raw_events, key=_when, reverse=True):
        found = _read(event, reading.node)
        if found is not None:
            cause, message = found
            return replace(reading, cause=cause, message=sentence(message))
    return reading


def _read(event: Mapping[str, Any], node: str | None) -> tuple[Cause, str] | None:
    if event.get("type") == "Normal":
        return None
    reason, said = str(event.get("reason")), flat(event.get("message") or event.get("note"))
    if reason in _SANDBOX_REASONS:
        return Cause.SANDBOX, f"Node {node} cannot give the pod a sandbox or a network ({said})"
    if reason not in _MOUNT_REASONS:
        return None
    text = said.lower()
    if "secret" in text and "not found" in text:
        return Cause.MISSING_SECRET, f"A Secret that a volume of the pod needs is missing: make it ({said})"
    if "configmap" in text and "not found" in text:
        return Cause.MISSING_CONFIG_MAP, f"A ConfigMap that a volume of the pod needs is missing: make it ({said})"
    return Cause.VOLUME_MOUNT, f"A volume cannot be mounted on node {node} ({said})"


def _when(event: Mapping[str, Any]) -> int:
    series: Mapping[str, Any] = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return next((ms for ms in map(read_time, times) if ms is not None), 0)
