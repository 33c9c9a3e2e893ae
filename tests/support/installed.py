"""
Nemeton on a real node, as a person has it: the chart installed by Helm into a namespace that enforces the *restricted*
Pod Security Standard, PostgreSQL and S3 from the chart's trial, tasks by REST and by kubectl.
"""

import base64
import contextlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import yaml

from druid_core.errors import NemetonError, NotFound, Unavailable
from druid_core.storage.object_store import ObjectStore
from nemeton.client.overlord import Overlord, Refused
from overlord_operator import names
from tests.support.chart import CHART, helm
from tests.support.cluster.client import Raw
from tests.support.cluster.images import load
from tests.support.cluster.node import Node
from tests.support.house import until

RELEASE = "nemeton"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
ROLES = ("overlord", "operator", "trial", "peon")

PATIENCE_S = 120.0
"""For whatever must happen in the end. Pods start on a machine that is busy with other things."""

_SMALL = {"cpu": "20m", "memory": "64Mi"}


def _peon_that(script: str) -> Raw:
    return {"spec": {"containers": [{"name": "main", "command": ["python", "-c", script]}]}}


_TALKER = """
import signal, sys, types
import peon
from peon import keeper

def talk(_):
    number = 0
    while True:
        number += 1
        print("line", number, flush=True)
        if signal.sigtimedwait([signal.SIGTERM], 0.005):
            print("told to end", flush=True)
            return 1

peon.run = sys.modules["peon.run"] = types.ModuleType("peon.run")
peon.run.main = talk
sys.exit(keeper.main())
"""
"""A keeper whose peon says a numbered line over and over, and ends when it is told to."""


VALUES: dict[str, Any] = {
    "image": {"prefix": "localhost/nemeton/", "tag": "test", "pullPolicy": "IfNotPresent"},
    "trial": {"image": {"repository": "trial"}},
    "database": {"embedded": {"enabled": True, "persistence": {"enabled": False}, "resources": {"requests": _SMALL}}},
    "objectStorage": {
        "embedded": {"enabled": True, "persistence": {"enabled": False}, "resources": {"requests": _SMALL}}
    },
    "overlord": {
        "image": {"repository": "overlord"},
        "resources": {"requests": _SMALL, "limits": {"memory": "1Gi"}},
    },
    "operator": {
        "image": {"repository": "operator"},
        "capacity": 24,
        "resources": {"requests": _SMALL, "limits": {"memory": "512Mi"}},
        "settings": {"retry_backoff_seconds": 1, "pod_keep_seconds": 20},
    },
    "peon": {
        "image": {"repository": "peon"},
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"memory": "768Mi", "ephemeral-storage": "2Gi"},
        },
        "terminationGracePeriodSeconds": 10,
    },
    # peons that end in ways that a noop does not; `spec.peon.template` names them
    "podTemplates": {
        "eats": _peon_that(
            "import os; eaten = b'x' * (100 << 20); os.execvp('python', ['python', '-m', 'peon.keeper'])"
        ),
        "exits": _peon_that("import sys; print('no such thing'); sys.exit(3)"),
        "fills": _peon_that(
            "import time; f = open('/work/big', 'wb')\n"
            "for _ in range(64): f.write(bytes(1 << 20)); f.flush()\n"
            "time.sleep(600)"
        ),
        "talks": _peon_that(_TALKER),
        "lost": {"spec": {"containers": [{"name": "main", "command": ["/not/there"]}]}},
    },
}
"""A trial that fits beside a machine's other work: there are no volumes, and requests are small."""


class Installation:
    """One release in one namespace. `install` returns when everything is ready."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.node = node
        self.namespace = namespace
        self._overlord: Overlord | None = None
        self._bucket: dict[str, str] | None = None

    def install(self, changes: Mapping[str, Any] | None = None) -> str:
        """What Helm says at the end: NOTES.txt."""
        load(self.node, *ROLES)
        self._hand_over_definition()
        values = yaml.safe_dump(_merged(VALUES, changes or {}))
        notes = self.helm("install", RELEASE, str(CHART), "--values", "-", stdin=values)
        self.wait_ready()
        return notes

    def _hand_over_definition(self) -> None:
        """The resource definition that the tests applied becomes the release's, by the marks that Helm goes by."""
        marks = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": self.namespace}
        metadata = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": marks}
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.PLURAL}.{names.GROUP}"
        if self.node.admin.find(path) is not None:
            self.node.admin.patch(path, {"metadata": metadata})

    def helm(self, *arguments: str, stdin: str = "") -> str:
        where = ("--kubeconfig", str(self.node.kubeconfig), "--namespace", self.namespace)
        return helm(*arguments, *where, stdin=stdin)

    def kubectl(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        return self.node.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def wait_ready(self, patience_s: float = 240) -> None:
        """Every Deployment and StatefulSet of the release has all its replicas."""
        for kind in ("statefulset", "deployment"):
            for raw in self.node.admin.items(f"/apis/apps/v1/namespaces/{self.namespace}/{kind}s"):
                name = f"{kind}/{raw['metadata']['name']}"
                self.kubectl("rollout", "status", name, f"--timeout={patience_s:.0f}s")
        until(self.answers, "the Overlord answers", PATIENCE_S)

    # the API

    @property
    def overlord(self) -> Overlord:
        if self._overlord is None:
            self._overlord = Overlord(f"http://{self.address('overlord')}")
        return self._overlord

    def address(self, component: str) -> str:
        """`host:port` of a service of the release, as it is reached from here."""
        raw = self.node.admin.get(f"/api/v1/namespaces/{self.namespace}/services/{RELEASE}-{component}")
        return f"{raw['spec']['clusterIP']}:{raw['spec']['ports'][0]['port']}"

    def overlord_at(self, raw_pod: Raw) -> Overlord:
        """One replica by itself."""
        return Overlord(f"http://{raw_pod['status']['podIP']}:8090")

    def answers(self) -> bool:
        try:
            self.overlord.tasks(max=0)
        except NemetonError:
            return False
        return True

    def submit(self, task: Mapping[str, Any]) -> str:
        """Through times when nobody answers; the task says its own id then, so that twice is once."""

        def sent() -> str | None:
            with contextlib.suppress(Unavailable):
                return self.overlord.submit(orjson.dumps(task))
            return None

        return until(sent, "the task is taken", PATIENCE_S)

    def status(self, task_id: str) -> Raw:
        return self.overlord.status(task_id)

    def finished(self, task_id: str, patience_s: float = PATIENCE_S) -> Raw:
        """The status at the end, as the Overlord tells it."""

        def status() -> Raw | None:
            try:
                found = self.status(task_id)
            except (Unavailable, Refused):
                return None
            return found if found["statusCode"] != "RUNNING" else None

        try:
            return until(status, f"{task_id} ends", patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.words()}") from None

    def log(self, task_id: str, offset: int = 0) -> bytes | None:
        try:
            return self.overlord.log(task_id, offset)
        except (NotFound, Unavailable):
            return None

    # the cluster

    @property
    def tasks_path(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"

    @property
    def pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def apply(self, name: str, spec: Mapping[str, Any]) -> None:
        """`kubectl apply` of a DruidTask."""
        self.kubectl("apply", "--filename", "-", stdin=orjson.dumps(druid_task(name, spec)))

    def object(self, name: str) -> Raw | None:
        return self.node.admin.find(f"{self.tasks_path}/{name}")

    def shown(self, name: str) -> Raw:
        """The status of a DruidTask; empty where there is none yet."""
        return (self.object(name) or {}).get("status") or {}

    def object_of(self, task_id: str) -> str:
        """The name of the DruidTask of a task that came by REST."""
        return names.job_name(task_id)

    def until_shown(self, name: str, patience_s: float = PATIENCE_S, **wanted: Any) -> Raw:
        """Waits until fields of the status have these values, and returns the status."""

        def status() -> Raw | None:
            shown = self.shown(name)
            return shown if all(shown.get(key) == value for key, value in wanted.items()) else None

        try:
            return until(status, f"{name} shows {wanted}", patience_s)
        except AssertionError as error:
            shown = orjson.dumps(self.shown(name), option=orjson.OPT_INDENT_2).decode()
            raise AssertionError(f"{error}\n{shown}\n{self.words()}") from None

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of the Events about a DruidTask, in their order."""
        raw_object = self.object(name)
        assert raw_object is not None, name
        selector = f"involvedObject.uid={raw_object['metadata']['uid']}"
        raw = self.node.admin.items(f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=selector)
        ordered = sorted(raw, key=lambda event: event["metadata"]["creationTimestamp"])
        return [(event["reason"], event["message"]) for event in ordered]

    def first_event(self, name: str, reason: str) -> str:
        """When the first Event with this reason about a DruidTask was written."""
        raw_object = self.object(name)
        assert raw_object is not None, name
        selector = f"involvedObject.uid={raw_object['metadata']['uid']},reason={reason}"
        raw = self.node.admin.items(f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=selector)
        return min(event["metadata"]["creationTimestamp"] for event in raw)

    def pods_of(self, task_id: str) -> list[Raw]:
        """The pods of a task that are there, in the order of their attempts."""
        found = [
            pod
            for pod in self.node.admin.items(self.pods_path, labelSelector=f"{names.LABEL_PEON}=true")
            if pod["metadata"]["annotations"].get(names.ANNOTATION_TASK_ID) == task_id
        ]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def running_pod(self, task_id: str) -> Raw:
        """The pod of a task once the peon in it is at work."""

        def running() -> Raw | None:
            begun = f"Running task [{task_id}]".encode() in (self.log(task_id) or b"")
            alive = [pod for pod in self.pods_of(task_id) if pod["status"]["phase"] == "Running"]
            return alive[-1] if begun and alive else None

        return until(running, f"the peon of {task_id} runs\n{self.words()}", PATIENCE_S)

    def component_pods(self, component: str) -> list[Raw]:
        """The pods of a part of the release: `overlord`, `operator`, `database`, `object-storage`."""
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        return self.node.admin.items(self.pods_path, labelSelector=selector)

    def words(self) -> str:
        """What its parts said last, and how its pods stand: for the message of a failed test."""
        said = [self.kubectl("get", "druidtasks,pods", "--output", "wide")]
        for component in ("operator", "overlord"):
            for pod in self.component_pods(component):
                name = pod["metadata"]["name"]
                with contextlib.suppress(Exception):
                    said.append(f"== {name}\n{self.kubectl('logs', name, '--tail=25')}")
        return "\n".join(said)

    # the bucket

    def store(self, prefix: str = "") -> ObjectStore:
        """The bucket of the release, or a folder in it, as a client outside of the cluster has it."""
        if self._bucket is None:
            raw = self.node.admin.get(f"/api/v1/namespaces/{self.namespace}/secrets/{RELEASE}-object-storage")
            keys = {name: base64.b64decode(value).decode() for name, value in raw["data"].items()}
            self._bucket = {
                **{name: value for name, value in keys.items() if name.startswith("AWS_")},
                "AWS_ENDPOINT": f"http://{self.address('object-storage')}",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
            }
        with patch.dict(os.environ, self._bucket):
            return ObjectStore.from_url(f"s3://nemeton/{prefix}".rstrip("/"))

    def published(self, task_id: str, data_source: str) -> str:
        """The place in the bucket of the one segment that a task published."""
        (segment_id,) = self.overlord.segments(task_id)
        version = segment_id.split("_")[3]
        stored = self.store().list(f"segments/{data_source}")
        (path,) = [each.path for each in stored if f"/{version}/" in each.path]
        return path

    def fetch_segment(self, path: str, folder: Path) -> Path:
        """A segment's zip from the bucket, unpacked into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / "index.zip"
        archive.write_bytes(self.store().get(path))
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)
        archive.unlink()
        return folder


def druid_task(name: str, spec: Mapping[str, Any]) -> Raw:
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: mappings into each other, all else replaced."""
    merged = dict(values)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(before, value)  # pyright: ignore[reportUnknownArgumentType]
        else:
            merged[key] = value
    return merged
