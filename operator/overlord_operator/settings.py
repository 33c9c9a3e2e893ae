"""
Every setting of the operator: meaning, unit, the reason of its default, and Druid's property where there is one.

Each is an environment variable: `NEMETON_` and the name in upper case; those that hold JSON say so. A value that cannot
be used ends the start with a sentence.
"""

import os
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from druid_core.errors import InvalidInput

ALL_NAMESPACES = "*"
"""In `task_namespaces`: every namespace of the cluster. Needs a cluster role."""


class OperatorSettings(BaseModel):
    """The settings of one replica. All replicas of one release have the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlord: str
    """The Overlord's URL, as the operator reaches it."""

    peon_overlord: str | None = None
    """The Overlord's URL as peons reach it, from their namespace. Default: `overlord`."""

    runner_token: str | None = Field(default=None, repr=False)
    """The runners' secret, the same as the Overlord's, for an Overlord that asks for it."""

    release: str = "nemeton"
    """
    The name of the release, and the operator's id as a runner: the same for all its replicas and over restarts,
    because the Overlord keeps the attempts of a runner under it.
    """

    namespace: str = "default"
    """Where the operator itself runs, and where its Lease is."""

    task_namespaces: tuple[str, ...] = ()
    """
    Separated by commas: the namespaces whose DruidTasks are run; `*` is all. Default: `namespace` alone, which needs
    no right outside of it.
    """

    default_task_namespace: str | None = None
    """
    Where the tasks that come by REST get their DruidTask and their pod. Default: the first of `task_namespaces`, or
    `namespace`. Druid: druid.indexer.runner.namespace
    """

    identity: str = ""
    """This replica's name, as the Lease shows its holder: the pod's name. Default: the host's name."""

    capacity: int = Field(default=1000, ge=0)
    """
    Slots: pods at once. 1000 is what one namespace of an ordinary cluster bears; Druid's default, no limit at all,
    lets one client fill a cluster. The Overlord hands out no more. Druid: druid.indexer.runner.capacity
    """

    task_logs: str | None = None
    """
    Where logs and reports are kept: `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`. Without it pods are
    let go with their logs. Druid: druid.indexer.logs.type and its siblings
    """

    deep_storage: str | None = None
    """Where segments go; told to peons. Druid: druid.storage.type and its siblings"""

    # the peon's pod

    peon_image: str = "nemeton-peon:latest"
    """The image of peons for which neither their DruidTask nor their template names one."""

    peon_image_pull_policy: str = "IfNotPresent"
    """An image of a released version never changes, so that a node that has it need not ask again."""

    peon_image_pull_secrets: tuple[str, ...] = ()
    """Separated by commas: Secrets with credentials of the image's registry."""

    peon_service_account: str | None = None
    """Of peons; None: the namespace's own. Its token is never mounted."""

    peon_resources: dict[str, Any] = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    """JSON. Small enough for a trial's node; the memory limit is what the peon sizes its buffers by."""

    peon_env: list[dict[str, Any]] = []
    """JSON: environment of every peon, as in a pod: credentials of object storage, say."""

    peon_env_from: list[dict[str, Any]] = []
    """JSON: `envFrom` of every peon."""

    peon_fs_group: int | None = Field(default=None, ge=0)
    """
    The group that the volumes of every peon's pod are made writable for; None: none. The pod's own volumes need none,
    a claim on a disk does: it belongs to root, and peons are not.
    """

    peon_volumes: list[dict[str, Any]] = []
    """JSON: volumes of every peon's pod."""

    peon_volume_mounts: list[dict[str, Any]] = []
    """JSON: where every peon has them."""

    peon_node_selector: dict[str, str] = {}
    """JSON: of every peon's pod."""

    peon_tolerations: list[dict[str, Any]] = []
    """JSON: of every peon's pod."""

    peon_labels: dict[str, str] = {}
    """JSON: on every peon's pod. Druid: druid.indexer.runner.labels"""

    peon_annotations: dict[str, str] = {}
    """JSON: on every peon's pod. Druid: druid.indexer.runner.annotations"""

    peon_name_prefix: str = ""
    """Stands in pods' names for the readable part of the task's id. Druid: druid.indexer.runner.k8sTaskPodNamePrefix"""

    peon_grace_seconds: int = Field(default=30, ge=0)
    """Between SIGTERM and SIGKILL. Kubernetes' own. Druid: druid.indexer.runner.graceTerminationPeriodSeconds"""

    peon_deadline_seconds: int = Field(default=14_400, ge=1)
    """How long a pod may run where its DruidTask says nothing: 4 hours. Druid: druid.indexer.runner.maxTaskDuration"""

    peon_unreachable_seconds: int = Field(default=30, ge=0)
    """
    How long a pod stays on a node that does not answer. Kubernetes' five minutes suit servers; a task can begin anew
    elsewhere, and holds its locks until then.
    """

    peon_work_size: str | None = None
    """Of the volume for the task's files, such as `20Gi`. None: what the pod's ephemeral storage allows."""

    pod_templates: str | None = None
    """
    A folder of pod templates, one file each, YAML or JSON: `base.yaml`, `index_parallel.yaml` … Read anew when it
    changes. Druid: druid.indexer.runner.k8s.podTemplate.*
    """

    kueue_queue: str | None = None
    """The Kueue queue of pods; None: pods are not queued by Kueue."""

    # how patient it is

    launch_timeout_seconds: int = Field(default=600, ge=1)
    """
    How long a pod may take to start where its DruidTask says nothing. Ten minutes outlast a node that is added and a
    large image that is pulled; Druid's hour is an hour of a held lock. Druid: druid.indexer.runner.k8sjobLaunchTimeout
    """

    slow_start_seconds: int = Field(default=30, ge=5)
    """
    How long a pod may be made on its node, where neither its status nor its Events name a reason, before its DruidTask
    says `SlowStart`. An image of some hundred MiB that the node does not have yet takes ten to twenty seconds.
    """

    retry_limit: int = Field(default=0, ge=0)
    """
    How often an attempt that ended by its own fault (an exit code, a signal) is repeated where a DruidTask says
    nothing. None: that is what Druid does, and most such ends come again.
    """

    retry_free_limit: int = Field(default=10, ge=0)
    """
    How often an attempt that ended by no fault of its own (node lost, evicted, preempted) is repeated. Not for ever: a
    task that is evicted ten times runs in the wrong place.
    """

    retry_backoff_seconds: int = Field(default=10, ge=0)
    """Before the second attempt; twice as long before each one after that, up to five minutes."""

    retry_memory_factor: float = Field(default=2.0, ge=1.0)
    """How much more memory an attempt gets than the one that ran out of it. Twice needs few attempts to be enough."""

    retry_memory_limit: str = "16Gi"
    """Up to so much; an attempt that ran out of this much memory is not repeated."""

    log_patience_seconds: int = Field(default=86_400, ge=1)
    """
    How long a pod is kept for a log that cannot be stored, because object storage is away. A day lets a person come;
    without an end a bucket that was deleted would hold pods for ever.
    """

    pod_keep_seconds: int = Field(default=60, ge=0)
    """How long a finished pod is kept once its log is safe, for `kubectl describe`."""

    ttl_seconds_after_finished: int = Field(default=172_800, ge=0)
    """
    How long the DruidTask of a task that came by REST is kept after its end: two days.
    Druid: druid.indexer.runner.taskCleanupDelay
    """

    # how it works

    calls_in_flight: int = Field(default=16, ge=1)
    """
    Calls to the API server at once, and connections: more than two cores can use, and few enough that a restart with
    thousands of tasks is no storm.
    """

    call_timeout_seconds: float = Field(default=30.0, gt=0)
    """Of one call to the API server, its watches aside. The API server itself gives up after a minute."""

    resync_seconds: float = Field(default=300.0, gt=0)
    """Between two lists of everything: the cure for a watch that has become deaf without saying so."""

    watch_seconds: int = Field(default=300, ge=10)
    """After which a watch is opened anew."""

    heartbeat_seconds: float = Field(default=5.0, gt=0)
    """Between two announcements to the Overlord: a small part of the time after which it gives a runner up."""

    explain_seconds: float = Field(default=2.0, gt=0)
    """Between two questions why the tasks that wait do so. All of them are asked in one call."""

    refreshes_a_second: float = Field(default=10.0, gt=0)
    """Status writes for nothing but a new wording of why a task waits. A tenth of what a small API server bears."""

    events_a_second: float = Field(default=10.0, gt=0)
    """Kubernetes Events at most, after a burst of ten times as many. They tell a story, status tells the truth."""

    lease_seconds: int = Field(default=10, ge=3)
    """How long a leader that fell silent stays leader: with a renewal every 3 s, takeover within 15 s."""

    renew_seconds: float = Field(default=3.0, gt=0)
    """Between two renewals of the Lease. Two may fail before the leader has to stop."""

    host: str = "0.0.0.0"
    """The address of the health and metrics endpoints; they say nothing secret."""

    port: int = Field(default=8080, ge=0, le=65535)
    """The port of the health and metrics endpoints; 0 takes a free one."""

    log_level: str = "INFO"
    """Of the operator's own log lines."""

    @field_validator("task_namespaces", "peon_image_pull_secrets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "OperatorSettings":
        if not self.overlord.startswith(("http://", "https://")):
            raise ValueError(f"overlord is a URL such as http://nemeton-overlord:8090, not [{self.overlord}]")
        if self.renew_seconds * 2 >= self.lease_seconds:
            raise ValueError("renew_seconds is less than half of lease_seconds, so that one renewal may fail")
        if self.is_cluster_wide and self.default_task_namespace == ALL_NAMESPACES:
            raise ValueError("default_task_namespace is one namespace")
        if not self.is_cluster_wide and self.rest_namespace not in self.watched_namespaces:
            raise ValueError(
                f"default_task_namespace [{self.rest_namespace}] is not among task_namespaces "
                f"[{', '.join(self.watched_namespaces)}]: nobody would run the tasks that come by REST"
            )
        return self

    @property
    def is_cluster_wide(self) -> bool:
        return ALL_NAMESPACES in self.task_namespaces

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """Each namespace to watch; none where all of the cluster is watched at once."""
        return () if self.is_cluster_wide else tuple(dict.fromkeys(self.task_namespaces)) or (self.namespace,)

    @property
    def rest_namespace(self) -> str:
        """Where tasks that came by REST live."""
        return self.default_task_namespace or next(iter(self.watched_namespaces), self.namespace)

    def watches(self, namespace: str) -> bool:
        return self.is_cluster_wide or namespace in self.watched_namespaces

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: Any) -> "OperatorSettings":
        """
        Settings from `given` (None: not given), else the environment, else the defaults.

        An empty variable counts as not set: that is how a chart leaves one out. Raises InvalidInput naming the setting.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            text = environment.get(f"NEMETON_{name.upper()}")
            if text:
                is_json = isinstance(field.default, dict | list)
                values[name] = _from_json(name, text) if is_json else text
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            where = f"setting {name} (environment: NEMETON_{name.upper()}): " if name else "settings: "
            raise InvalidInput(where + first["msg"].removeprefix("Value error, ")) from error


def _from_json(name: str, text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"setting {name} (environment: NEMETON_{name.upper()}) is not JSON: {error}") from error
