"""Parts of a node are killed and come back; a machine that ends leaves nothing."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.cluster.bare_pods import ended, run, terminated
from tests.support.cluster.kubectl import KubectlFailed
from tests.support.cluster.leftovers import new_folder, remove
from tests.support.cluster.machine import Machine
from tests.support.cluster.node import Node
from tests.support.house import until


@pytest.fixture
def room(node: Node) -> Generator[str]:
    """A namespace of the node for one test."""
    name = node.new_namespace()
    yield name
    node.delete_namespace(name)


@pytest.mark.parametrize("part", ["kubelet", "containerd", "apiserver", "etcd", "scheduler", "controller-manager"])
def test_a_pod_outlives_the_death_of_a_part(node: Node, room: str, part: str) -> None:
    path = run(node, room, "until [ -e /tmp/enough ]; do sleep 0.2; done; echo done")
    until(lambda: node.admin.get(path)["status"]["phase"] == "Running", "the pod runs", 60)

    node.kill(part)
    node.start_part(part)
    node.wait_for_api()

    # exec goes through the API server, the kubelet and containerd: it answers when all three are back
    until(lambda: _touch(node, room), f"the node works again without its first {part}", 90)
    raw_status = ended(node, path)
    assert terminated(raw_status)["exitCode"] == 0
    assert raw_status["containerStatuses"][0]["restartCount"] == 0
    assert node.admin.text(f"{path}/log") == "done\n"


def test_two_machines_live_side_by_side_and_leave_nothing() -> None:
    folder, other_folder = new_folder(), new_folder()
    machine, other = Machine(folder), Machine(other_folder)
    addresses, other_addresses = machine.addresses, other.addresses
    assert addresses.there != other_addresses.there
    assert addresses.there in machine.run("ip", "-brief", "addr")
    machine.run("mkdir", str(folder / "mount"))
    machine.run("mount", "-t", "tmpfs", "none", str(folder / "mount"))
    assert str(folder) not in Path("/proc/mounts").read_text()

    machine.end()
    other.end()

    cables = {addresses.interface, other_addresses.interface}
    # the kernel takes a dead namespace's interfaces away when it finds the time
    until(lambda: not cables & {each.name for each in Path("/sys/class/net").iterdir()}, "the cables are gone")
    remove(folder)
    remove(other_folder)
    assert not folder.exists()


def _touch(node: Node, namespace: str) -> bool:
    try:
        node.kubectl("exec", "-n", namespace, "pod", "--", "touch", "/tmp/enough", timeout_s=20)
    except KubectlFailed:
        return False
    return True
