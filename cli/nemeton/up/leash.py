"""
Start a program that ends when its parent ends: `leash.py PARENT SIGNAL UID GID PROGRAM ARGUMENT...`.

The child asks the kernel to send it SIGNAL when its parent dies (PR_SET_PDEATHSIG), so that even `kill -9` of
`nemeton up` leaves no part behind. With UID other than -1 it also gives up root first: PostgreSQL refuses to run as
root. It then keeps one capability, to read and traverse folders, because programs and data may lie below a folder
that only root may enter (a checkout in root's home); opening such a folder for everybody would be the alternative.

Runs as a script under `python -I -S`, hence the standard library alone and no import of ours.
"""

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

# linux/prctl.h, linux/capability.h
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a program runs as."""

    uid: int
    gid: int
    name: str


def leashed(command: Sequence[str], death_signal: signal.Signals, run_as: Account | None = None) -> list[str]:
    """The command line that starts `command` on a leash held by the calling process (its main thread)."""
    uid, gid = (run_as.uid, run_as.gid) if run_as else (-1, -1)
    leash = [str(os.getpid()), str(int(death_signal)), str(uid), str(gid)]
    return [sys.executable, "-I", "-S", __file__, *leash, *command]


def main(arguments: Sequence[str]) -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0 and os.geteuid() != uid:
        _become(libc, uid, gid)
    # After the change of user: the kernel drops the death signal when credentials change.
    _checked(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0), "PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(command[0], list(command))


def _become(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    # First, while Python may still read its own library: that too may lie in root's home.
    kept = _reading_capability()
    _checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if kept is None:  # a container without either: the folders must then be open to that user
        return
    mask = 1 << kept
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", mask, mask, mask, 0, 0, 0))
    _checked(libc.capset(header, sets), "capset")
    _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0), "PR_CAP_AMBIENT_RAISE")


def _reading_capability() -> int | None:
    """The smaller one that we hold: containers are usually given only the greater."""
    with open("/proc/self/status", encoding="ascii") as status:
        permitted = next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if permitted >> capability & 1:
            return capability
    return None


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
