"""
What the benchmark of the operator runs on: a real etcd, API server, PostgreSQL, Overlord and operators, all processes.

No scheduler and no kubelet: `tests.bench.pod_players` plays them. Of the controllers only those run that a namespace
needs. What etcd and PostgreSQL write goes to memory, for a disk is not what is measured.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.watch import usage
from tests.support.cluster.control_plane import ControlPlane, Place
from tests.support.cluster.leftovers import new_folder, remove
from tests.support.druid.processes import command_line, descendants, start, stop
from tests.support.operator_process import OperatorProcess
from tests.support.ports import free_port
from tests.support.postgres import running_postgres

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 120.0

_CONTROLLERS = "serviceaccount-controller,namespace-controller,root-ca-certificate-publisher-controller"
_REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION")
_SAMPLE = re.compile(r"^nemeton_operator_(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of each part since it was started."""

    operator: float
    overlord: float
    postgres: float
    api_server: float
    etcd: float

    def since(self, before: "Spent") -> "Spent":
        return Spent(
            self.operator - before.operator,
            self.overlord - before.overlord,
            self.postgres - before.postgres,
            self.api_server - before.api_server,
            self.etcd - before.etcd,
        )


class Operator:
    """One replica, as a process with an identity that it keeps when it is started again."""

    def __init__(self, stage: "Stage", identity: str) -> None:
        self.port = free_port()
        self._process = OperatorProcess(
            stage.folder,
            stage.kube.kubeconfig,
            identity,
            overlord=stage.overlord_url,
            namespace=stage.namespace,
            task_logs=stage.logs.as_uri(),
            capacity=str(stage.capacity),
            port=str(self.port),
            **stage.operator_settings,
        )
        self._ended_cpu_s = 0.0
        self.peak_rss_bytes = 0
        """Of all its lives that have ended."""

    def start(self) -> None:
        self._process.start()

    def kill(self) -> None:
        """kill -9."""
        self._note()
        self._process.kill()

    def stop(self) -> None:
        self._note()
        self._process.stop()

    @property
    def rss_bytes(self) -> int:
        return usage(self._process.pid)[1]

    def cpu_s(self) -> float:
        """Of all its lives."""
        try:
            return self._ended_cpu_s + usage(self._process.pid)[0]
        except (OSError, AssertionError):
            return self._ended_cpu_s

    def peak_bytes(self) -> int:
        """The most that was resident at any time in any of its lives."""
        try:
            return max(self.peak_rss_bytes, _peak_rss_bytes(self._process.pid))
        except (OSError, AssertionError):
            return self.peak_rss_bytes

    def metrics(self) -> dict[str, float]:
        """Its own numbers, sums over labels; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        found: dict[str, float] = {}
        for name, _, value in _SAMPLE.findall(text):
            found[name] = found.get(name, 0.0) + float(value)
        return found

    def _note(self) -> None:
        self.peak_rss_bytes = self.peak_bytes()
        self._ended_cpu_s = self.cpu_s()


class Stage:
    """Context manager: everything is up inside, but for the operators, which `operator` makes."""

    def __init__(self, folder: Path, capacity: int) -> None:
        self.folder = folder
        self.capacity = capacity
        self.logs = folder / "logs"
        self.operators: list[Operator] = []
        # The pods that are played may wait longer than a real cluster would let them.
        self.operator_settings = {"launch_timeout_seconds": "3600"}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            postgres = stack.enter_context(running_postgres())
            plane_folder = new_folder()
            stack.callback(remove, plane_folder)
            place = Place(controller_options=("--controllers", _CONTROLLERS))
            self.kube = stack.enter_context(ControlPlane(plane_folder, place, scheduler=False))
            self.kube.apply_crds()
            self.namespace = self.kube.new_namespace(prefix="bench")
            database_url = asyncio.run(postgres.clone())
            stack.callback(lambda: asyncio.run(postgres.drop(database_url)))
            self._overlord = self._start_overlord(database_url)
            stack.callback(stop, self._overlord)
            self._wait_for_overlord()
            stack.callback(self._end_operators)
            self._postgres_pid = next(pid for pid in descendants(os.getpid()) if "bin/postgres -D" in command_line(pid))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def operator(self, identity: str) -> Operator:
        """One more replica, started."""
        operator = Operator(self, identity)
        self.operators.append(operator)
        operator.start()
        return operator

    def spent(self) -> Spent:
        return Spent(
            operator=sum(operator.cpu_s() for operator in self.operators),
            overlord=usage(self._overlord.pid)[0],
            postgres=sum(_cpu_s(pid) for pid in [self._postgres_pid, *descendants(self._postgres_pid)]),
            api_server=usage(self.kube.parts["apiserver"].pid)[0],
            etcd=usage(self.kube.parts["etcd"].pid)[0],
        )

    def overlord_peak_bytes(self) -> int:
        return _peak_rss_bytes(self._overlord.pid)

    def writes(self) -> Counter[tuple[str, str]]:
        """What the API server has counted, by verb and resource (`pods/status`), whoever asked."""
        found = Counter[tuple[str, str]]()
        for labels, value in _REQUESTS.findall(self.kube.admin.text("/metrics")):
            label = dict(_LABEL.findall(labels))
            if label["verb"] in _WRITES:
                resource = "/".join(part for part in (label["resource"], label["subresource"]) if part)
                found[label["verb"], resource] += int(float(value))
        return found

    def _start_overlord(self, database_url: str) -> subprocess.Popen[bytes]:
        port = free_port()
        self.overlord_url = f"http://127.0.0.1:{port}"
        command = [
            *("env", f"NEMETON_DATABASE_URL={database_url}", f"NEMETON_PORT={port}"),
            *(f"NEMETON_TASK_LOGS={self.logs.as_uri()}", sys.executable, "-m", "overlord.server"),
        ]
        return start(command, self.folder / "overlord.log", ROOT)

    def _wait_for_overlord(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self._overlord.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.overlord_url}/status/ready", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"the Overlord did not get ready; see {self.folder / 'overlord.log'}")

    def _end_operators(self) -> None:
        for operator in self.operators:
            operator.kill()


def _cpu_s(pid: int) -> float:
    try:
        return usage(pid)[0]
    except OSError:  # a connection that was closed
        return 0.0


def _peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
