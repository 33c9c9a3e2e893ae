"""
A cluster that fails on demand: objects as an API server keeps them, as far as the operator can tell.

Uids, versions, finalizers, the status subresource. Any write may be made the last one of the process.
"""

import copy
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, BinaryIO

from druid_core.errors import NemetonError
from overlord_operator.cluster.client import EVENTS, PODS
from overlord_operator.cluster.errors import AlreadyExists, Outdated, Vanished
from overlord_operator.druid_task.status import time_text

Raw = dict[str, Any]


class Crash(BaseException):
    """The process ends here."""


class FakeCluster:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.writes: list[tuple[str, str, str]] = []
        """Every write that took effect: verb, kind, name. Events are counted apart."""
        self.events: list[Raw] = []
        self.refusals: dict[str, NemetonError] = {}
        """By kind: raised instead of a creation."""
        self.crash_before: int | None = None
        self.crash_after: int | None = None
        """The number of the write that is the last one, or the first one that does not happen."""
        self.calls: Counter[tuple[str, str, int]] = Counter()
        self.pod_events: list[Raw] = []
        self.now_ms = 0
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    def put(self, kind: str, raw: Raw) -> Raw:
        """As a user does it."""
        return self._store(kind, copy.deepcopy(raw))

    def of(self, kind: str) -> list[Raw]:
        return [raw for (known, _, _), raw in sorted(self.objects.items()) if known == kind]

    def touch(self, kind: str, raw: Raw) -> None:
        """What somebody else wrote into an object in place."""
        raw["metadata"]["resourceVersion"] = str(next(self._versions))

    def ask_deletion(self, kind: str, namespace: str, name: str) -> None:
        """`kubectl delete`."""
        raw = self.objects[kind, namespace, name]
        if raw["metadata"].get("finalizers"):
            raw["metadata"].setdefault("deletionTimestamp", time_text(self.now_ms + 30_000 * (kind == PODS)))
            raw["metadata"].setdefault("deletionGracePeriodSeconds", 30 if kind == PODS else 0)
            self.touch(kind, raw)
        else:
            self._remove(kind, namespace, name)

    # as the operator's Cluster has them

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        try:
            return copy.deepcopy(self.objects[kind, namespace, name])
        except KeyError as error:
            raise Vanished(f"{kind} {name} not found") from error

    async def pages(self, kind: str, namespace: str | None, label_selector: str = "") -> AsyncIterator[list[Raw]]:
        yield [copy.deepcopy(raw) for raw in self.of(kind)]

    async def events_of(self, namespace: str, uid: str) -> list[Raw]:
        return self.pod_events

    async def pod_log(self, namespace: str, name: str, container: str, out: BinaryIO) -> bool:
        return False

    async def create(self, kind: str, namespace: str, raw_object: Mapping[str, Any], *, is_strict: bool = False) -> Raw:
        if kind == EVENTS:
            self.events.append(dict(raw_object))
            return self.events[-1]
        if kind in self.refusals:
            raise self.refusals[kind]
        name = raw_object["metadata"]["name"]
        if (kind, namespace, name) in self.objects:
            raise AlreadyExists(f"{kind} {name} already exists")
        with self._write("create", kind, name):
            raw = copy.deepcopy(dict(raw_object))
            raw.pop("status", None)
            return copy.deepcopy(self._store(kind, raw))

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = "") -> Raw:
        if (kind, namespace, name) not in self.objects:
            raise Vanished(f"{kind} {name} not found")
        raw = self.objects[kind, namespace, name]
        metadata = patch.get("metadata") or {}
        for key in ("uid", "resourceVersion"):
            if metadata.get(key) not in (None, raw["metadata"][key]):
                raise Outdated(f"{kind} {name} has another {key}")
        with self._write(f"patch {subresource}".strip(), kind, name):
            before = copy.deepcopy(raw)
            _merge(raw, patch)
            if raw == before:
                return copy.deepcopy(raw)
            self.touch(kind, raw)
            if "deletionTimestamp" in raw["metadata"] and not raw["metadata"].get("finalizers"):
                self._remove(kind, namespace, name)
            return copy.deepcopy(raw)

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> Raw | None:
        raw = self.objects.get((kind, namespace, name))
        if raw is None:
            raise Vanished(f"{kind} {name} not found")
        if raw["metadata"]["uid"] != uid:
            raise Outdated(f"{kind} {name} has another uid")
        with self._write("delete", kind, name):
            self.ask_deletion(kind, namespace, name)
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def _store(self, kind: str, raw: Raw) -> Raw:
        metadata = raw["metadata"]
        metadata.setdefault("namespace", "tasks")
        metadata["uid"] = f"uid-{next(self._uids)}"
        metadata["creationTimestamp"] = time_text(self.now_ms)
        metadata.setdefault("generation", 1)
        self.touch(kind, raw)
        if kind == PODS:
            raw["status"] = {"phase": "Pending"}
        self.objects[kind, metadata["namespace"], metadata["name"]] = raw
        return raw

    def _remove(self, kind: str, namespace: str, name: str) -> None:
        gone = self.objects.pop((kind, namespace, name))
        for (other, space, owned), raw in list(self.objects.items()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in raw["metadata"].get("ownerReferences") or []):
                self.ask_deletion(other, space, owned)

    def _write(self, verb: str, kind: str, name: str) -> "_Write":
        return _Write(self, (verb, kind.rpartition("/")[2], name))


class _Write:
    """A write, with a crash before or after it where one is wanted."""

    def __init__(self, cluster: FakeCluster, what: tuple[str, str, str]) -> None:
        self._cluster = cluster
        self._what = what

    def __enter__(self) -> None:
        if self._cluster.crash_before == len(self._cluster.writes):
            self._cluster.crash_before = None
            raise Crash
        self._cluster.writes.append(self._what)

    def __exit__(self, *_: object) -> None:
        if self._cluster.crash_after == len(self._cluster.writes) - 1:
            self._cluster.crash_after = None
            raise Crash


def _merge(target: Raw, patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)
