"""
Who moves in the benchmark of the operator beside what is measured: users that apply, a scheduler, a kubelet, peons.

They speak raw JSON over few connections, and count what they write, so that the rest is the operator's.
"""

import asyncio
import base64
import itertools
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from druid_core.status import TaskStatus
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord_operator import names
from tests.bench.pod_stage import Stage

Raw = dict[str, Any]
AT_ONCE = 8
"""Calls that each player has under way."""

_PAGE = 500
_MERGE_PATCH = "application/merge-patch+json"
_STARTED = "2026-01-01T00:00:00Z"


class TooSlow(Exception):
    """Something did not happen in time; the text says how far it came."""


@dataclass(slots=True)
class PlayedPod:
    """A pod that the operator made."""

    name: str
    task_id: str
    attempt: int
    uid: str
    made_at: float
    """By the monotonic clock."""
    phase: str = ""
    is_held: bool = True
    """Whether the operator's finalizer is on it."""


@dataclass(slots=True)
class World:
    """What a bystander sees of the namespace."""

    pods: dict[str, PlayedPod] = field(default_factory=dict[str, PlayedPod])
    """Every pod there ever was, by name."""
    states: dict[str, str] = field(default_factory=dict[str, str])
    """By the DruidTask's name."""

    def count(self, *states: str) -> int:
        return sum(state in states for state in self.states.values())

    @property
    def released(self) -> int:
        return sum(not pod.is_held for pod in self.pods.values())

    @property
    def doubled(self) -> int:
        """Pods beyond one a task."""
        return len(self.pods) - len({pod.task_id for pod in self.pods.values()})


class Players:
    """Async context manager: watches the namespace inside, and plays when asked."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self.world = World()
        self.own_writes: Counter[tuple[str, str]] = Counter()
        self._stage = stage
        self._say = say
        self._tasks = f"/apis/{names.API_VERSION}/namespaces/{stage.namespace}/{names.PLURAL}"
        self._core = f"/api/v1/namespaces/{stage.namespace}"
        self._tokens: dict[str, str] = {}
        self._logs = TaskLogs.from_url(stage.logs.as_uri())
        self._made: asyncio.Queue[PlayedPod] = asyncio.Queue()
        self._watches: list[asyncio.Task[None]] = []
        self._addresses = itertools.count()

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(self._stage.kube.certificates.authority))
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=4 * AT_ONCE),
            headers={"Authorization": f"Bearer {self._stage.kube.admin.token}"},
            timeout=aiohttp.ClientTimeout(total=120),
            read_bufsize=1 << 20,
            trust_env=False,
        )
        for path, see in ((f"{self._core}/pods", self._see_pod), (self._tasks, self._see_task)):
            self._watches.append(asyncio.create_task(self._watch(path, see)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._http.close()

    # the users

    async def apply(self, task_names: Iterable[str]) -> None:
        """One noop each, as fast as the API server takes them."""

        async def one(name: str) -> None:
            manifest = {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": name},
                "spec": {"task": {"type": "noop", "id": name, "dataSource": "bench", "runTime": 1}},
            }
            await self._write("POST", self._tasks, manifest, (names.PLURAL,))

        await each(task_names, one)

    # scheduler, kubelet, peons

    async def run(self, pods: Iterable[PlayedPod]) -> None:
        """Each gets a node and an address, and its peon starts."""
        await each(pods, self._run)

    async def run_as_made(self, count: int, limit_s: float) -> None:
        """So many pods that are still to be made, or were and do not run: each at once."""

        async def work() -> None:
            while next(left, None) is not None:
                await self._run(await self._made.get())

        left = iter(range(count))
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())

    async def succeed(self, pods: Iterable[PlayedPod]) -> None:
        """Each peon stores its log, says SUCCESS with its token, and ends."""
        todo = list(pods)
        if any(pod.name not in self._tokens for pod in todo):
            await self._read_tokens()
        await each(todo, self._succeed)

    async def _run(self, pod: PlayedPod) -> None:
        path = f"{self._core}/pods/{pod.name}"
        target = {"apiVersion": "v1", "kind": "Node", "name": "played"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name}, "target": target}
        await self._write("POST", f"{path}/binding", binding, ("pods", "binding"))
        number = next(self._addresses)
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        container = _container({"running": {"startedAt": _now()}}, ready=True)
        status: Raw = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "containerStatuses": [container]}
        await self._write("PATCH", f"{path}/status", {"status": status}, ("pods", "status"))

    async def _succeed(self, pod: PlayedPod) -> None:
        self._logs.push(pod.task_id, TaskLogName.LOG, b"The peon of a benchmark was here.\n")
        word = {"type": "updateStatus", "status": "", "statusFull": TaskStatus.success(pod.task_id, 1).to_wire()}
        header = {"type": "noop", "id": pod.task_id, "groupId": pod.task_id, "dataSource": "bench"}
        async with self._http.post(
            f"{self._stage.overlord_url}/druid/indexer/v1/action",
            data=orjson.dumps({"task": header, "action": word}),
            headers={"Authorization": f"Bearer {self._tokens[pod.name]}", "Content-Type": "application/json"},
        ) as answer:
            text = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the last word of {pod.task_id}: {answer.status} {text[:300]!r}")
        words = {"taskId": pod.task_id, "attempt": pod.attempt, "exitCode": 0, "status": "SUCCESS", "errorMsg": None}
        ended = {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": _STARTED,
            "finishedAt": _now(),
            "message": orjson.dumps(words).decode(),
        }
        status = {"phase": "Succeeded", "containerStatuses": [_container({"terminated": ended}, ready=False)]}
        path = f"{self._core}/pods/{pod.name}/status"
        await self._write("PATCH", path, {"status": status}, ("pods", "status"))

    async def _read_tokens(self) -> None:
        for raw_secret in (await self._list(f"{self._core}/secrets"))[0]:
            for value in (raw_secret.get("data") or {}).values():
                self._tokens[raw_secret["metadata"]["name"]] = base64.b64decode(value).decode()

    # what happens

    async def wait(
        self,
        what: str,
        reached: Callable[[], float],
        wanted: float,
        limit_s: float,
        meanwhile: Iterable[asyncio.Task[None]] = (),
    ) -> float:
        """
        Until `reached` is `wanted`; the seconds it took. Says how it goes.

        Raises TooSlow after `limit_s`, and what the watches, or one of `meanwhile`, raised.
        """
        others = [*self._watches, *meanwhile]
        began = time.monotonic()
        told_at = began
        while (now := reached()) < wanted:
            for other in others:
                if other.done():
                    other.result()
            at = time.monotonic()
            if at - began > limit_s:
                raise TooSlow(f"{what}: {now:g} of {wanted:g} after {limit_s:.0f} s")
            if at - told_at >= 10:
                told_at = at
                self._say(f"    {what}: {now:g} of {wanted:g} after {at - began:.0f} s")
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    def _see_pod(self, kind: str, raw_pod: Raw) -> None:
        metadata = raw_pod["metadata"]
        name, annotations = metadata["name"], metadata.get("annotations") or {}
        pod = self.world.pods.get(name)
        if pod is None:
            task_id, attempt = annotations[names.ANNOTATION_TASK_ID], int(annotations[names.ANNOTATION_ATTEMPT])
            pod = PlayedPod(name, task_id, attempt, metadata["uid"], time.monotonic())
            self.world.pods[name] = pod
            self._made.put_nowait(pod)
        pod.phase = raw_pod["status"].get("phase") or ""
        pod.is_held = kind != "DELETED" and bool(metadata.get("finalizers"))

    def _see_task(self, kind: str, raw_task: Raw) -> None:
        name = raw_task["metadata"]["name"]
        self.world.states[name] = "" if kind == "DELETED" else (raw_task.get("status") or {}).get("state") or ""

    async def _watch(self, path: str, see: Callable[[str, Raw], None]) -> None:
        """A list, and all that comes after it, for ever. The API server ends each watch after some minutes."""
        version = ""
        while True:
            if not version:
                raw_objects, version = await self._list(path)
                for raw_object in raw_objects:
                    see("LISTED", raw_object)
            query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "1800", "resourceVersion": version}
            try:
                async with self._http.get(
                    self._stage.kube.server + path, params=query, timeout=aiohttp.ClientTimeout(total=None)
                ) as answer:
                    if answer.status == 429:  # a definition that is new, or an API server that is busy
                        await asyncio.sleep(1.0)
                        continue
                    if answer.status != 200:
                        raise RuntimeError(f"watching {path}: {answer.status} {await answer.text()}")
                    async for line in answer.content:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            self._say(f"    watching {path} anew: {event['object'].get('message')}")
                            version = ""
                            break
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            see(event["type"], event["object"])
            except aiohttp.ClientError as error:
                self._say(f"    watching {path} anew: {error}")
            await asyncio.sleep(0.5)

    # calls

    async def _write(self, method: str, path: str, body: Raw, resource: tuple[str, ...]) -> None:
        kind = _MERGE_PATCH if method == "PATCH" else "application/json"
        self.own_writes[method, "/".join(resource)] += 1
        async with self._http.request(
            method, self._stage.kube.server + path, data=orjson.dumps(body), headers={"Content-Type": kind}
        ) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")

    async def _list(self, path: str) -> tuple[list[Raw], str]:
        """All objects, and the version from which on a watch goes on."""
        found: list[Raw] = []
        query = {"limit": str(_PAGE)}
        while True:
            async with self._http.get(self._stage.kube.server + path, params=query) as answer:
                page = orjson.loads(await answer.read())
            if answer.status == 429:
                await asyncio.sleep(1.0)
                continue
            found += page["items"]
            if not (more := page["metadata"].get("continue")):
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = more


async def each(items: Iterable[Any], do: Callable[[Any], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """Do it for every item, `at_once` at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(work())


def _container(state: Raw, *, ready: bool) -> Raw:
    return {
        "name": names.PEON_CONTAINER,
        "image": "played",
        "imageID": "",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
