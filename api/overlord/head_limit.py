"""HTTP as uvicorn speaks it, with a limit for what comes before the body: its parser keeps whatever is sent."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_LISTENING_SECONDS = 1.0
"""From the refusal to the end: a line that is cut while the caller still writes loses him the answer."""


def limited_http(most_head_bytes: int) -> type[HttpToolsProtocol]:
    """The protocol of one server: a request line and headers beyond `most_head_bytes` are 431, and the line is cut."""

    class LimitedHttp(HttpToolsProtocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._is_in_head = True
            self._head_bytes = 0
            self._is_refused = False

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            began_in_head = self._is_in_head
            super().data_received(data)
            if began_in_head and self._is_in_head:
                # as it came: a single header that has no end is not told of until it ends
                self._take(len(data))

        def on_message_begin(self) -> None:
            self._is_in_head, self._head_bytes = True, 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._take(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._take(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._is_in_head = False
            if not self._is_refused:
                super().on_headers_complete()

        def _take(self, count: int) -> None:
            self._head_bytes += count
            if self._head_bytes > most_head_bytes and not self._is_refused:
                self._is_refused = True
                self.transport.write(_TOO_LARGE)
                self.loop.call_later(_LISTENING_SECONDS, self.transport.close)

    return LimitedHttp
