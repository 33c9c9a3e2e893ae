"""The shapes of answers that many operations share."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from druid_core.wire import WireModel
from overlord.task.documentation import DruidExceptionBody, PlainError

Answer = dict[str, Any]
"""OpenAPI: Response Object"""

SCHEMAS = "#/components/schemas/{model}"


class UnreadableRequest(WireModel):
    """What cannot be read at all, as Druid answers it: a fault of the caller's, in spite of the status."""

    error: Literal["druidException"]
    error_code: str
    persona: Literal["USER"]
    category: str
    error_message: str
    context: dict[str, str]


class SignInNeeded(WireModel):
    """Druid: QueryInterruptedException"""

    error: str
    error_message: str
    error_class: str | None
    host: str | None


class AccessRefused(WireModel):
    """Druid: ForbiddenException"""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)

    result: str = Field(alias="Access-Check-Result")


MODELS = (UnreadableRequest, SignInNeeded, AccessRefused, DruidExceptionBody, PlainError)
"""Those that are referred to by name."""


def without_body(description: str) -> Answer:
    return {"description": description}


def of_json(description: str, *models: type[WireModel]) -> Answer:
    """JSON in one of these shapes; without any, whatever JSON."""
    shapes = [{"$ref": SCHEMAS.format(model=model.__name__)} for model in models]
    schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes} if shapes else {}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def of_text(description: str, *also: str) -> Answer:
    """Plain text, or what comes under the other media types of `also`."""
    return {"description": description, "content": {kind: {} for kind in ("text/plain", *also)}}


def called_json(description: str) -> Answer:
    """Text, or nothing, that Druid sends under the media type of JSON."""
    return {"description": description, "content": {"application/json": {}}}


REFUSED = of_json("A value is missing, is none, or does not fit; which, says the body.", DruidExceptionBody, PlainError)
NOT_SIGNED_IN = of_json("Nobody known calls.", SignInNeeded)
NOT_ALLOWED = of_json("Somebody known calls, who may not do this.", AccessRefused, DruidExceptionBody)
NOT_FOUND = without_body("There is nothing of this name.")
BODY_TOO_SLOW = of_json("The body does not come on.", DruidExceptionBody)
BODY_TOO_LARGE = of_json("The body is larger than `max_body_bytes`.", DruidExceptionBody)
NOT_SAID_TO_BE_JSON = without_body("The body is not said to be JSON (`Content-Type: application/json`).")
TOO_MANY = of_json("Too many requests, or no more room; come again after `Retry-After`.", DruidExceptionBody)
UNREADABLE = of_json("The request cannot be read; Druid's status for it.", UnreadableRequest)
UNSUPPORTED = of_json("Druid can do this, this Overlord cannot.", DruidExceptionBody)
AWAY = of_json("The metadata database is away; come again after `Retry-After`.", DruidExceptionBody)
