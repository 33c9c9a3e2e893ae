"""
Connections that ask where they lead before they are made: after the name is resolved, to the very address that was
asked about, and again at each redirect.
"""

import socket
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from druid_core.errors import InvalidInput, TaskFailure
from druid_core.input_policy import InputPolicy


def guarded_pool(policy: InputPolicy, **options: Any) -> urllib3.PoolManager:
    """A pool that raises TaskFailure where `policy` does not let a connection lead, or a redirect what no HTTP is."""
    pool = _GuardedManager(**options)
    pool.pool_classes_by_scheme = {  # pyright: ignore[reportAttributeAccessIssue]  # what makes a pool, too
        "http": partial(_GuardedPool, _policy=policy),
        "https": partial(_GuardedTlsPool, _policy=policy),
    }
    return pool


class _GuardedManager(urllib3.PoolManager):
    def connection_from_host(
        self,
        host: str | None,
        port: int | None = None,
        scheme: str | None = "http",
        pool_kwargs: dict[str, Any] | None = None,
    ) -> urllib3.HTTPConnectionPool:
        """Asked before every connection, the first one and each that a redirect leads to."""
        if scheme not in self.pool_classes_by_scheme:
            raise TaskFailure(f"inputSource may not follow a redirect to [{scheme}:]: only http and https are followed")
        if not host:
            raise TaskFailure(f"inputSource may not follow a redirect to [{scheme}://]: it names no host")
        return super().connection_from_host(host, port, scheme, pool_kwargs)


class _GuardedConnection(HTTPConnection):
    def __init__(self, *arguments: Any, _policy: InputPolicy, **options: Any) -> None:
        self._policy = _policy
        super().__init__(*arguments, **options)

    def _new_conn(self) -> socket.socket:
        return _connected(self, self._policy, "http")


class _GuardedTlsConnection(HTTPSConnection):
    def __init__(self, *arguments: Any, _policy: InputPolicy, **options: Any) -> None:
        self._policy = _policy
        super().__init__(*arguments, **options)

    def _new_conn(self) -> socket.socket:
        return _connected(self, self._policy, "https")


class _GuardedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _GuardedConnection  # pyright: ignore[reportAssignmentType]  # as urllib3 itself has it


class _GuardedTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedTlsConnection  # pyright: ignore[reportAssignmentType]


def _connected(connection: HTTPConnection, policy: InputPolicy, protocol: str) -> socket.socket:
    """A socket to the first address that answers. Raises TaskFailure, and what urllib3's own raises."""
    host, port = connection.host, connection.port
    try:
        policy.check_protocol(protocol)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # one denied among several is enough: which of them is taken is chance, and who made such a name knows why
        for *_, address in found:
            policy.check_address(host, str(address[0]))
    except InvalidInput as error:
        raise TaskFailure(str(error)) from error
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    last: OSError = OSError("no address")
    for *_, address in found:
        try:
            return create_connection(
                (str(address[0]), port), connection.timeout, connection.source_address, connection.socket_options
            )
        except OSError as error:
            last = error
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(connection, f"Connection to {host} timed out") from last
    raise NewConnectionError(connection, f"Failed to establish a new connection: {last}") from last
