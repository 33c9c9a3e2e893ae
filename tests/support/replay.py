"""Recorded calls made again: what Druid answered is what we answer, but for what differs from run to run."""

import json
import re
from pathlib import Path
from typing import Any, cast

from httpx import AsyncClient

GOLDEN = Path(__file__).parents[1] / "golden" / "druid-overlord"

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def recorded(name: str) -> list[dict[str, Any]]:
    """The calls of a recording, in their order: each finds what those before it left behind."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


async def replay(client: AsyncClient, call: dict[str, Any]) -> tuple[int, str | None, Any]:
    """Make a call; its answer's status, media type and body, JSON read."""
    headers = dict(call.get("requestHeaders", {}))
    content = b""
    if "requestBody" in call:
        body = call["requestBody"]
        is_raw = isinstance(body, dict) and body.keys() == {"raw"}
        content = body["raw"].encode() if is_raw else json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    answer = await client.request(call["method"], call["path"], content=content, headers=headers)
    try:
        read: Any = json.loads(answer.text)
    except ValueError:
        read = answer.text
    return answer.status_code, answer.headers.get("content-type"), comparable(read)


def expected(call: dict[str, Any]) -> tuple[int, str | None, Any]:
    """What `replay` must give."""
    return call["status"], call["contentType"], comparable(call.get("body"))


def comparable(value: Any) -> Any:
    """
    What two programs that mean the same agree on.

    Instants of today are one; a text that is JSON is read; a message that names a class of Java is only its field.
    """
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [comparable(each) for each in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if _INSTANT.fullmatch(value):
        return "$INSTANT"
    if value.startswith("{"):
        return comparable(json.loads(value))
    return value


def is_page(call: dict[str, Any]) -> bool:
    """Whether Druid answered a page of HTML: of that only the status counts."""
    return "page" in call


def names_java(call: dict[str, Any]) -> bool:
    """Whether Druid's message names one of its classes: of that only the shape counts."""
    return re.search(r"org\.apache|java\.", str(call.get("body"))) is not None
