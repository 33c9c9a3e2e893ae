"""
The one base of all JSON that this product reads and writes.

Attributes are snake_case in Python and camelCase on the wire, models are frozen, unknown fields are ignored on
the way in (as Druid does) and nulls are written on the way out (as Druid does).
"""

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


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
