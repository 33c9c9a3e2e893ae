"""
What the operator has seen of the cluster: DruidTasks and their pods, trimmed, by name.

Fed by watches and by lists, in any order; of two states of one object the newer stays. Kept as JSON text, because ten
thousand objects as Python objects would be ten times as large. Nothing here is remembered over a restart.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson

from druid_core.errors import InvalidTask
from overlord_operator import names
from overlord_operator.druid_task.resource import DruidTask, data_source_of, hash_of
from overlord_operator.pod.identity import attempt_of

KEPT_TASK_BYTES = 64 << 10
"""A task that is not submitted yet is kept whole up to this size; a larger one is fetched when it is submitted."""

_READ_TASKS = 512
"""Of the tasks that were seen or looked at last the read form is kept: a pass reads one state several times."""

_STRAY = "#"
"""Stands in no object's name."""

_TOMBSTONES = 20_000
"""Uids of objects that were seen to go, the latest: a list that was begun before must not bring them back."""


class Ref(NamedTuple):
    """One DruidTask, whether it exists yet or not."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One DruidTask as kept."""

    uid: str
    version: int
    task_id: str
    data: bytes
    """The object, its `spec.task` cut down to what names the task."""
    problem: str | None
    """Why the object cannot be read."""
    task: bytes | None
    """`spec.task` whole, until it is submitted; None where it was, or is too large to be kept."""
    task_hash: str
    is_accepted: bool
    """Whether its status says that the Overlord has the task."""
    verdict: int | None
    """Of a final status: tells it from any other one. None: it is not final."""

    @property
    def is_over(self) -> bool:
        """Whether its status is final."""
        return self.verdict is not None


@dataclass(frozen=True, slots=True)
class PodEntry:
    """One pod of a peon as kept."""

    namespace: str
    name: str
    uid: str
    version: int
    owner: Ref
    owner_uid: str | None
    """Of the DruidTask that owns it; None: there is none, and garbage collection leaves it alone."""
    task_id: str
    attempt: int
    is_held: bool
    """Whether our finalizer is on it: what it has to say is not settled yet."""
    is_deleting: bool
    finalizers: tuple[str, ...]
    data: bytes


class Mirror:
    """All that is known of the cluster. Every method that takes an object says which DruidTask to look at again."""

    def __init__(self, release: str) -> None:
        self._release = release
        self._tasks: dict[Ref, TaskEntry] = {}
        self._pods: dict[tuple[str, str], PodEntry] = {}
        self._read: OrderedDict[Ref, tuple[str, int, DruidTask]] = OrderedDict()
        # tuples, for most have one element, and a set is four times as large
        self._pods_of: dict[Ref, tuple[tuple[str, str], ...]] = {}
        self._refs_of_id: dict[str, tuple[Ref, ...]] = {}
        self._pods_of_id: dict[str, tuple[tuple[str, str], ...]] = {}
        self._confirmed: dict[Ref, int] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._held: dict[tuple[str, str], PodEntry] = {}
        self.held_more = asyncio.Event()
        """Set when there is a pod with our finalizer that was not there before."""
        self.is_complete = False
        """Whether all there is has been listed once: before, absence means nothing."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def pod_count(self) -> int:
        return len(self._pods)

    def task(self, ref: Ref) -> TaskEntry | None:
        return self._tasks.get(ref)

    def druid_task(self, ref: Ref) -> DruidTask | None:
        """The DruidTask, read; of `spec.task` it holds what names the task."""
        entry = self._tasks.get(ref)
        if entry is None:
            return None
        read = self._read.get(ref)
        if read is not None and read[:2] == (entry.uid, entry.version):
            return read[2]
        task = DruidTask.parse(orjson.loads(entry.data))
        self._keep_read(ref, entry, task)
        return task

    def _keep_read(self, ref: Ref, entry: TaskEntry, task: DruidTask) -> None:
        self._read[ref] = (entry.uid, entry.version, task)
        self._read.move_to_end(ref)
        if len(self._read) > _READ_TASKS:
            self._read.popitem(last=False)

    def pods(self, ref: Ref) -> list[PodEntry]:
        """In the order of their attempts; `ref` may be that of strays."""
        by_name = Ref(ref.namespace, ref.name.partition(_STRAY)[0])
        found = [self._pods[key] for key in self._pods_of.get(by_name, ())]
        return sorted((pod for pod in found if self._home(pod) == ref), key=lambda pod: (pod.attempt, pod.name))

    def strays(self, ref: Ref) -> set[Ref]:
        """Where pods are looked after that belong to an earlier object of this name."""
        return {self._home(self._pods[key]) for key in self._pods_of.get(ref, ())} - {ref}

    def _home(self, pod: PodEntry) -> Ref:
        """
        Under which name a pod is looked after: its DruidTask's. One whose object is gone, and the name taken by
        another, has a name of its own that no object can have: what is learnt of the two must not be mixed.
        """
        entry = self._tasks.get(pod.owner)
        if entry is None or pod.owner_uid is None or pod.owner_uid == entry.uid:
            return pod.owner
        return Ref(pod.owner.namespace, f"{pod.owner.name}{_STRAY}{pod.owner_uid}")

    def held_pods(self) -> Iterator[PodEntry]:
        return iter(self._held.values())

    def refs(self) -> set[Ref]:
        """Every DruidTask that there is, or of which there are pods."""
        return self._tasks.keys() | {self._home(pod) for pod in self._pods.values()}

    def of_task_id(self, task_id: str) -> set[Ref]:
        """The DruidTasks that name this task; more than one where somebody applied it twice."""
        return set(self._refs_of_id.get(task_id, ()))

    def of_pods(self, task_id: str) -> set[Ref]:
        """Where the pods of this task are looked after: with its DruidTask, or by themselves where that is gone."""
        return {self._home(self._pods[key]) for key in self._pods_of_id.get(task_id, ())}

    def confirm(self, ref: Ref) -> None:
        """The final status that the object has now is known to be true."""
        entry = self._tasks.get(ref)
        if entry is not None and entry.verdict is not None:
            self._confirmed[ref] = entry.verdict

    def is_confirmed(self, ref: Ref) -> bool:
        """Whether the object has a final status that is known to be true."""
        entry = self._tasks.get(ref)
        return entry is not None and entry.verdict is not None and self._confirmed.get(ref) == entry.verdict

    # what comes from the API server

    def see_task(self, raw: dict[str, Any]) -> Ref | None:
        """A state of a DruidTask; None where it is old news, or another release's."""
        metadata = raw["metadata"]
        ref = Ref(metadata["namespace"], metadata["name"])
        uid, version = metadata["uid"], _version(metadata)
        known = self._tasks.get(ref)
        if uid in self._gone or (known is not None and known.uid == uid and known.version >= version):
            return None
        if (metadata.get("labels") or {}).get(names.LABEL_RELEASE, self._release) != self._release:
            return None
        if known is not None:
            self._unindex(ref, known)
        entry, task = _task_entry(raw, uid, version)
        self._tasks[ref] = entry
        if task is not None:
            self._keep_read(ref, entry, task)
        self._refs_of_id[entry.task_id] = (*self._refs_of_id.get(entry.task_id, ()), ref)
        return ref

    def lose_task(self, namespace: str, name: str, uid: str) -> Ref | None:
        """A DruidTask that is gone."""
        self._bury(uid)
        ref = Ref(namespace, name)
        known = self._tasks.get(ref)
        if known is None or known.uid != uid:
            return None
        del self._tasks[ref]
        self._read.pop(ref, None)
        self._confirmed.pop(ref, None)
        self._unindex(ref, known)
        return ref

    def see_pod(self, raw: dict[str, Any]) -> Ref | None:
        """A state of a pod; None where it is old news, or no peon of this release."""
        metadata = raw["metadata"]
        key = (metadata["namespace"], metadata["name"])
        uid, version = metadata["uid"], _version(metadata)
        known = self._pods.get(key)
        if uid in self._gone or (known is not None and known.uid == uid and known.version >= version):
            return None
        if (metadata.get("labels") or {}).get(names.LABEL_RELEASE, self._release) != self._release:
            return None
        entry = _pod_entry(raw, uid, version)
        if entry is None:
            return None
        was_held = key in self._held
        if known is not None:
            self._drop_pod(key, known)
        self._pods[key] = entry
        if entry.is_held:
            self._held[key] = entry
            if not was_held:
                self.held_more.set()
        self._pods_of[entry.owner] = (*self._pods_of.get(entry.owner, ()), key)
        self._pods_of_id[entry.task_id] = (*self._pods_of_id.get(entry.task_id, ()), key)
        return self._home(entry)

    def lose_pod(self, namespace: str, name: str, uid: str) -> Ref | None:
        """A pod that is gone."""
        self._bury(uid)
        known = self._pods.get((namespace, name))
        if known is None or known.uid != uid:
            return None
        self._drop_pod((namespace, name), known)
        return self._home(known)

    def lose_unlisted(self, tasks: Iterable[str], pods: Iterable[str]) -> set[Ref]:
        """
        Drop what was there before a list began and is not on it; the DruidTasks to look at.

        `tasks` and `pods` are the uids that `before_list` gave, less those that the lists held.
        """
        lost: set[Ref | None] = set()
        missing_tasks, missing_pods = set(tasks), set(pods)
        for ref, entry in list(self._tasks.items()):
            if entry.uid in missing_tasks:
                lost.add(self.lose_task(ref.namespace, ref.name, entry.uid))
        for pod in list(self._pods.values()):
            if pod.uid in missing_pods:
                lost.add(self.lose_pod(pod.namespace, pod.name, pod.uid))
        return {ref for ref in lost if ref is not None}

    def before_list(self) -> tuple[set[str], set[str]]:
        """The uids of all DruidTasks and all pods known now."""
        return {entry.uid for entry in self._tasks.values()}, {pod.uid for pod in self._pods.values()}

    def _unindex(self, ref: Ref, entry: TaskEntry) -> None:
        refs = tuple(each for each in self._refs_of_id.pop(entry.task_id, ()) if each != ref)
        if refs:
            self._refs_of_id[entry.task_id] = refs

    def _drop_pod(self, key: tuple[str, str], entry: PodEntry) -> None:
        del self._pods[key]
        self._held.pop(key, None)
        keys = tuple(each for each in self._pods_of.pop(entry.owner, ()) if each != key)
        if keys:
            self._pods_of[entry.owner] = keys
        keys = tuple(each for each in self._pods_of_id.pop(entry.task_id, ()) if each != key)
        if keys:
            self._pods_of_id[entry.task_id] = keys

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)


def json_text(raw: Any) -> bytes:
    """JSON that is to be kept. What orjson gives occupies 4 or 8 KiB, however short it is; a copy does not."""
    return bytes(memoryview(orjson.dumps(raw)))


def _version(metadata: dict[str, Any]) -> int:
    # Comparable by the API's own promise since Kubernetes 1.35, and in fact (etcd's revision) ever since.
    text = metadata.get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


def _task_entry(raw: dict[str, Any], uid: str, version: int) -> tuple[TaskEntry, DruidTask | None]:
    """The object as kept, and as read where it can be."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    annotations = metadata.get("annotations") or {}
    spec: dict[str, Any] = dict(raw.get("spec") or {})
    is_accepted = any(
        condition.get("type") == names.CONDITION_SUBMITTED and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )
    task, task_hash, whole = None, "", spec.get("task")
    if isinstance(whole, dict):
        raw_task = cast("dict[str, Any]", whole)
        task_hash = hash_of(raw_task)
        if not is_accepted:
            text = json_text(raw_task)
            task = text if len(text) <= KEPT_TASK_BYTES else None
        spec["task"] = _stub(raw_task)
    kept: dict[str, Any] = {
        "metadata": {
            key: metadata[key]
            for key in (
                *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "finalizers"),
                *("creationTimestamp", "deletionTimestamp"),
            )
            if key in metadata
        }
        | {"annotations": {key: text for key, text in annotations.items() if len(text) < 1024}},
        "spec": spec,
        "status": status,
    }
    problem, read = None, None
    try:
        read = DruidTask.parse(kept)
        task_id = read.task_id
    except InvalidTask as error:
        problem, task_id, task_hash = str(error), f"{metadata['namespace']}/{metadata['name']}", ""
        kept["spec"] = {"taskId": task_id}  # what cannot be read is not kept; the object's status will say why
    is_over = status.get("state") in ("SUCCESS", "FAILED")
    verdict = hash((uid, orjson.dumps(status, option=orjson.OPT_SORT_KEYS))) if is_over else None
    entry = TaskEntry(uid, version, task_id, json_text(kept), problem, task, task_hash, is_accepted, verdict)
    return entry, read


def _stub(raw_task: dict[str, Any]) -> dict[str, Any]:
    """What of a task its id and its labels are made of."""
    kept = {key: raw_task[key] for key in ("type", "id", "groupId") if key in raw_task}
    data_source = data_source_of(raw_task)
    return kept if data_source is None else {**kept, "dataSource": data_source}


def _pod_entry(raw: dict[str, Any], uid: str, version: int) -> PodEntry | None:
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    identity = attempt_of(raw)
    if identity is None:
        return None  # a stock Druid's, say, in the same namespace
    task_id, attempt = identity
    owners = [owner for owner in metadata.get("ownerReferences") or [] if owner.get("kind") == names.KIND]
    name = owners[0]["name"] if owners else names.job_name(task_id)
    kept = {
        "metadata": {key: part for key, part in metadata.items() if key != "managedFields"}
        | {
            "annotations": {key: text for key, text in annotations.items() if key != names.ANNOTATION_TASK}
            | {names.ANNOTATION_TASK_ID: task_id, names.ANNOTATION_ATTEMPT: str(attempt)}
        },
        "spec": {
            key: part
            for key, part in spec.items()
            if key not in ("volumes", "containers", "initContainers", "tolerations", "affinity", "securityContext")
        }
        | {
            key: [_container(container) for container in spec[key]]
            for key in ("containers", "initContainers")
            if spec.get(key)
        },
        "status": raw.get("status") or {},
    }
    return PodEntry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid,
        version=version,
        owner=Ref(metadata["namespace"], name),
        owner_uid=owners[0].get("uid") if owners else None,
        task_id=task_id,
        attempt=attempt,
        is_held=names.LOG_FINALIZER in (metadata.get("finalizers") or ()),
        is_deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        data=json_text(kept),
    )


def _container(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: raw[key] for key in ("name", "image", "resources", "restartPolicy") if key in raw}
