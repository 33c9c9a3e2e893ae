"""The server process of one replica."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from druid_core import tracing
from druid_core.errors import NemetonError
from overlord import events
from overlord.app import create_app
from overlord.auth.authenticate import is_within, parse_networks
from overlord.head_limit import limited_http
from overlord.settings import OverlordSettings

_TICKS_A_LOOK = 100
"""uvicorn's ticks, of a tenth of a second, between two looks whether the certificate was renewed: ten seconds."""


class _Server(uvicorn.Server):
    """
    Ends long polls first when it is told to stop, and then with status 0.

    It brings the application up and down itself: what forbids a start is then raised to whoever called, in its own
    words. uvicorn would log it with its stack trace and keep it.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._life = contextlib.AsyncExitStack()
        self._coming_up: asyncio.Task[Any] | None = None
        self._certificate_changed: int | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn's own raises the signal again at the end, which turns a clean stop into a death by SIGTERM
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.handle_exit, name, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._coming_up is not None:
            self._coming_up.cancel()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_LOOK == 0:
            self._renew_certificate()
        return await super().on_tick(counter)

    def _renew_certificate(self) -> None:
        """A certificate that was renewed counts for the connections from now on; one that is half written does not."""
        certificate, key, context = self.config.ssl_certfile, self.config.ssl_keyfile, self.config.ssl
        if context is None or certificate is None:
            return
        try:
            changed = os.stat(certificate).st_mtime_ns
            if changed != self._certificate_changed:
                if self._certificate_changed is not None:
                    context.load_cert_chain(certificate, key)
                    events.info("the certificate was read anew", file=str(certificate))
                self._certificate_changed = changed
        except OSError as error:  # ssl.SSLError is one
            events.error("the certificate cannot be read; the one before stays", file=str(certificate), why=str(error))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        application = self._app.router.lifespan_context(self._app)
        coming_up = self._coming_up = asyncio.create_task(self._life.enter_async_context(application))
        try:
            await coming_up
        except asyncio.CancelledError:
            if self.should_exit:  # told to stop while it waited for its database
                return
            raise
        finally:
            self._coming_up = None
        try:
            await super().startup(sockets)
        except BaseException:  # uvicorn exits where it cannot listen
            await self._life.aclose()
            raise
        for why in log_storage_doubts(self._app.state.replica.settings):
            events.warning(why, setting="NEMETON_TASK_LOGS")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stopping.set()
        self._app.state.replica.hints.wake_all()
        await super().shutdown(sockets)
        await self._life.aclose()


def run(settings: OverlordSettings) -> None:
    """
    Serve until SIGTERM or SIGINT; exits with 1 where it cannot listen.

    Raises Unavailable where the database does not answer for too long, InvalidInput where a setting makes no sense.
    """
    events.configure(settings.log_format)
    if settings.tracing:
        tracing.start("nemeton-overlord")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=limited_http(settings.max_head_bytes),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        ws="none",
        log_config=None,
        lifespan="off",  # see _Server
        access_log=settings.access_log,
        log_level="info" if settings.access_log else "warning",
        server_header=False,
        # a caller is known by the address that he calls from; uvicorn would take a header's word from this machine
        proxy_headers=False,
        timeout_graceful_shutdown=settings.graceful_shutdown_seconds,
        # seconds; clients reuse a connection after a pause. Druid: druid.server.http.maxIdleTime (PT5M)
        timeout_keep_alive=300,
        backlog=2048,
    )
    server = _Server(config, app)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    tracing.stop()
    if not server.started and not server.should_exit:
        sys.exit(1)


def log_storage_doubts(settings: OverlordSettings) -> list[str]:
    """What whoever looks for a log will miss: said at the start, where it can still be mended."""
    if not settings.task_logs:
        return ["no log storage is set: logs and reports of finished tasks cannot be read"]
    scheme, separator, _ = settings.task_logs.partition("://")
    is_folder = not separator or scheme == "file"
    if is_folder and not is_within(settings.host, _THIS_MACHINE):
        return ["log storage is a folder: replicas and runners on other machines must have the same one mounted there"]
    return []


_THIS_MACHINE = parse_networks(("127.0.0.0/8", "::1/128"))
"""Who listens there alone has nobody on other machines."""


def main() -> None:
    """`python -m overlord.server`: settings from the environment alone."""
    try:
        run(OverlordSettings.from_environment())
    except NemetonError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
