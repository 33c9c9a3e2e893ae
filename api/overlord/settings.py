"""
Every setting of the Overlord: meaning, unit, the reason of its default, and Druid's property where there is one.

Each is also an environment variable: `NEMETON_` and the name in upper case. A value that cannot be used ends the
start with a sentence.
"""

import json
import os
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from druid_core.errors import InvalidInput
from druid_core.input_policy import METADATA_NETWORKS, InputPolicy
from druid_core.java_task import JAVA_TASK_TYPES, SUB_TASK_TYPES
from druid_core.redaction import without_secrets

DRUID_VERSION = "37.0.0"
"""The version of Druid whose API this is; /status answers it, because clients choose their calls by it."""


_PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "::1/128"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("169.254.0.0/16", "fc00::/7", "fe80::/10"),
)
"""This machine, private networks and the addresses that machines give themselves. RFC 1918, 6598, 3927, 4193, 4291"""


class OverlordSettings(BaseModel):
    """The settings of one replica. All replicas of one database should have the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field(repr=False)
    """`postgresql://user:password@host:port/database`. Druid: druid.metadata.storage.connector.connectURI"""

    host: str = "127.0.0.1"
    """The address to listen on: the loopback, because by default nobody is asked who he is. Druid: druid.host"""

    port: int = Field(default=8090, ge=0, le=65535)
    """The port to listen on; 0 takes a free one. Druid's own. Druid: druid.plaintextPort"""

    public_url: str | None = None
    """
    The URL at which clients reach the Overlord, all replicas together (the Service); `/leader` answers it.
    Default: `http://host:port`, or https with a certificate.
    """

    tls_certificate: str | None = None
    """
    A PEM file with the server's certificate and those of its issuers; with it the port speaks TLS alone. Read anew when
    it changes, as it does when it is renewed. Druid: druid.server.https.keyStorePath
    """

    tls_key: str | None = None
    """The PEM file of its private key, without a password. Read anew with the certificate."""

    authenticators: tuple[str, ...] = ("none",)
    """
    How callers are recognised, separated by commas: `none`, or `basic` and `jwt`, each or both. None is what Druid does
    when it is told nothing, and serves `trusted_networks` alone. Druid: druid.auth.authenticatorChain
    """

    trusted_networks: tuple[str, ...] = _PRIVATE_NETWORKS
    """
    With `none`: the networks, separated by commas, from which nobody is asked. This machine and private addresses by
    default: those of clusters and offices, and not the Internet's. A proxy counts by its own address.
    """

    initial_admin_password: str | None = Field(default=None, repr=False, min_length=1)
    """
    With `basic`: the password of the user `admin`, who is made at the start where nobody of that name is there. Has no
    default. Druid: druid.auth.authenticator.<name>.initialAdminPassword
    """

    runner_token: str | None = Field(default=None, repr=False, min_length=16)
    """
    What operators and MiddleManagers show to be given tasks. With `none` they need not where it is not set; else,
    without it, none is let in. At least 16 characters, because nobody counts wrong ones.
    """

    jwt_issuer: str | None = None
    """With `jwt`: the issuer, as its tokens' `iss` says it. Its keys are found through its discovery document."""

    jwt_audience: str | None = None
    """With `jwt`: what a token's `aud` must have: a token for another service is none for this one."""

    jwt_jwks_url: str | None = None
    """Where the issuer's keys are, for one that has no discovery document."""

    jwt_clock_skew_seconds: float = Field(default=30.0, ge=0, le=600)
    """How far clocks may be apart: more than machines that are kept in time ever are."""

    jwt_user_claim: str = "sub"
    """The claim that names the user, for audits. `sub` is the one that every token has and that never changes hands."""

    jwt_roles_claim: str = "roles"
    """The claim with the names of the user's roles; dots lead inside, as in `realm_access.roles`."""

    input_source_security: bool = False
    """
    Whether a submission also needs READ on EXTERNAL of its input source's type; off, as in Druid.
    Druid: druid.auth.enableInputSourceSecurity
    """

    input_protocols: tuple[str, ...] = ("http", "https")
    """
    Protocols of `http` input sources, separated by commas; both, as in Druid.
    Druid: druid.ingestion.http.allowedProtocols
    """

    local_input_paths: tuple[str, ...] = ()
    """
    Absolute folders, separated by commas, below which `local` input sources may read; `/` is everything. None by
    default: what a peon can open is its pod's or its machine's, and whoever may submit a task could read it.
    """

    denied_input_networks: tuple[str, ...] = METADATA_NETWORKS
    """
    Networks, separated by commas, that no input is read from, whatever name leads there: link-local ones and those
    where clouds hand out a machine's credentials.
    """

    rate_limit_per_second: float | None = Field(default=None, gt=0)
    """
    Requests a second of one user (with `none`: one address) to one replica, beyond which the answer is 429. None by
    default, as in Druid: a scheduler that submits a night's tasks does well to do so at once.
    """

    rate_limit_burst: int = Field(default=100, ge=1)
    """How many may come at once before the rate counts: a page of the console asks for a few dozen things."""

    wrong_passwords_per_minute: float = Field(default=10.0, gt=0)
    """
    Wrong passwords of one address to one replica before it has to wait: a person mistypes three times, a script
    with an old password is soon quiet, and a guesser gets nowhere.
    """

    task_logs: str | None = None
    """
    Where logs and reports are kept: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`. Without it only the
    logs of living peons can be read. Druid: druid.indexer.logs.type and its siblings
    """

    database_pool_size: int = Field(default=16, ge=2)
    """Connections to Postgres, a replica. 16 keep two cores of Postgres busy; more only queue there."""

    database_wait_seconds: float = Field(default=300.0, ge=0)
    """
    How long a start waits for a database that does not answer, in seconds. Five minutes outlast its restart, its
    failover, and the pod or machine that it is still waiting for itself; what only a person can mend is told by then.
    A user, password or database that is refused ends the start at once. 0: it is asked once.
    """

    database_statement_seconds: float = Field(default=60.0, gt=0)
    """
    How long one statement may take, in seconds, before its caller is answered 503: a database that is that slow is as
    good as away. None of ours takes a tenth of it; those of migrations have no limit.
    """

    max_body_bytes: int = Field(default=128 << 20, ge=1024)
    """
    The largest request body, in bytes, after gzip is undone. Druid takes tasks above 60 MiB with a warning, so twice
    that passes; without a limit one call could take all memory.
    """

    max_head_bytes: int = Field(default=64 << 10, ge=1024)
    """
    The largest request line and headers, in bytes. Druid takes 8 KiB; tokens of large organisations are longer.
    Druid: druid.server.http.maxRequestHeaderSize
    """

    body_patience_seconds: float = Field(default=60.0, gt=0)
    """How long a request's body may be silent before the answer is 408: a client that hangs holds nothing for ever."""

    max_task_payload_bytes: int | None = None
    """
    The largest task, in bytes of its stored JSON; no limit by default, as in Druid.
    Druid: druid.indexer.queue.maxTaskPayloadSize
    """

    max_queue_size: int = Field(default=2_147_483_647, ge=1)
    """
    Active tasks beyond which a submission is refused with 429; no limit by default, as in Druid.
    Druid: druid.indexer.queue.maxSize
    """

    default_task_context: dict[str, Any] = {}
    """
    Context entries that every task gets where it has none of that name, as JSON; none by default.
    Druid: druid.indexer.task.default.context
    """

    druid_peon_task_types: tuple[str, ...] = ()
    """
    Task types, separated by commas, whose peons are Apache Druid's own Java ones: a task of such a type may ask for
    anything that Druid has, and its peon says whether it can. With `index_parallel` and `compact` come their sub-tasks.
    None by default: what our peon does not know is then refused at the door.
    """

    force_time_chunk_lock: bool = True
    """The context entry of that name, where a task has none. Druid: druid.indexer.tasklock.forceTimeChunkLock"""

    recently_finished_ms: int = Field(default=86_400_000, ge=0)
    """
    How far back lists show finished tasks, in milliseconds: a day, as in Druid.
    Druid: druid.indexer.storage.recentlyFinishedThreshold
    """

    runner_timeout_ms: int = Field(default=60_000, ge=1000)
    """
    Silence after which a runner is held for dead and its tasks fail, in milliseconds. Runners announce themselves
    every few seconds; a minute outlasts a restart of one. Druid: druid.indexer.runner.taskCleanupTimeout (PT15M)
    """

    operator_timeout_ms: int = Field(default=900_000, ge=1000)
    """
    The same for a runner whose peons are pods, in milliseconds: 15 minutes. Pods live on while their operator or the
    API server is away, so silence says nothing of them; new tasks are given to it only within `runner_timeout_ms`.
    Druid: druid.indexer.runner.taskCleanupTimeout
    """

    max_attempts: int = Field(default=20, ge=1)
    """
    Attempts of one task at most, whatever its runner's policy allows: a task that no node can keep for long ends
    within hours instead of never. A runner of processes never asks for a second one, as in Druid.
    """

    logs_kill_enabled: bool = False
    """
    Whether logs, reports and rows of tasks are deleted when they are old; off, as in Druid.
    Druid: druid.indexer.logs.kill.enabled
    """

    logs_kill_duration_to_retain_ms: int | None = Field(default=None, ge=0)
    """
    How long they are kept, in milliseconds; must be given when they are deleted at all. A log counts from its last
    write, a row from its task's creation. Druid: druid.indexer.logs.kill.durationToRetain
    """

    logs_kill_initial_delay_ms: int | None = Field(default=None, ge=0)
    """
    From the start to the first look, in milliseconds; by default one to five minutes at random, so that replicas that
    start together do not look together. Druid: druid.indexer.logs.kill.initialDelay
    """

    logs_kill_delay_ms: int = Field(default=21_600_000, ge=1)
    """From one look to the next, in milliseconds: six hours, as in Druid. Druid: druid.indexer.logs.kill.delay"""

    queue_interval_ms: int = Field(default=1000, ge=10)
    """
    How often the queue is looked at without a hint, in milliseconds. A hint from another replica may be lost, and a
    second is what a person waits without wondering. Druid looks every 60 s.
    """

    peon_timeout_ms: int = Field(default=3000, ge=100)
    """How long a living peon may take to answer for its log or report, in milliseconds, before storage is asked."""

    log_wait_ms: int = Field(default=2000, ge=0)
    """How long a reader of a log or report waits for a peon that has just ended to store it, in milliseconds."""

    graceful_shutdown_seconds: int = Field(default=10, ge=0)
    """
    How long calls that are under way may take to end at a stop. Long polls end at once.
    Druid: druid.server.http.gracefulShutdownTimeout
    """

    metrics_data_sources: int = Field(default=100, ge=0)
    """
    Datasources that have a label of their own in metrics; the rest share `(other)`. Prometheus keeps some ten series
    for each, for ever: a hundred are a thousand series a replica, which nobody notices.
    """

    tracing: bool = False
    """
    Whether traces of tasks are sent by OpenTelemetry, to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names; off,
    for without a collector nobody reads them. Needs the extra `tracing`.
    """

    log_format: Literal["text", "json"] = "text"
    """How log lines are written: for people, or one JSON object a line for a log collector."""

    access_log: bool = False
    """A log line a request. Off: it costs more than the request."""

    @field_validator(
        *("authenticators", "trusted_networks", "input_protocols", "local_input_paths", "denied_input_networks"),
        "druid_peon_task_types",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("local_input_paths")
    @classmethod
    def _are_absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith("/"):
                raise ValueError(f"[{path}] is no absolute path")
        return paths

    @field_validator("druid_peon_task_types")
    @classmethod
    def _are_of_java(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for each in types:
            if each not in JAVA_TASK_TYPES:
                raise ValueError(f"[{each}] is none of [{', '.join(sorted(JAVA_TASK_TYPES))}]")
        return types

    @field_validator("trusted_networks", "denied_input_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network, strict=False)
        return networks

    @model_validator(mode="after")
    def _knows_whom_to_ask(self) -> "OverlordSettings":
        known = set(self.authenticators)
        if not known or known - {"none", "basic", "jwt"} or ("none" in known and len(known) > 1):
            shown = ",".join(self.authenticators)
            raise ValueError(f"authenticators is none, or basic, jwt or both with a comma between, not [{shown}]")
        if "jwt" in known and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("authenticators has jwt, which needs jwt_issuer and jwt_audience")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @model_validator(mode="after")
    def _knows_what_to_keep(self) -> "OverlordSettings":
        if self.logs_kill_enabled and self.logs_kill_duration_to_retain_ms is None:
            raise ValueError("logs_kill_enabled needs logs_kill_duration_to_retain_ms: for how long is what is kept?")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: Any) -> "OverlordSettings":
        """
        Settings from `given` (None: not given), else the environment, else the defaults.

        Raises InvalidInput naming the setting.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            text = environment.get(f"NEMETON_{name.upper()}")
            if given.get(name) is not None:
                values[name] = given.pop(name)
            elif text is not None:
                values[name] = _from_json(text) if name == "default_task_context" else text
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            # what two settings together get wrong has no name, and says them itself
            message = f"setting {name} (environment: NEMETON_{name.upper()}): {first['msg']}" if name else first["msg"]
            raise InvalidInput(message) from error

    @property
    def input_policy(self) -> InputPolicy:
        """Where tasks may read from."""
        return InputPolicy(
            protocols=self.input_protocols,
            local_paths=self.local_input_paths,
            denied_networks=self.denied_input_networks,
        )

    @property
    def java_types(self) -> frozenset[str]:
        """The types of tasks that Java peons run, their sub-tasks' included."""
        types = frozenset(self.druid_peon_task_types)
        return types | SUB_TASK_TYPES if types & {"compact", "index_parallel"} else types

    def as_properties(self) -> dict[str, str]:
        """What /status/properties shows: names of ours, values as texts, nothing secret."""
        shown = {f"nemeton.overlord.{name}": str(getattr(self, name)) for name in type(self).model_fields}
        shown["nemeton.overlord.database_url"] = str(without_secrets(self.database_url))
        shown["nemeton.overlord.default_task_context"] = str(without_secrets(self.default_task_context))
        for name in ("initial_admin_password", "runner_token"):
            shown[f"nemeton.overlord.{name}"] = "None" if getattr(self, name) is None else "********"
        shown["druid.version"] = DRUID_VERSION
        return dict(sorted(shown.items()))


def _from_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"setting default_task_context is not JSON: {text}") from error
