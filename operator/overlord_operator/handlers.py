"""
kopf's handlers: each is its decorator and one call. They say what was seen; what it means is decided elsewhere.

kopf watches, and nothing more: no peering, no finalizers, annotations or Events of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import kopf

from overlord_operator import names
from overlord_operator.settings import OperatorSettings

_PEONS = f"{names.LABEL_PEON}=true"
_FIRST_BACKOFFS = (0.5, 1.0, 2.0)
_LONGEST_BACKOFF_SECONDS = 5.0
_CHUNK = 500
"""Objects a page of kopf's own lists."""


class _NoDiffs(kopf.DiffBaseStorage):
    """
    kopf's own stores copy each object several times for each event, for handlers of a kind that is not used here: that
    was half of what the operator costs.
    """

    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None
    ) -> kopf.BodyEssence:  # fmt: skip
        return {}

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None: ...


class _NoProgress(kopf.ProgressStorage):
    """Likewise."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None: ...

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None: ...

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None: ...

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class Eyes(Protocol):
    """What hears of the cluster."""

    def see_task(self, kind: str | None, raw_task: Mapping[str, Any]) -> None: ...

    def see_pod(self, kind: str | None, raw_pod: Mapping[str, Any]) -> None: ...


def registry(eyes: Eyes) -> kopf.OperatorRegistry:
    """The two handlers, speaking to `eyes`."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    async def druid_task(event: kopf.RawEvent, **_: Any) -> None:
        eyes.see_task(event["type"], event["object"])

    @kopf.on.event("", "v1", "pods", labels={names.LABEL_PEON: "true"}, registry=handlers)
    async def peon(event: kopf.RawEvent, **_: Any) -> None:
        eyes.see_pod(event["type"], event["object"])

    @kopf.on.login(registry=handlers)
    async def login(**options: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**options) or kopf.login_with_service_account(**options)

    return handlers


def watching(settings: OperatorSettings) -> kopf.OperatorSettings:
    """
    kopf's settings, by what was measured.

    Without a limit of workers and with a short idle time 72 objects a second were handled, with a limit of 64 and the
    default idle time 13. A watch is opened anew after a while, and when not even a bookmark came for 70 s.
    """
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.peering.standalone = True
    # no list of namespaces and definitions: that would need a cluster role
    chosen.scanning.disabled = True
    chosen.queueing.worker_limit = None
    chosen.queueing.idle_timeout = 1.0
    chosen.watching.server_timeout = settings.watch_seconds
    chosen.watching.client_timeout = settings.watch_seconds + 30
    chosen.watching.connect_timeout = 10
    chosen.watching.chunk_size = _CHUNK
    chosen.watching.label_selectors["", "v1", "pods"] = _PEONS
    # an API server that is away for hours is waited for: by default kopf gives up, and the process ends, after a minute
    chosen.networking.error_backoffs = (*_FIRST_BACKOFFS, *[_LONGEST_BACKOFF_SECONDS] * 10_000)
    chosen.process.ultimate_exiting_timeout = None
    return chosen
