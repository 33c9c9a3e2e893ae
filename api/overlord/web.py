"""What the routes share: answers in Druid's manner, and request bodies."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from druid_core.redaction import covered, secrets_in, without_secrets
from overlord.problems import UnknownThing, Unreadable, headers_of, problem_of

JSON = "application/json"
TEXT = "text/plain;charset=utf-8"
"""Written as Druid writes it: no space, lower case."""


_REFUSED = 400
_BODY = "nemeton.body"
"""Of a call's scope: the JSON of its body, once it was read."""


class PlainResponse(Response):
    """A response whose Content-Type is sent as it is given; Starlette would add a charset of its own."""

    def __init__(self, content: bytes = b"", status_code: int = 200, content_type: str | None = None) -> None:
        super().__init__(content, status_code)
        if content_type is not None:
            self.raw_headers.append((b"content-type", content_type.encode("latin-1")))


def json_answer(value: Any, status: int = 200) -> Response:
    """`value` as JSON; a refusal may quote what it refuses, and does not show what others may not see of it."""
    return PlainResponse(orjson.dumps(value if status < _REFUSED else without_secrets(value)), status, JSON)


def raw_json_answer(content: bytes, status: int = 200) -> Response:
    """A body that is JSON already, or that Druid calls so."""
    return PlainResponse(content, status, JSON)


def long_json_answer(pieces: Sequence[bytes]) -> Response:
    """A body that is JSON in pieces, which are let go one by one as they are sent."""
    answer = StreamingResponse(_each_once(list(pieces)), media_type=None)
    answer.raw_headers += [
        (b"content-length", str(sum(map(len, pieces))).encode()),
        (b"content-type", JSON.encode()),
    ]
    return answer


async def _each_once(pieces: list[bytes]) -> AsyncIterator[bytes]:
    pieces.reverse()
    while pieces:
        yield pieces.pop()


def text_answer(text: str, status: int = 200) -> Response:
    return PlainResponse((text if status < _REFUSED else without_secrets(text)).encode(), status, TEXT)


def empty_answer(status: int) -> Response:
    """No body and no Content-Type, as Druid's 404, 405, 406 and 415."""
    return PlainResponse(b"", status)


def error_answer(error: BaseException, request: Request | None = None) -> Response:
    """The answer to an error, from the table in `problems`, without the secrets of the request's body."""
    words = str(error) if request is None else words_of(error, request)
    if isinstance(error, UnknownThing):
        return text_answer(words, 404)
    problem = problem_of(error)
    answer = json_answer(problem.body(words), problem.status)
    for name, value in headers_of(error):
        answer.headers.append(name, value)
    return answer


def words_of(error: BaseException, request: Request) -> str:
    """What an error says, without what the body that was read holds of secrets: a refusal may quote a part of it."""
    return covered(str(error), secrets_in(request.scope.get(_BODY)))


def is_json(request: Request) -> bool:
    """Whether the body is said to be JSON; a charset may follow. If not, Druid answers 415."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


def may_be_json(request: Request) -> bool:
    """The same for a route that reads no body: to say nothing is fine there, which is what Druid's client does."""
    return "content-type" not in request.headers or is_json(request)


def accepts_json(request: Request) -> bool:
    """Whether the caller takes JSON. If not, Druid answers 406."""
    accept = request.headers.get("accept")
    if not accept:
        return True
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    return not kinds.isdisjoint({"*/*", "application/*", JSON, "application/x-jackson-smile"})


def query(request: Request, name: str) -> str | None:
    """A query parameter; of a repeated one the first counts, as in Druid."""
    return next((value for key, value in request.query_params.multi_items() if key == name), None)


async def json_body(request: Request) -> Any:
    """
    The body as JSON; an empty one is null, as in Druid.

    Raises Unreadable when it is no JSON.
    """
    body = await request.body()
    if not body:
        return None
    raw = request.scope[_BODY] = parse_json(body)
    return raw


def parse_json(body: bytes) -> Any:
    """
    Raises Unreadable with the place and the reason.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"The request body is not JSON: {error}") from error
