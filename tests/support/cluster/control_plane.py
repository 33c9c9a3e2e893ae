"""
etcd, kube-apiserver, kube-controller-manager and kube-scheduler: a real control plane on free ports, with no node.

Needs no root. RBAC and the admission plugins are Kubernetes' defaults, so that tests meet what users meet. Every part
can be killed, held and started again by its name.
"""

import itertools
import os
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.support.cluster.binaries import path, require
from tests.support.cluster.certificates import make_certificates
from tests.support.cluster.client import Client, Raw, Refused
from tests.support.cluster.kubectl import Kubectl, write_kubeconfig
from tests.support.cluster.leftovers import in_memory, new_folder, remove
from tests.support.cluster.process import Process
from tests.support.ports import free_port

PROGRAMS = ("etcd", "openssl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
START_SECONDS = 120.0

# A node that nobody plays would be called lost, and its pods taken away, forty seconds after a test made it.
CONTROLLERS_WITHOUT_NODES = "*,-node-lifecycle-controller,-taint-eviction-controller"

CRDS = Path(__file__).parents[3] / "crds"


GARBAGE_PERCENT = "400"
"""GOGC of every part: by default a third of an API server's work is the search for garbage. Memory is not short."""

MEMORY_LIMIT = "3GiB"
"""GOMEMLIMIT: from there on garbage is looked for as often as it takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a control plane listens and runs. The defaults are this machine itself, on free ports."""

    address: str = "127.0.0.1"
    api_port: int = 0
    etcd_port: int = 0
    service_range: str = "10.96.0.0/16"
    inside: tuple[str, ...] = ()
    controller_options: tuple[str, ...] = ("--controllers", CONTROLLERS_WITHOUT_NODES)
    api_options: tuple[str, ...] = field(default=("--endpoint-reconciler-type", "none"))


class ControlPlane:
    """Use as a context manager, or `start` and `stop`. `seconds_to_ready` says how long the start took."""

    def __init__(self, folder: Path, place: Place | None = None, *, scheduler: bool = True) -> None:
        require(PROGRAMS)
        place = place or Place()
        self.folder = folder
        self.logs = folder / "log"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.api_port = place.api_port or free_port()
        self.server = f"https://{place.address}:{self.api_port}"
        self.seconds_to_ready = 0.0
        self._numbers = itertools.count(1)
        first_service = place.service_range.split("/")[0].rsplit(".", 1)[0] + ".1"
        self.certificates = make_certificates(folder / "pki", ["127.0.0.1", place.address, first_service])
        token = secrets.token_urlsafe(24)
        (folder / "pki" / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        self.kubeconfig = write_kubeconfig(folder / "admin.kubeconfig", self.server, self.certificates.authority, token)
        self.admin = Client(self.server, self.certificates.authority, token)
        self.kubectl = Kubectl(self.kubeconfig)
        self.parts = self._parts(place, scheduler)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when a pod can be created in the namespace `default`."""
        began = time.monotonic()
        for name in ("etcd", "apiserver"):
            self.parts[name].start()
        self.wait_for_api()
        for part in self.parts.values():
            part.start()
        self._until(lambda: self.admin.find("/api/v1/namespaces/default/serviceaccounts/default"), "a service account")
        self.seconds_to_ready = time.monotonic() - began

    def stop(self) -> None:
        """Nothing is asked to finish its work: whoever wants to see that stops the part by itself."""
        self.admin.close()
        for part in reversed(self.parts.values()):
            part.kill()

    def kill(self, name: str) -> None:
        """kill -9 of `etcd`, `apiserver`, `controller-manager` or `scheduler`; `start_part` brings it back."""
        self.parts[name].kill()

    def start_part(self, name: str) -> None:
        self.parts[name].start()

    def pause(self, name: str) -> None:
        self.parts[name].pause()

    def resume(self, name: str) -> None:
        self.parts[name].resume()

    def wait_for_api(self) -> None:
        self._until(lambda: self.admin.text("/readyz") == "ok", "the API server is ready")

    def new_namespace(self, labels: dict[str, str] | None = None, prefix: str = "test") -> str:
        """A namespace of its own with its service account, so that pods can be created at once."""
        name = f"{prefix}-{next(self._numbers)}-{secrets.token_hex(2)}"
        self.admin.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        self._until(lambda: self.admin.find(account), f"a service account in {name}")
        return name

    def delete_namespace(self, name: str) -> None:
        """Does not wait: the controllers take their time."""
        self.admin.delete(f"/api/v1/namespaces/{name}", propagationPolicy="Background")

    def apply_crds(self) -> None:
        """Our own resource definitions, ready to be used. Twice is once."""
        if not any(CRDS.glob("*.yaml")):
            return
        self.kubectl.apply(CRDS, server_side=True)
        # not `kubectl wait`: it fails on a definition that has no conditions yet, as a busy machine's has for a moment
        self._until(self._crds_are_established, "the resource definitions are established")

    def _crds_are_established(self) -> bool:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        return all(
            any(each["type"] == "Established" and each["status"] == "True" for each in found)
            for found in (item.get("status", {}).get("conditions") or [] for item in self.admin.items(path))
        )

    def kubeconfig_of(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with the rights of a service account and no more. Its token holds for an hour."""
        client = self.client_of(namespace, service_account)
        return write_kubeconfig(
            self.folder / f"{namespace}-{service_account}.kubeconfig",
            self.server,
            self.certificates.authority,
            client.token,
            namespace,
        )

    def client_of(self, namespace: str, service_account: str) -> Client:
        """A client with the rights of a service account and no more."""
        answer = self.admin.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
        )
        return Client(self.server, self.certificates.authority, answer["status"]["token"])

    def make_node(self, name: str, *, cpu: str = "64", memory: str = "256Gi", pods: str = "20000") -> Raw:
        """A node that is Ready on paper: pods are scheduled to it, and the test plays its kubelet."""
        room = {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "1Ti"}
        self.admin.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "played by a test"}
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        # A new node is tainted until somebody says that it is ready; nobody does here.
        self.admin.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": []}})
        return self.admin.patch(f"/api/v1/nodes/{name}/status", {"status": status})

    def _parts(self, place: Place, scheduler: bool) -> dict[str, Process]:
        pki, folder = self.certificates, self.folder
        etcd_port, peer_port = place.etcd_port or free_port(), free_port()
        etcd = f"http://127.0.0.1:{etcd_port}"
        # Every write waits for etcd's disk, and all tests share one: what is kept needs to outlive kill -9, no more.
        commands: dict[str, list[str | Path]] = {
            "etcd": [
                *(path("etcd"), "--data-dir", in_memory(folder) / "etcd", "--logger", "zap"),
                *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
            ],
            "apiserver": [
                *(path("kube-apiserver"), "--etcd-servers", etcd),
                *("--bind-address", place.address, "--advertise-address", place.address),
                *("--secure-port", str(self.api_port), "--service-cluster-ip-range", place.service_range),
                *("--tls-cert-file", pki.server, "--tls-private-key-file", pki.server_key),
                *("--client-ca-file", pki.authority, "--token-auth-file", folder / "pki" / "tokens.csv"),
                *("--service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
                *("--service-account-key-file", pki.accounts_key),
                *("--service-account-signing-key-file", pki.accounts_key),
                *("--authorization-mode", "RBAC", "--allow-privileged=true"),
                *("--kubelet-preferred-address-types", "InternalIP"),
                *place.api_options,
            ],
            "controller-manager": [
                *(path("kube-controller-manager"), "--kubeconfig", self.kubeconfig, "--leader-elect=false"),
                *("--service-account-private-key-file", pki.accounts_key, "--root-ca-file", pki.authority),
                *("--use-service-account-credentials=true", "--bind-address", "127.0.0.1"),
                *("--secure-port", str(free_port()), "--cert-dir", folder / "pki"),
                *place.controller_options,
            ],
        }
        if scheduler:
            commands["scheduler"] = [
                *(path("kube-scheduler"), "--kubeconfig", self.kubeconfig, "--leader-elect=false"),
                *("--bind-address", "127.0.0.1", "--secure-port", str(free_port())),
            ]
        environment = os.environ | {"GOGC": GARBAGE_PERCENT, "GOMEMLIMIT": MEMORY_LIMIT}
        return {
            name: Process(name, command, self.logs / f"{name}.log", place.inside, environment)
            for name, command in commands.items()
        }

    def _until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (Refused, urllib3.exceptions.HTTPError):
                pass  # not up yet
            for part in self.parts.values():
                if part.has_started:
                    part.require_alive()
            time.sleep(0.05)
        raise AssertionError(f"not within {START_SECONDS:.0f} s: {what}; {self.parts['apiserver'].last_words()}")


@contextmanager
def running_control_plane(*, scheduler: bool = True, options: Sequence[str] = ()) -> Generator[ControlPlane]:
    """A control plane for the time of the block. `options` are further ones of the API server."""
    folder = new_folder()
    place = Place(api_options=(*Place().api_options, *options))
    try:
        with ControlPlane(folder, place, scheduler=scheduler) as plane:
            yield plane
    finally:
        remove(folder)
