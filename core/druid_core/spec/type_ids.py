"""Polymorphic objects: which `type` ids are known, which are here, and what a spec with another is told."""

from collections.abc import Iterable
from typing import Any, cast

from pydantic import BeforeValidator

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.spec.jackson import SpecModel, token_of


class TypeIds:
    """
    The `type` of a polymorphic object, to be read before a discriminated union.

    A type of `known` is refused as known to Druid and not here yet, any other that is not `supported` with Druid's list
    of type ids (`shown`, by default all). `default` is the type where none is given; with `from_text` a string stands
    for an object with that field.
    """

    def __init__(
        self,
        java_class: str,
        supported: Iterable[str],
        *,
        noun: str,
        known: Iterable[str] = (),
        shown: Iterable[str] | None = None,
        default: str | None = None,
        from_text: str | None = None,
        property_name: str | None = None,
    ) -> None:
        self._java_class, self._noun, self._default, self._from_text = java_class, noun, default, from_text
        self._supported, self._known = frozenset(supported), frozenset(known)
        self._shown = ", ".join(sorted(self._supported | self._known) if shown is None else shown)
        self._where = f" (for POJO property '{property_name}')" if property_name else ""

    @property
    def validator(self) -> BeforeValidator:
        """`read`, for pydantic."""
        return BeforeValidator(self.read)

    def read(self, raw: Any) -> Any:
        """The object, its type known to be supported. Raises InvalidTask."""
        if isinstance(raw, dict):
            fields = cast("dict[str, Any]", raw)
            kind = fields.get("type")
            if isinstance(kind, dict | list):
                raise self._missing()
            if kind in self._supported:
                return fields
            if kind is not None:
                raise self._unresolved(kind)
            if self._default is None:
                raise self._missing()
            return {**fields, "type": self._default}
        if isinstance(raw, SpecModel):
            return raw
        if self._from_text is not None and isinstance(raw, str):
            return {"type": self._default, self._from_text: raw}
        if isinstance(raw, list):
            items = cast("list[Any]", raw)
            token = token_of(items[0]) if items else "END_ARRAY"
            raise InvalidTask(
                f"Unexpected token ({token}), expected VALUE_STRING: need String, "
                f"Number of Boolean value that contains type id (for subtype of {self._java_class})"
            )
        raise self._missing()

    def _missing(self) -> InvalidTask:
        return InvalidTask(
            f"Could not resolve subtype of [simple type, class {self._java_class}]: "
            f"missing type id property 'type'{self._where}"
        )

    def _unresolved(self, kind: object) -> InvalidTask:
        if kind in self._known:
            return NotSupportedYet(f"{self._noun} type [{kind}]", self._supported)
        return InvalidTask(
            f"Please make sure to load all the necessary extensions and jars with type '{kind}' on 'druid/coordinator' "
            f"service. Could not resolve type id '{kind}' as a subtype of `{self._java_class}` "
            f"known type ids = [{self._shown}]{self._where}"
        )
