"""
The one base of all JSON that this product reads and writes.

Attributes are snake_case in Python and camelCase on the wire, models are frozen, unknown fields are ignored on
the way in (as Druid does) and nulls are written on the way out (as Druid does).
"""

import re
from typing import Any, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError


def camel(name: str) -> str:
    """`k8s_pod_name` → `k8sPodName`, as Druid spells it; pydantic's own generator makes `k8SPodName` of it."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


type_adapter_config = ConfigDict(
    alias_generator=camel,
    populate_by_name=True,
    frozen=True,
    extra="ignore",
    strict=False,
    arbitrary_types_allowed=False,
)


class WireModel(BaseModel):
    """A frozen value with Druid's JSON spelling."""

    model_config = type_adapter_config

    def to_wire(self) -> dict[str, Any]:
        """The JSON object as Druid writes it: camelCase keys, nulls present."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> bytes:
        """The JSON text of `to_wire`, UTF-8, keys in the order in which the model declares them."""
        return orjson.dumps(self.to_wire())


def what_is_wrong(error: ValidationError, raw: object) -> tuple[str, str]:
    """
    The path of the first field that is wrong in the JSON `raw`, empty for all of it, and what is wrong with it.

    In words for whoever wrote the JSON: without the branches of unions and the names of classes.
    """
    first = error.errors(include_url=False)[0]
    return _path_in(raw, first["loc"], missing=first["type"] in ("missing", "extra_forbidden")), _plain(first["msg"])


def _path_in(raw: object, steps: tuple[int | str, ...], *, missing: bool) -> str:
    """What is no field of `raw` is the branch of a union, unless it is the field that is missing."""
    path: list[str] = []
    at = raw
    for step in steps:
        if isinstance(at, dict) and step in at:
            at = cast("dict[object, object]", at)[step]
        elif isinstance(at, list) and isinstance(step, int) and step < len(cast("list[object]", at)):
            at = cast("list[object]", at)[step]
        elif not (missing and step == steps[-1]):
            continue
        path.append(str(step))
    return ".".join(path)


def _plain(words: str) -> str:
    words = _OBJECT.sub("a JSON object", words.removeprefix("Value error, ").replace("a valid list", "a JSON list"))
    return words.replace("Extra inputs are not permitted", "It means nothing here")


_OBJECT = re.compile(r"a valid dictionary( or (instance of \w+|object to extract fields from))?")
