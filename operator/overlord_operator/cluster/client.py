"""The calls to the API server that the operator makes: few kinds, raw JSON, a bounded number at once."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import orjson

from overlord_operator.cluster.connection import Connection, NoAnswer
from overlord_operator.cluster.errors import ClusterAway, of_answer

_log = logging.getLogger(__name__)

PODS = "api/v1/pods"
SECRETS = "api/v1/secrets"
EVENTS = "api/v1/events"
LEASES = "apis/coordination.k8s.io/v1/leases"

_PAGE = 500
"""Objects a page of a list: some MiB, which is what a list may cost in memory at once."""
_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 15.0

RawObject = dict[str, Any]


class Cluster:
    """
    The API server.

    Every method raises Vanished, AlreadyExists, Outdated, ClusterRefused, or, after some tries with growing pauses,
    ClusterAway. A kind of object is named by its group, version and plural: `api/v1/pods`.
    """

    def __init__(self, calls_in_flight: int, timeout_seconds: float, connection: Connection | None = None) -> None:
        self._connection = connection or Connection(calls_in_flight, timeout_seconds)
        self.calls: Counter[tuple[str, str, int]] = Counter()
        """Answers by method, kind of object and status; 0 is no answer."""

    async def close(self) -> None:
        await self._connection.close()

    async def get(self, kind: str, namespace: str, name: str) -> RawObject:
        return await self._call("GET", kind, namespace, name)

    async def pages(self, kind: str, namespace: str | None, label_selector: str = "") -> AsyncIterator[list[RawObject]]:
        """
        All objects of a kind, page by page; `namespace` None: of the whole cluster.

        Raises Outdated where the list took so long that the API server lost its place: begin anew.
        """
        query = {"limit": str(_PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self._call("GET", kind, namespace, query=query)
            yield page.get("items") or []
            query["continue"] = (page.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return

    async def events_of(self, namespace: str, uid: str) -> list[RawObject]:
        """Kubernetes' Events about one object, an hour's at most: the API server keeps no more."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(_PAGE)}
        return (await self._call("GET", EVENTS, namespace, query=query)).get("items") or []

    async def create(
        self, kind: str, namespace: str, raw_object: Mapping[str, Any], *, is_strict: bool = False
    ) -> RawObject:
        """
        The object as it was stored. Raises AlreadyExists, also where a try before, whose answer was lost, made it.

        `is_strict`: a field that the API server does not know is refused; otherwise it is dropped without a word.
        """
        query = {"fieldValidation": "Strict"} if is_strict else None
        return await self._call("POST", kind, namespace, body=raw_object, query=query)

    async def replace(self, kind: str, namespace: str, name: str, raw_object: Mapping[str, Any]) -> RawObject:
        """Write a whole object; with a `resourceVersion` in it, only over that very state, else Outdated."""
        return await self._call("PUT", kind, namespace, name, body=raw_object)

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = ""
    ) -> RawObject:
        """A JSON merge patch: null removes."""
        return await self._call(
            "PATCH", kind, namespace, name, subresource, patch, content_type="application/merge-patch+json"
        )

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> RawObject | None:
        """
        The object while finalizers hold it, None when it is gone.

        With its uid, so that no later object of that name is hit: for such a one Outdated is raised.
        """
        options: RawObject = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        answer = await self._call("DELETE", kind, namespace, name, body=options)
        return None if answer.get("kind") == "Status" else answer

    async def pod_log(self, namespace: str, name: str, container: str, out: BinaryIO) -> bool:
        """
        Write what the node still has of a container's output to `out`; False where it has nothing.

        Raises ClusterAway where the answer breaks off.
        """
        path = f"{_path(PODS, namespace, name, 'log')}?{urlencode({'container': container})}"
        try:
            async with self._connection.stream(path) as response:
                self.calls["GET", "log", response.status] += 1
                # 400: the container has not started; 404: the pod or its log is gone; 5xx: its node does not answer
                if response.status != 200:
                    return False
                async for chunk in response.content.iter_chunked(1 << 16):
                    out.write(chunk)
        except NoAnswer as error:
            self.calls["GET", "log", 0] += 1
            raise ClusterAway(f"The API server did not give a pod's log to its end: {error}") from error
        return True

    async def _call(
        self,
        method: str,
        kind: str,
        namespace: str | None,
        name: str = "",
        subresource: str = "",
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> RawObject:
        path = _path(kind, namespace, name, subresource)
        if query:
            path += "?" + urlencode({key: value for key, value in query.items() if value})
        data = None if body is None else orjson.dumps(body)
        pause_seconds = _FIRST_PAUSE_SECONDS
        for left in reversed(range(_TRIES)):
            status, answer, wait_seconds = await self._try(method, kind, path, data, content_type)
            if 200 <= status < 300:
                return answer
            error = of_answer(status, answer.get("reason") or "", _sentence(method, path, status, answer))
            if not isinstance(error, ClusterAway) or not left:
                raise error
            _log.info("%s; trying again", error)
            # with jitter: replicas and calls that failed together do not come back together
            await asyncio.sleep(max(wait_seconds, pause_seconds * random.uniform(0.5, 1.0)))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    async def _try(
        self, method: str, kind: str, path: str, data: bytes | None, content_type: str
    ) -> tuple[int, RawObject, float]:
        """Status (503 where no answer came), answer, seconds to wait as the API server wishes."""
        noun = kind.rpartition("/")[2]
        try:
            status, retry_after, body = await self._connection.request(method, path, data, content_type)
        except NoAnswer as error:
            self.calls[method, noun, 0] += 1
            return 503, {"message": f"no answer ({error or type(error).__name__})"}, 0.0
        self.calls[method, noun, status] += 1
        try:
            answer = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            answer = {"message": body[:200].decode(errors="replace")}
        return status, answer, _retry_after(retry_after)


def _path(kind: str, namespace: str | None, name: str = "", subresource: str = "") -> str:
    version, _, plural = kind.rpartition("/")
    parts = [version, *(["namespaces", quote(namespace)] if namespace else []), plural]
    parts += [quote(part) for part in (name, subresource) if part]
    return "/" + "/".join(parts)


def _retry_after(text: str | None) -> float:
    return min(float(text), _LONGEST_PAUSE_SECONDS) if text and text.isdigit() else 0.0


def _sentence(method: str, path: str, status: int, answer: RawObject) -> str:
    message = answer.get("message")
    return (
        str(message)
        if message and status < 500
        else f"The API server answered {method} {path} with {status}: {message}"
    )


def is_gone(raw_object: Mapping[str, Any]) -> bool:
    """Whether a patch took the last finalizer from what was deleted: the answer is the object's last state."""
    metadata = raw_object["metadata"]
    return "deletionTimestamp" in metadata and not metadata.get("finalizers")
