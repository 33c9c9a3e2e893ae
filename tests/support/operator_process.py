"""The operator as a process of its own, on a real API server, and pods whose kubelet is the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from druid_core.status import TaskStatus
from overlord_operator import names
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until
from tests.support.served_overlord import ServedOverlord, serving_overlord

Raw = dict[str, Any]
ROOMS = ("core", "operator")


class OperatorProcess:
    """Started with settings as environment; its output in a file."""

    def __init__(self, folder: Path, kubeconfig: Path, identity: str, **settings: str) -> None:
        self.identity = identity
        self.output = folder / f"{identity}.log"
        root = Path(__file__).parents[2]
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(root / room) for room in ROOMS),
            "KUBECONFIG": str(kubeconfig),
            "NEMETON_IDENTITY": identity,
            "NEMETON_HOST": "127.0.0.1",
            "NEMETON_PORT": "0",
            **{f"NEMETON_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "overlord_operator"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def leads(self) -> bool:
        lines = [line for line in self.text.splitlines() if " leads" in line or " no longer leads" in line]
        return bool(lines) and " no longer" not in lines[-1]

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(number)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class PlayedCluster:
    """A namespace of a real cluster, with an Overlord, operators, and pods that the test plays."""

    def __init__(self, kube: ControlPlane, namespace: str, overlord: ServedOverlord, folder: Path) -> None:
        self.kube = kube
        self.namespace = namespace
        self.overlord = overlord
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.operators: list[OperatorProcess] = []
        self._tasks = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def operator(
        self, identity: str = "operator-0", kubeconfig: Path | None = None, **settings: str
    ) -> OperatorProcess:
        """Start one more replica."""
        given = {
            "overlord": self.overlord.url,
            "namespace": self.namespace,
            "task_logs": self.logs.as_uri(),
            "pod_keep_seconds": "0",
            "log_level": "DEBUG",
            **settings,
        }
        process = OperatorProcess(self.folder, kubeconfig or self.kube.kubeconfig, identity, **given)
        process.start()
        self.operators.append(process)
        return process

    def end(self) -> None:
        for process in self.operators:
            process.kill()

    # the cluster, looked at

    def tasks(self) -> list[Raw]:
        return self.kube.admin.items(self._tasks)

    def task(self, name: str) -> Raw | None:
        return self.kube.admin.find(f"{self._tasks}/{name}")

    def status(self, name: str) -> Raw:
        return (self.task(name) or {}).get("status") or {}

    def pods(self) -> list[Raw]:
        return self.kube.admin.items(self._pods)

    def pod_of(self, task_id: str, attempt: int = 1) -> Raw | None:
        return self.kube.admin.find(f"{self._pods}/{names.pod_name(task_id, attempt)}")

    def events(self, name: str) -> list[str]:
        events = self.kube.admin.items(f"/api/v1/namespaces/{self.namespace}/events")
        return [event["reason"] for event in events if event["involvedObject"]["name"] == name]

    # the user and the kubelet, played

    def apply(self, name: str, task: Raw | None = None, **spec: Any) -> None:
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name},
            "spec": {"task": task or {"type": "noop", "dataSource": "web"}, **spec},
        }
        self.kube.kubectl.apply(manifest, namespace=self.namespace)

    def rest_task(self, task_id: str) -> str:
        """A task by REST; the name of the object that it will have."""
        with self.overlord.lock:
            self.overlord.fake.rest_task(task_id)
        return names.job_name(task_id)

    def wait_for_state(self, name: str, state: str, patience_s: float = 60.0) -> Raw:
        until(lambda: self.status(name).get("state") == state, f"{name} is {state}", patience_s)
        return self.status(name)

    def wait_for_pod(self, task_id: str, attempt: int = 1) -> Raw:
        return until(lambda: self.pod_of(task_id, attempt), f"the pod of {task_id}, attempt {attempt}", 60.0)

    def play(self, task_id: str, status: Raw, attempt: int = 1) -> None:
        self.kube.admin.patch(f"{self._pods}/{names.pod_name(task_id, attempt)}/status", {"status": status})

    def run_pod(self, task_id: str, attempt: int = 1) -> None:
        state = {"running": {"startedAt": _now()}}
        container = {"name": "main", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        status: Raw = {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]}
        self.play(task_id, {**status, "containerStatuses": [container]}, attempt)

    def end_pod(
        self, task_id: str, attempt: int = 1, exit_code: int = 0, why: str = "Completed", **status: Any
    ) -> None:
        state = {
            "terminated": {"exitCode": exit_code, "reason": why, "startedAt": _now(), "finishedAt": _now()},
        }
        container = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self.play(task_id, {"phase": phase, "containerStatuses": [container], **status}, attempt)

    def succeed(self, task_id: str, attempt: int = 1) -> None:
        """The peon says SUCCESS and ends."""
        with self.overlord.lock:
            self.overlord.fake.finish(task_id, TaskStatus.success(task_id, 1000))
        self.end_pod(task_id, attempt)


def played_cluster(kube: ControlPlane, tmp_path: Path) -> Generator[PlayedCluster]:
    """A namespace with an Overlord of its own, for one test; to be made a fixture."""
    namespace = kube.new_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    with serving_overlord() as overlord:
        cluster = PlayedCluster(kube, namespace, overlord, tmp_path)
        try:
            yield cluster
        finally:
            cluster.end()
            kube.delete_namespace(namespace)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
