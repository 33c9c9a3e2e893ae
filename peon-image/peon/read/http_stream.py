"""The answer to a GET as a stream that survives broken connections."""

import io
import time
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ResponseError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HTTPTimeout

from druid_core.errors import TaskFailure
from druid_core.input_policy import UNBOUND, InputPolicy
from peon.read.guarded import guarded_pool

_ATTEMPTS = 5
"""How often in a row a request may fail before the task does."""
_FIRST_PAUSE_SECONDS = 0.5
_REDIRECTS_ONLY = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)
_WORTH_ANOTHER_TRY = frozenset({408, 429, 500, 502, 503, 504})


class HttpStream(io.RawIOBase):
    """
    Reads `uri`; where the connection breaks, the next request asks for the rest. Druid: HttpEntity, RetryingInputStream

    `credentials` is `user:password`. Raises TaskFailure with the URI and the status of any other answer than 200, and
    where `policy` does not let a connection lead.
    """

    def __init__(
        self,
        uri: str,
        headers: dict[str, str],
        credentials: str | None = None,
        policy: InputPolicy = UNBOUND,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._uri = uri
        # What is compressed on its way would not be what the resource's name says, and could not be resumed.
        self._headers = {"Accept-Encoding": "identity"} | headers
        if credentials is not None:
            self._headers |= urllib3.make_headers(basic_auth=credentials)
        self._sleep = sleep
        self._pool = guarded_pool(policy, timeout=urllib3.Timeout(connect=10, read=60), retries=_REDIRECTS_ONLY)
        self._position = 0
        self._breaks_since_progress = 0
        self._version: str | None = None
        self._response = self._request_patiently()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                data = self._response.read(len(buffer))
            except (HTTPError, OSError) as error:
                self._response.close()
                self._breaks_since_progress += 1
                if self._breaks_since_progress == _ATTEMPTS:
                    raise TaskFailure(
                        f"Cannot read [{self._uri}]: the connection keeps breaking: {_why(error)}"
                    ) from error
                self._response = self._request_patiently()
                continue
            self._breaks_since_progress = 0
            buffer[: len(data)] = data
            self._position += len(data)
            return len(data)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._pool.clear()
        super().close()

    def _request_patiently(self) -> urllib3.BaseHTTPResponse:
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._request()
            except LocationValueError as error:  # no later try makes an address of it
                raise TaskFailure(
                    f"Cannot read [{self._uri}]: it is no address, or redirects to none: {error}"
                ) from error
            except (HTTPError, OSError) as error:
                if isinstance(error, MaxRetryError) and isinstance(error.reason, ResponseError):
                    raise TaskFailure(f"Cannot read [{self._uri}]: it redirects from address to address") from error
                if attempt == _ATTEMPTS:
                    raise TaskFailure(
                        f"Cannot read [{self._uri}] after {attempt} attempts: {_why(error)}; "
                        "is the address in inputSource.uris right, and its server up?"
                    ) from error
            else:
                if response.status not in _WORTH_ANOTHER_TRY or attempt == _ATTEMPTS:
                    return self._accepted(response)
                response.close()
            self._sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _request(self) -> urllib3.BaseHTTPResponse:
        headers = self._headers | ({"Range": f"bytes={self._position}-"} if self._position else {})
        response = self._pool.request("GET", self._uri, headers=headers, preload_content=False, decode_content=False)
        if self._position and response.status == 200:
            # The server does not know ranges: read over what was read before.
            left = self._position
            while left and (skipped := len(response.read(min(left, 1 << 20)))):
                left -= skipped
        return response

    def _accepted(self, response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        if response.status != (206 if self._position else 200) and not (self._position and response.status == 200):
            response.close()
            raise TaskFailure(
                f"Cannot read [{self._uri}]: it answered {response.status} {response.reason or ''}".rstrip()
            )
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if self._position and version != self._version:
            response.close()
            raise TaskFailure(f"Cannot read [{self._uri}]: it changed while it was read")
        self._version = version
        return response


def _why(error: Exception) -> str:
    """What the library means, without the names of its objects."""
    reason = getattr(error, "reason", None) or error  # of the last try, where it tried several times
    match reason:
        case NameResolutionError():
            return "no machine has that name"
        case NewConnectionError() if isinstance(reason.__cause__, ConnectionRefusedError):
            return "nobody listens there"
        case NewConnectionError() if isinstance(reason.__cause__, OSError) and reason.__cause__.strerror:
            return reason.__cause__.strerror
        case HTTPTimeout():
            return "it does not answer in time"
        case SSLError():
            return f"there is no safe connection to it: {reason}"
        case ProtocolError():
            return "it broke the connection off"
        case OSError() if reason.strerror:
            return reason.strerror
        case _:
            return str(reason)
