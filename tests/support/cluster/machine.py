"""
A machine within this one: namespaces of its own for network, mounts and processes.

All that a node does to the machine it runs on (a bridge, firewall rules, routes, mounts, processes) it does in here.
Ending the machine ends all of it at once, as pulling a plug would. Needs root.
"""

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.cluster.binaries import path

PROGRAMS = ("ip", "nsenter")
MACHINES = 7
"""So many at once: each has a part of the address ranges below."""

# Where containerd, the kubelet and CNI plugins write whatever they are told; two machines must not meet there.
_OF_ITS_OWN = ("/run/containerd", "/var/lib/cni", "/var/log/containers")

# Its first process. It does what an init must: reap whoever was left to it.
_INIT = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    signal.pause()
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of machine number `number`. Reached from this side only, through one cable; nothing leaves."""

    number: int

    @property
    def interface(self) -> str:
        return f"nemeton{self.number}"

    @property
    def here(self) -> str:
        """This side's end of the cable."""
        return f"10.88.255.{4 * self.number + 1}"

    @property
    def there(self) -> str:
        """The machine's own address."""
        return f"10.88.255.{4 * self.number + 2}"

    @property
    def pods(self) -> str:
        return f"10.88.{32 * self.number}.0/19"

    @property
    def first_pod(self) -> str:
        return f"10.88.{32 * self.number}.10"

    @property
    def services(self) -> str:
        return f"10.96.{32 * self.number}.0/19"


class Machine:
    def __init__(self, folder: Path) -> None:
        self._ip = str(path("ip"))
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # Mounts from outside come in, those from inside stay there.
        command = [*unshare, "--propagation", "slave", sys.executable, "-I", "-S", "-c", _INIT, str(folder)]
        words = folder / "machine.log"
        with words.open("wb") as log:
            self._unshare = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        try:
            self._init = _only_child(self._unshare, words)
            self.inside = (str(path("nsenter")), "-t", str(self._init), "-m", "-n", "-p", "--")
            self.addresses = self._connect()
            self.run("mount", "--make-rshared", "/")  # as on any machine; the kubelet counts on it
            for each in _OF_ITS_OWN:
                Path(each).mkdir(parents=True, exist_ok=True)
                self.run("mount", "-t", "tmpfs", "none", each)
        except BaseException:
            self.end()
            raise

    def run(self, *command: str, stdin: bytes | None = None, timeout_s: float = 300) -> str:
        """A command inside, and its output. Raises AssertionError with its words when it fails."""
        answer = subprocess.run(
            [*self.inside, *command], input=stdin, capture_output=True, check=False, timeout=timeout_s, cwd="/"
        )
        words = answer.stderr.decode(errors="replace")
        assert answer.returncode == 0, f"{' '.join(command)}: {words[-2000:]}"
        return answer.stdout.decode(errors="replace")

    def end(self) -> None:
        """Everything in it is killed by the kernel, its network and mounts are gone. Twice is once."""
        if self._unshare.poll() is None:
            for child in psutil.Process(self._unshare.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            self._unshare.wait(60)

    def _connect(self) -> Addresses:
        """A cable between here and there, on the first number that is free."""
        addresses = self._plug_in()
        here, there = f"{addresses.here}/30", f"{addresses.there}/30"
        self._host("addr", "add", here, "dev", addresses.interface)
        self._host("link", "set", addresses.interface, "up")
        inside = (*self.inside, self._ip)
        _must(*inside, "link", "set", "lo", "up")
        _must(*inside, "addr", "add", there, "dev", "eth0")
        _must(*inside, "link", "set", "eth0", "up")
        _must(*inside, "route", "add", "default", "via", addresses.here)
        _must(*self.inside, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for network in (addresses.pods, addresses.services):
            self._host("route", "add", network, "via", addresses.there)
        return addresses

    def _plug_in(self) -> Addresses:
        refusal = ""
        for number in range(MACHINES):
            addresses = Addresses(number)
            cable = ["link", "add", addresses.interface, "type", "veth", "peer", "name", "eth0"]
            # The kernel refuses a name that exists: that is what keeps two runs apart.
            answer = subprocess.run(
                [self._ip, *cable, "netns", str(self._init)], capture_output=True, text=True, check=False, timeout=30
            )
            if answer.returncode == 0:
                return addresses
            refusal = answer.stderr
        raise AssertionError(f"no cable for a machine: {refusal}")

    def _host(self, *arguments: str) -> None:
        _must(self._ip, *arguments)


def _only_child(process: "subprocess.Popen[bytes]", words: Path) -> int:
    """The first process of the new namespace, once it is what it will be."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                if "-I" in child.cmdline() and os.readlink(f"/proc/{child.pid}/ns/net") != os.readlink(
                    "/proc/self/ns/net"
                ):
                    return child.pid
        time.sleep(0.01)
    raise AssertionError(f"no namespaces of our own on this machine: {words.read_text()}")


def _must(*command: str) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 0, f"{' '.join(command)}: {answer.stderr}"
