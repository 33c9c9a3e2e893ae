"""How the API server is reached: in a pod by its service account, elsewhere by a kubeconfig."""

import asyncio
import os
import ssl
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from kubernetes import client, config  # pyright: ignore[reportMissingTypeStubs]

from druid_core.errors import InvalidInput

_CONNECT_SECONDS = 5.0
_CREDENTIALS_SECONDS = 30.0
"""For which credentials are used again: a service account's token is renewed about every hour."""

NoAnswer = (aiohttp.ClientError, TimeoutError, OSError)
"""What is raised where no answer came, or not the whole of one."""


class Answer(NamedTuple):
    """One answer, read whole."""

    status: int
    retry_after: str | None
    body: bytes


class _Line:
    """The open connections of one event loop, and the turns to use them."""

    def __init__(self, http: aiohttp.ClientSession, calls_in_flight: int) -> None:
        self.http = http
        self.turns = asyncio.Semaphore(calls_in_flight)


class Connection:
    """
    So many calls at once and no more, over connections that stay open, with the present credentials.

    May be used from several event loops: each has its own connections.
    """

    def __init__(self, calls_in_flight: int, timeout_seconds: float) -> None:
        """Raises InvalidInput where there is neither a service account nor a kubeconfig."""
        self._calls_in_flight = calls_in_flight
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=_CONNECT_SECONDS)
        # a stream may take as long as it likes, as long as something comes
        self._patience = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=timeout_seconds)
        self._configuration = _load()
        self.url: str = self._configuration.host
        self._proxy = _proxy(self._configuration)
        self._tls = _tls(self._configuration) if self.url.startswith("https") else None
        self._credentials: dict[str, str] = {}
        self._credentials_end = float("-inf")
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}

    async def request(self, method: str, path: str, body: bytes | None, content_type: str) -> Answer:
        """One call. Raises one of NoAnswer."""
        headers = self._headers() if body is None else {**self._headers(), "Content-Type": content_type}
        line = self._line()
        async with (
            line.turns,
            line.http.request(
                method,
                self.url + path,
                data=body,
                headers=headers,
                timeout=self._timeout,
                proxy=self._proxy,
                server_hostname=self._configuration.tls_server_name,
                allow_redirects=False,
            ) as response,
        ):
            return Answer(response.status, response.headers.get("Retry-After"), await response.read())

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncGenerator[aiohttp.ClientResponse]:
        """One GET; the response not read yet. Raises one of NoAnswer, and so does reading it."""
        line = self._line()
        async with (
            line.turns,
            line.http.get(
                self.url + path,
                headers=self._headers(),
                timeout=self._patience,
                proxy=self._proxy,
                server_hostname=self._configuration.tls_server_name,
                allow_redirects=False,
            ) as response,
        ):
            yield response

    async def close(self) -> None:
        """Close the connections of this event loop. Those of a loop that has ended are closed with it."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.http.close()

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # turns are what limits: waiting for one is no part of a call's timeout
                ssl=self._tls if self._tls is not None else True,
            )
            line = _Line(aiohttp.ClientSession(connector=connector, trust_env=False), self._calls_in_flight)
            self._lines[loop] = line
        return line

    def _headers(self) -> dict[str, str]:
        if time.monotonic() >= self._credentials_end:
            headers = {"Accept": "application/json", "User-Agent": "nemeton-operator"}
            for setting in self._configuration.auth_settings().values():
                if setting["in"] == "header" and setting["value"]:
                    headers[setting["key"]] = setting["value"]
            self._credentials, self._credentials_end = headers, time.monotonic() + _CREDENTIALS_SECONDS
        return self._credentials


def _load() -> Any:
    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            # by its name: the library remembers the variable as it was when it was imported
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except config.ConfigException as error:
        raise InvalidInput(
            f"No way to the API server: {error}. In a pod the service account's token must be mounted; elsewhere "
            "KUBECONFIG names a kubeconfig file."
        ) from error
    return configuration


def _tls(configuration: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except OSError as error:
        raise InvalidInput(
            f"No way to the API server: a certificate of the kubeconfig cannot be read: {error}"
        ) from error
    # clusters' own authorities seldom have all that the strictest reading of the standard asks for
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy(configuration: Any) -> str | None:
    if not configuration.proxy:
        return None
    host = urlsplit(configuration.host).netloc
    exceptions = {"no": configuration.no_proxy or ""}
    is_excepted = urllib.request.proxy_bypass_environment(host, exceptions)  # pyright: ignore[reportAttributeAccessIssue]
    return None if is_excepted else str(configuration.proxy)
