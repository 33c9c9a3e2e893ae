"""
The edge: what holds for every call, before and after the routes. One plain ASGI layer, since each costs every call.

In: path segments are decoded one by one, a trailing slash is nothing, who calls is asked before his body is read, gzip
bodies are undone, bodies have a limit.
Out: Druid's headers on everything but POST, gzip where asked for. HEAD and OPTIONS are 405, as in Druid.
"""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from druid_core.errors import InvalidInput, NemetonError
from overlord.metrics import meters
from overlord.problems import BodyCutShort, BodyTooLarge, BodyTooSlow, Unreadable
from overlord.web import empty_answer, error_answer

P = ParamSpec("P")

_GUARDS = [
    (b"cache-control", b"no-cache, no-store, max-age=0"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
]
_VARY = (b"vary", b"Accept-Encoding")

_ZIPPED_TYPES = (b"application/json", b"text/html")
"""Logs stay as they are: whoever asks for the last N bytes gets a Content-Length of N."""

_LARGE_BYTES = 256 << 10
"""Answers beyond this are packed in a thread."""


Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]
"""Lets a call in and says in its scope who calls, or raises a NemetonError."""

Door = Callable[[Request], Awaitable[Response]]
"""An endpoint that takes a request as it is."""


class Edge:
    """
    Wraps the application. `doors` are endpoints, by method and path, that are called without the framework between:
    for calls so frequent that its share would be most of their cost.
    """

    def __init__(
        self,
        app: ASGIApp,
        admit: Admit,
        max_body_bytes: int,
        body_patience_seconds: float,
        doors: Mapping[tuple[str, str], Door],
    ) -> None:
        self._app = app
        self._admit = admit
        self._patience_seconds = body_patience_seconds
        self._max_body_bytes = max_body_bytes
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first of a repeated one counts
        if scope["method"] in ("HEAD", "OPTIONS"):
            await empty_answer(405)(scope, receive, send)
            return
        send = _answering(send, scope["method"], b"gzip" in headers.get(b"accept-encoding", b""))
        try:
            scope["path"] = _path(scope)
            await self._admit(scope, headers)
            receive = self._reading(receive, headers)
        except NemetonError as error:
            await error_answer(error)(scope, receive, send)
            return
        door = self._doors.get((scope["method"], scope["path"]))
        if door is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await door(request)
        except NemetonError as error:
            answer = error_answer(error, request)
        await answer(scope, receive, send)

    def _reading(self, receive: Receive, headers: dict[bytes, bytes]) -> Receive:
        """`receive` within the limit, and unpacked."""
        length = headers.get(b"content-length")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if length is not None and length.isdigit() and int(length) > self._max_body_bytes:
            raise self._too_large()
        receive = self._patient(receive, has_body=length not in (None, b"0") or b"transfer-encoding" in headers)
        if encoding == b"identity":
            return receive if length is not None else self._counting(receive)
        if encoding not in (b"gzip", b"x-gzip"):
            raise InvalidInput(f"Content-Encoding [{encoding.decode('latin-1')}] is not supported: use gzip or none")
        return self._unpacking(receive)

    def _patient(self, receive: Receive, *, has_body: bool) -> Receive:
        """Each piece of a body within its time; after the last one only the caller's going away is waited for."""
        more = True

        async def in_time() -> Message:
            nonlocal more
            if not more:
                return await receive()
            try:
                async with asyncio.timeout(self._patience_seconds):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow(
                    f"Nothing came of the request body for {self._patience_seconds:g} s (body_patience_seconds)"
                ) from error
            if has_body and message["type"] == "http.disconnect":
                raise BodyCutShort("The caller went away before the end of his request body")
            more = message.get("more_body", False)
            return message

        return in_time

    def _counting(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise self._too_large()
            return message

        return counted

    def _unpacking(self, receive: Receive) -> Receive:
        unpacked = False

        async def unpack() -> Message:
            nonlocal unpacked
            if unpacked:
                return await receive()
            unpacked = True
            packer = zlib.decompressobj(16 + zlib.MAX_WBITS)
            body = bytearray()
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                more = message.get("more_body", False)
                packed = message.get("body", b"")
                while packed:
                    if packer.eof:  # a body may be several members, one after the other
                        packer = zlib.decompressobj(16 + zlib.MAX_WBITS)
                    try:
                        body += packer.decompress(packed, self._max_body_bytes + 1 - len(body))
                    except zlib.error as error:
                        raise InvalidInput(
                            f"The request body is not gzip, as its Content-Encoding says: {error}"
                        ) from error
                    if len(body) > self._max_body_bytes:
                        raise self._too_large()
                    packed = packer.unused_data
            if body and not packer.eof:
                raise InvalidInput("The request body is cut short: its gzip stream has no end")
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return unpack

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The request body is larger than max_body_bytes [{self._max_body_bytes}]")


def _path(scope: Scope) -> str:
    """
    The path with each segment decoded, without a slash at its end. What no database text can hold becomes U+FFFD.

    Raises Unreadable for a segment that no task id can be (Druid: Invalid value for field [taskId], 500), InvalidInput
    where it stands for something else.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0]
    if b"%" not in raw and b".." not in raw:
        return raw.decode("utf-8", "replace").rstrip("/") or "/"
    segments: list[str] = []
    for part in raw.split(b"/"):
        segment = unquote_to_bytes(part).decode("utf-8", "replace").replace("\0", "\ufffd")
        if "/" in segment:
            raise _no_name(segments, f"Value [{segment}] cannot contain '/'.")
        if segment == "..":
            raise _no_name(segments, "Value [..] cannot start with '.'.")
        segments.append(segment)
    return "/".join(segments).rstrip("/") or "/"


def _no_name(before: list[str], problem: str) -> NemetonError:
    """What is wrong with a path's segment, by what stands before it."""
    field = _FIELD_AFTER.get(before[-1], "path") if before else "path"
    kind = Unreadable if field == _TASK_ID else InvalidInput
    return kind(f"Invalid value for field [{field}]: {problem}")


_TASK_ID = "taskId"
_FIELD_AFTER = {
    "task": _TASK_ID,
    "datasources": "dataSource",
    "pendingSegments": "dataSource",
    "segments": "segmentId",
    "supervisor": "supervisorId",
    "users": "userName",
    "roles": "roleName",
}
"""What a segment of a path is, by the one before it."""


def _answering(send: Send, method: str, zip_wanted: bool) -> Send:
    """`send` with the headers of every answer, packed where that was asked for."""
    start: Message | None = None
    pack_piece: Callable[[bytes, bool], bytes] | None = None

    async def answer(message: Message) -> None:
        nonlocal start, pack_piece
        if message["type"] == "http.response.start":
            meters.answered(method, message["status"])
            headers: list[Any] = message["headers"]
            headers.append(_VARY)
            if method != "POST":
                headers += _GUARDS
                # a POST answers a line; packing it would cost more than it saves
                if zip_wanted and _is_zipped_type(headers):
                    start = message
                    return
        elif start is not None:
            held, start = start, None
            if message.get("more_body", False):
                pack_piece = _packing()
                held["headers"] = _packed_headers(held["headers"], None)
            elif body := message.get("body", b""):
                body = await _apart(len(body), _pack, body)
                held["headers"] = _packed_headers(held["headers"], len(body))
                message = {**message, "body": body}
            await send(held)
        if pack_piece is not None:
            body, more = message.get("body", b""), message.get("more_body", False)
            message = {**message, "body": await _apart(len(body), pack_piece, body, more)}
        await send(message)

    return answer


def _packed_headers(headers: list[Any], length: int | None) -> list[Any]:
    """Of a packed body; without its length where it is packed piece by piece."""
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    kept.append((b"content-encoding", b"gzip"))
    return kept if length is None else [*kept, (b"content-length", b"%d" % length)]


async def _apart(size: int, pack: Callable[P, bytes], *arguments: P.args, **named: P.kwargs) -> bytes:
    """In a thread, where there is much to pack."""
    return await asyncio.to_thread(pack, *arguments, **named) if size > _LARGE_BYTES else pack(*arguments, **named)


def _packing() -> Callable[[bytes, bool], bytes]:
    """Packs one piece after the other, and whether more come."""
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    return lambda piece, more: packer.compress(piece) + (b"" if more else packer.flush())


def _is_zipped_type(headers: list[Any]) -> bool:
    return any(name == b"content-type" and value.startswith(_ZIPPED_TYPES) for name, value in headers)


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)
