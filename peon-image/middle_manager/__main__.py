"""Starts a MiddleManager: `python -m middle_manager --overlord URL …`."""

import asyncio
import contextlib
import fcntl
import logging
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import uvicorn

from druid_core.errors import Conflict, NemetonError
from middle_manager.runner import MiddleManager
from middle_manager.settings import MiddleManagerSettings, read_settings
from middle_manager.worker_api import worker_api

_log = logging.getLogger("middle_manager")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT. 0 after that; 1 when it could not start."""
    settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    logging.Formatter.converter = time.gmtime
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with _sole_use_of(settings.data), _listen(settings) as listening:
            asyncio.run(_work(settings, listening))
    except (NemetonError, OSError) as error:
        _log.error("The MiddleManager cannot start: %s", error)
        return 1
    return 0


async def _work(settings: MiddleManagerSettings, listening: socket.socket) -> None:
    middle_manager = MiddleManager(settings)
    server = _Server(
        uvicorn.Config(
            worker_api(
                middle_manager,
                settings.runner_id,
                settings.runner_token,
                trusts_this_machine=settings.trusts_this_machine,
            ),
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # who calls is known by his own address
        )
    )
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    _log.info(
        "MiddleManager %s: %d slots, Overlord %s", settings.runner_id, settings.worker_capacity, settings.overlord
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    working = asyncio.create_task(middle_manager.run())
    stopping = asyncio.create_task(told_to_stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()  # it works until it is cancelled: this raises what went wrong; peons go on
    working.cancel()
    await asyncio.wait([working])
    await middle_manager.stop()
    server.should_exit = True
    await serving
    _log.info("MiddleManager %s stopped", settings.runner_id)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.contextmanager
def _sole_use_of(data: Path) -> Generator[None]:
    """Two on one folder would take each other's peons for their own. The kernel drops the lock with the process."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another MiddleManager works in {data}; give this one its own --data") from error
        yield


def _listen(settings: MiddleManagerSettings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port), backlog=128)
    except OSError as error:
        raise Conflict(
            f"{settings.runner_id} cannot be listened on ({error.strerror}); choose another --port or --host"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
