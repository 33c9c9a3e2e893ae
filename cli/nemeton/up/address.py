"""Addresses: whether a port can be had, and whether somebody answers there."""

import asyncio
import errno
import socket
from pathlib import Path

from druid_core.errors import Conflict, InvalidInput


def reserve(host: str, port: int, flag: str) -> int:
    """
    The port, or any free one for 0. Nothing is held: the part that listens there is started next.

    Raises Conflict, naming the flag that changes it, where the port is taken, and InvalidInput where this machine has
    no such host.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except (socket.gaierror, UnicodeError) as error:  # UnicodeError: a label of a name that is empty or too long
            raise InvalidInput(f"[{host}] is no address and no machine's name; see --host") from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidInput(f"this machine does not have the address [{host}]; see --host") from error
            if error.errno == errno.EADDRINUSE:
                taken = f"port {port} on {host} is taken{_by_whom(port)}"
                raise Conflict(f"{taken}; stop that program, or choose another port with {flag}") from error
            raise Conflict(f"cannot listen on {host}:{port}: {error.strerror}; see {flag}") from error
        return int(probe.getsockname()[1])


async def answers(host: str, port: int, path: str) -> bool:
    """Whether an HTTP server answers 200 there. Costs one connection and no library."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout=2)
    except (OSError, TimeoutError):
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        first_line = await asyncio.wait_for(reader.readline(), timeout=2)
        return b" 200 " in first_line
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


def listens(pid: int, port: int) -> bool:
    """Whether it is this process, and no other, that listens on the port."""
    return _holds(Path(f"/proc/{pid}"), _listening(port))


def _by_whom(port: int) -> str:
    """The owner of a listening port, in words, as far as this user may see it."""
    sockets = _listening(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _holds(process, sockets):
                return f" by {(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return " by another program"


def _listening(port: int) -> set[str]:
    """The sockets that listen on a port, as links in /proc/PID/fd name them. Linux: proc_pid_net(5)"""
    sockets: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                sockets.add(f"socket:[{fields[9]}]")
    return sockets


def _holds(process: Path, sockets: set[str]) -> bool:
    """Whether one of its descriptors is one of these; no where we may not look, or it is gone."""
    try:
        return any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir())
    except OSError:
        return False
