"""Ports of this machine that nobody listens on."""

import random
import socket
from pathlib import Path

_LOWEST = 10_000
_given: set[int] = set()


def free_port() -> int:
    """
    A port of 127.0.0.1 that nobody listens on, and that this process was not given before.

    It lies below those that the kernel gives to outgoing connections: one of these could take it before the program
    listens that it is meant for.
    """
    lowest_of_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(_LOWEST, max(lowest_of_kernel, _LOWEST + 10_000))
        if port not in _given and _can_listen(port):
            _given.add(port)
            return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
