"""
A whole Kubernetes of one node: control plane, containerd, kubelet, kube-proxy, CoreDNS, in a machine of its own.

Pods really run, are really killed for memory, really evicted. From this side the API server, the pods and the services
are reached by their addresses. Every part can be killed, held and started again by its name.
"""

import contextlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from tests.support.cluster import control_plane, machine
from tests.support.cluster.archive import busybox_archive
from tests.support.cluster.binaries import CNI_FOLDER, ProgramMissing, path, require
from tests.support.cluster.client import Raw
from tests.support.cluster.control_plane import ControlPlane, Place
from tests.support.cluster.leftovers import new_folder, remove
from tests.support.cluster.machine import Machine
from tests.support.cluster.process import Process

PROGRAMS = (
    *control_plane.PROGRAMS,
    *machine.PROGRAMS,
    *("containerd", "ctr", "runc", "iptables", "busybox", "kubelet", "kube-proxy", "coredns"),
)
NAME = "node"
BUSYBOX = "localhost/nemeton/busybox:test"
"""An image for bare pods: `{"image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", "…"]}`."""
_PAUSE = "localhost/nemeton/pause:test"

# A silent node is lost after 16 s here, not after 50: tests wait for it. The kubelet renews its lease every 2 s.
_LEASE_SECONDS = 8
_CONTROLLER_OPTIONS = ("--node-monitor-grace-period=16s", "--node-monitor-period=2s")


class Node(ControlPlane):
    """The control plane's methods and, by the same names, `containerd`, `kubelet`, `kube-proxy` and `coredns`."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        require(PROGRAMS)
        self.machine = machine
        self.addresses = machine.addresses
        place = Place(
            address=self.addresses.there,
            api_port=6443,
            etcd_port=2379,
            service_range=self.addresses.services,
            inside=machine.inside,
            controller_options=_CONTROLLER_OPTIONS,
            api_options=(),
        )
        super().__init__(folder, place)
        self._socket = folder / "containerd" / "sock"
        self._cgroup = folder.name
        self.parts.update(self._node_parts())

    def start(self) -> None:
        """Returns when the node is Ready."""
        began = time.monotonic()
        self._write_files()
        self._make_cgroups()
        self.parts["containerd"].start()
        # Unpacking goes on while the control plane starts; the kubelet comes last, for it needs both.
        self._wait_for_containerd()
        for image, entrypoint in ((_PAUSE, ["/bin/sleep", "2147483647"]), (BUSYBOX, [])):
            archive = busybox_archive(self.folder / "image.tar", image, entrypoint)
            self.load_image(archive, image)
            archive.unlink()
        super().start()
        self._until(self.is_ready, f"the node is ready; kubelet: {self.parts['kubelet'].last_words(500)}")
        self.seconds_to_ready = time.monotonic() - began

    def is_ready(self) -> bool:
        raw_node = self.admin.find(f"/api/v1/nodes/{NAME}") or {}
        conditions = raw_node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def stop(self) -> None:
        self.admin.close()
        self.machine.end()
        for part in self.parts.values():
            part.kill()  # they are dead; this is their wake

    def load_image(self, archive: Path, name: str) -> None:
        """An archive of `docker save` or of OCI into containerd; pods use it with `imagePullPolicy` not Always."""
        self._ctr("images", "import", "--base-name", name.rsplit(":", 1)[0], str(archive))
        listed = self._ctr("images", "list", "--quiet").split()
        assert name in listed, f"{archive} holds no {name}: {listed}"

    def name_image(self, name: str, further: str) -> None:
        """An image that is there gets a further name, host and tag included."""
        self._ctr("images", "tag", "--force", name, further)

    def has_image(self, name: str) -> bool:
        return name in self._ctr("images", "list", "--quiet").split()

    def pids_of(self, raw_pod: Raw) -> list[int]:
        """The processes of a pod's containers, as this side counts them, for who wants to kill one."""
        uid = raw_pod["metadata"]["uid"]
        found: list[int] = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                # its cgroups name the pod; the sandbox's own process is busybox's sleep and not the pod's work
                if uid in Path(f"/proc/{process.pid}/cgroup").read_text() and process.cmdline()[:1] != ["/bin/sleep"]:
                    found.append(process.pid)
        return found

    def _ctr(self, *arguments: str) -> str:
        return self.machine.run(str(path("ctr")), "-a", str(self._socket), "-n", "k8s.io", *arguments)

    def _wait_for_containerd(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(AssertionError):
                return bool(self._ctr("version"))
            return False

        self._until(answers, "containerd answers")

    def _node_parts(self) -> dict[str, Process]:
        folder = self.folder
        commands: dict[str, list[str | Path]] = {
            "containerd": [path("containerd"), "--config", folder / "containerd.toml"],
            "kubelet": [
                *(path("kubelet"), "--config", folder / "kubelet.yaml", "--kubeconfig", self.kubeconfig),
                *("--root-dir", folder / "kubelet", "--cert-dir", folder / "kubelet" / "pki"),
                *("--hostname-override", NAME, "--node-ip", self.addresses.there),
            ],
            "kube-proxy": [path("kube-proxy"), "--config", folder / "proxy.yaml"],
            "coredns": [path("coredns"), "-conf", folder / "Corefile"],
        }
        return {
            name: Process(name, command, self.logs / f"{name}.log", self.machine.inside)
            for name, command in commands.items()
        }

    def _write_files(self) -> None:
        addresses, folder = self.addresses, self.folder
        for name in ("cni", "containerd", "kubelet"):
            (folder / name).mkdir(exist_ok=True)
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": addresses.pods, "rangeStart": addresses.first_pod}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": str(folder / "cni" / "addresses"),
            },
        }
        network = {"cniVersion": "0.4.0", "name": f"nemeton-{addresses.number}", "plugins": [bridge]}
        (folder / "cni" / "network.conflist").write_text(json.dumps(network))
        (folder / "containerd.toml").write_text(_containerd(folder, self._socket))
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # the API server comes without a client certificate, and only it can come at all
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "address": addresses.there,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            # a kubelet takes away the logs of all pods that it does not know
            "podLogsDir": str(folder / "pod-logs"),
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "clusterDNS": [addresses.there],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "imageGCHighThresholdPercent": 100,
            # of the machine's memory and disk others use the most
            "evictionHard": {"memory.available": "100Mi"},
            "serializeImagePulls": False,
            "syncFrequency": "1s",
            "nodeStatusUpdateFrequency": "4s",
            "nodeLeaseDurationSeconds": _LEASE_SECONDS,
            "maxPods": 250,
            # a container that a test kills again and again is back soon, not after five minutes
            "featureGates": {"KubeletCrashLoopBackOffMax": True},
            "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"},
        }
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.kubeconfig)},
            "mode": "iptables",
            "clusterCIDR": addresses.pods,
            "hostnameOverride": NAME,
            "conntrack": {"maxPerCore": 0},  # a setting of the whole machine, which is not ours
            "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
        }
        (folder / "proxy.yaml").write_text(yaml.safe_dump(proxy))
        (folder / "Corefile").write_text(
            f"cluster.local:53 in-addr.arpa:53 {{\n    bind {addresses.there}\n    errors\n"
            f"    kubernetes cluster.local in-addr.arpa {{\n        kubeconfig {self.kubeconfig} test\n"
            "        ttl 5\n    }\n}\n"
        )

    def _make_cgroups(self) -> None:
        """The pods' root in every hierarchy, named after the folder: two nodes do not see each other's."""
        top = Path("/sys/fs/cgroup")
        hierarchies = [top] if (top / "cgroup.controllers").exists() else list(top.iterdir())
        for hierarchy in hierarchies:
            group = hierarchy / self._cgroup
            if not hierarchy.is_dir() or hierarchy.is_symlink():
                continue
            group.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / file).exists() and (group / file).exists():
                    (group / file).write_text((hierarchy / file).read_text())


def _containerd(folder: Path, socket: Path) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE a lower score than one's own is refused, and every pod with it.
    # netns_mounts_under_state_dir: what a killed run leaves lies in its folder alone.
    return f"""\
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{_PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_FOLDER}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


@contextmanager
def running_node() -> Generator[Node]:
    """A node for the time of the block. Raises ProgramMissing."""
    if os.geteuid() != 0:
        raise ProgramMissing("a node makes namespaces, mounts and cgroups, which needs root")
    require(PROGRAMS)
    if not (CNI_FOLDER / "bridge").exists():
        raise ProgramMissing("the CNI plugins are missing: apt-get install containernetworking-plugins")
    folder = new_folder()
    try:
        machine = Machine(folder)
        try:
            with Node(folder, machine) as node:
                yield node
        finally:
            machine.end()
    finally:
        remove(folder)
