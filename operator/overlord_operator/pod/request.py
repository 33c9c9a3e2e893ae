"""
What a pod is made from: the release's defaults, and the attempt that is to have one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from overlord_operator import names
from overlord_operator.druid_task.resource import PeonSpec

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PeonDefaults:
    """What a release gives to all its peons."""

    image: str
    overlord_url: str
    deep_storage: str | None = None
    task_logs: str | None = None
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    service_account: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict[str, Any])
    env: tuple[JsonObject, ...] = ()
    env_from: tuple[JsonObject, ...] = ()
    fs_group: int | None = None
    volumes: tuple[JsonObject, ...] = ()
    volume_mounts: tuple[JsonObject, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[JsonObject, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    overlord_namespace: str = ""
    kueue_queue: str | None = None
    name_prefix: str = ""
    release: str | None = None
    grace_seconds: int = 30
    deadline_seconds: int | None = 14_400
    """Druid: druid.indexer.runner.maxTaskDuration"""
    unreachable_seconds: int = 30
    """How long a peon stays on a node that does not answer: a short while, since its task can begin anew elsewhere."""
    work_size: str | None = None
    """Of the volume for work; None: as much as the pod's ephemeral storage."""
    tmp_size: str = "1Gi"
    """Of /tmp, where nothing large belongs."""


@dataclass(frozen=True, slots=True)
class PodRequest:
    """One attempt that is to have a pod."""

    task_id: str
    attempt: int
    type: str
    data_source: str
    group_id: str
    namespace: str
    owner_name: str
    owner_uid: str
    """Of the DruidTask."""
    defaults: PeonDefaults
    peon: PeonSpec = field(default_factory=PeonSpec)
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    template_key: str = "base"
    template: Mapping[str, Any] = field(default_factory=dict[str, Any])
    oom_kills: int = 0
    """Attempts before this one that ended for want of memory."""
    memory_factor: float = 2.0
    memory_limit: str | None = None
    deadline_seconds: int | None = None
    """The object's own; None: the release's."""
    kueue_queue: str | None = None
    """The object's own; None: the release's."""
    token: str = field(default="", repr=False)
    payload: bytes | None = field(default=None, repr=False)
    """The task's JSON, for Druid's own peons alone."""

    @property
    def pod_name(self) -> str:
        return names.pod_name(self.task_id, self.attempt, self.defaults.name_prefix)

    @property
    def is_stock(self) -> bool:
        """Whether the template's image is Apache Druid's own."""
        annotations: Mapping[str, Any] = (self.template.get("metadata") or {}).get("annotations") or {}
        inner = pod_of(self.template).get("metadata") or {}
        return names.STOCK_PEON in (
            annotations.get(names.ANNOTATION_PEON),
            (inner.get("annotations") or {}).get(names.ANNOTATION_PEON),
        )


def pod_of(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """A v1 PodTemplate holds its pod under `template`; a bare pod is taken as well."""
    inner: object = template.get("template")
    return cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else template
