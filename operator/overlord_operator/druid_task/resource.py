"""
The DruidTask as the operator sees it: read once from what the API server sends, then typed.

`crds/druidtask.yaml` is the definition that users read; the field names here are its own. Parts that Kubernetes itself
defines (env, volumes, tolerations, resources) stay JSON, because a pod takes them as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

import orjson
from pydantic import Field, ValidationError

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.instant import parse_instant
from druid_core.task_id import ID_LIMIT
from druid_core.wire import WireModel
from overlord_operator.druid_task.status import DruidTaskStatus

JsonObject = dict[str, Any]


class DeletionPolicy(StrEnum):
    """What becomes of a task whose object is deleted while it is active."""

    SHUTDOWN = "Shutdown"  # it is shut down; the object goes once the log is safe
    ORPHAN = "Orphan"  # it goes on, without an object


class PeonSpec(WireModel):
    """What the task's pod is to have beside, or other than, what its template and the release give it."""

    template: str | None = None
    resources: JsonObject = {}
    node_selector: dict[str, str] = {}
    tolerations: list[JsonObject] = []
    service_account_name: str | None = None
    priority_class_name: str | None = None
    image: str | None = None
    image_pull_policy: str | None = None
    env: list[JsonObject] = []
    env_from: list[JsonObject] = []
    volumes: list[JsonObject] = []
    volume_mounts: list[JsonObject] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RetrySpec(WireModel):
    """How often an attempt that ended without the peon's word is followed by another. None: the release's default."""

    limit: int | None = Field(default=None, ge=0)
    """Attempts after a failure that may be the task's own: an exit code, a signal."""
    free_limit: int | None = Field(default=None, ge=0)
    """Attempts after a failure that was the cluster's: node lost, eviction, preemption."""
    backoff_seconds: int | None = Field(default=None, ge=0)
    """Before the second attempt; doubled before each further one."""
    memory_factor: float | None = Field(default=None, ge=1)
    """By how much memory grows after each OOM kill."""
    memory_limit: str | None = None
    """The quantity beyond which it does not grow; a task that is killed there is not run again."""


class DruidTaskSpec(WireModel):
    """`spec` of the object."""

    task: JsonObject | None = None
    task_id: str | None = None
    suspend: bool = False
    peon: PeonSpec = PeonSpec()
    retry: RetrySpec = RetrySpec()
    active_deadline_seconds: int | None = Field(default=None, ge=1)
    launch_timeout_seconds: int | None = Field(default=None, ge=1)
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0)
    deletion_policy: DeletionPolicy = DeletionPolicy.SHUTDOWN


@dataclass(frozen=True, slots=True)
class DruidTask:
    """One object, as last seen."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    created_ms: int
    deleted_ms: int | None
    """When its deletion was asked for; None while nobody did."""
    spec: DruidTaskSpec
    status: DruidTaskStatus

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "DruidTask":
        """
        The object of the API server's JSON.

        Raises InvalidTask, with what to write instead, for an object that no version of the definition would let in
        (an older definition may have).
        """
        metadata: Mapping[str, Any] = raw.get("metadata") or {}
        spec = _read_spec(raw.get("spec"))
        return cls(
            namespace=metadata.get("namespace") or "default",
            name=metadata.get("name") or "",
            uid=metadata.get("uid") or "",
            resource_version=metadata.get("resourceVersion") or "",
            generation=metadata.get("generation") or 0,
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            finalizers=tuple(metadata.get("finalizers") or ()),
            created_ms=read_time(metadata.get("creationTimestamp")) or 0,
            deleted_ms=read_time(metadata.get("deletionTimestamp")),
            spec=spec,
            status=DruidTaskStatus.parse(raw.get("status")),
        )

    @property
    def is_applied(self) -> bool:
        """Whether somebody applied it; otherwise it stands for a task that came by REST."""
        return self.spec.task is not None

    @property
    def task_id(self) -> str:
        """
        The id under which the Overlord has, or will have, the task.

        One that was applied without an id gets one from its object's uid: submitted twice it is one task.
        """
        if self.spec.task_id is not None:
            return self.spec.task_id
        raw_task = self.spec.task or {}
        own = raw_task.get("id")
        if own is not None:
            return str(own)
        parts = (str(raw_task.get("type")), data_source_of(raw_task) or self.name)
        return f"{'_'.join(parts)[: ID_LIMIT - len(self.uid) - 1]}_{self.uid}"

    def submission(self) -> JsonObject:
        """The task as it is posted: the user's own words, with an id."""
        return {**(self.spec.task or {}), "id": self.task_id}


def hash_of(raw_task: Mapping[str, Any]) -> str:
    """Tells one task from another: equal for equal JSON, whatever the order of its keys."""
    return sha256(orjson.dumps(raw_task, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def data_source_of(raw_task: Mapping[str, Any]) -> str | None:
    """The datasource that a raw task names, at its top or in its dataSchema; None where it names none."""
    place: Any = raw_task
    for step in ("spec", "dataSchema"):
        if isinstance(place, Mapping) and isinstance(place.get("dataSource"), str):
            break
        place = cast("Mapping[str, Any]", place).get(step) if isinstance(place, Mapping) else None
    found = cast("Mapping[str, Any]", place).get("dataSource") if isinstance(place, Mapping) else None
    return found if isinstance(found, str) else None


def read_time(raw: object) -> int | None:
    """Milliseconds of a Kubernetes timestamp; None for none, or for what is none."""
    return _read_time(raw) if isinstance(raw, str) else None


@lru_cache(maxsize=4096)
def _read_time(text: str) -> int | None:
    # whole seconds, most of them of the last minutes: an object is read often, and has a dozen
    try:
        return parse_instant(text)
    except InvalidInput:
        return None


def _read_spec(raw: object) -> DruidTaskSpec:
    if not isinstance(raw, Mapping):
        raise InvalidTask("spec is missing: write the Druid task under spec.task")
    try:
        # what is null counts as absent, in Kubernetes as here
        given = {key: value for key, value in cast("Mapping[str, Any]", raw).items() if value is not None}
        spec = DruidTaskSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(("spec", *(str(step) for step in first["loc"])))
        raise InvalidTask(f"{path} cannot be used: {first['msg']}") from error
    if (spec.task is None) == (spec.task_id is None):
        raise InvalidTask(
            "Exactly one of spec.task and spec.taskId is expected: spec.task is a task to be submitted, spec.taskId "
            "names one that the Overlord already has"
        )
    if spec.task is not None and not (isinstance(spec.task.get("type"), str) and spec.task["type"]):
        raise InvalidTask("spec.task.type is missing: write the task's type, such as index_parallel")
    return spec
