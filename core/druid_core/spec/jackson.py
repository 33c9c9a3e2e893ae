"""
How Druid's JSON mapper reads: which scalars it coerces, what a null means, and the words in which it refuses.

Every model of a spec is a SpecModel. A refusal leaves pydantic as InvalidTask at once, so that its text is Druid's.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, NoReturn, Self, cast

from pydantic import BeforeValidator, model_validator

from druid_core.errors import InvalidTask
from druid_core.wire import WireModel, camel

_INT = (-(2**31), 2**31 - 1)
_LONG = (-(2**63), 2**63 - 1)
_WHOLE = re.compile(r"[+-]?\d+")


class UnreadableValue(InvalidTask):
    """A value that one of Druid's own deserializers refuses; the message ends in the path that led to it."""

    def __init__(self, problem: str, *chain: str) -> None:
        self.problem, self.chain = problem, chain
        super().__init__(f"{problem} (through reference chain: {'->'.join(chain)})")

    def below(self, *chain: str) -> "UnreadableValue":
        """The same refusal, seen from further up."""
        return UnreadableValue(self.problem, *chain, *self.chain)


def refuse(java_class: str, problem: str) -> NoReturn:
    """
    Refuse as Druid does when a constructor throws; its answers end at the first line break of the text.

    Raises InvalidTask.
    """
    text = f"Cannot construct instance of `{java_class}`, problem: {problem}"
    raise InvalidTask(text.partition("\n")[0])


class SpecModel(WireModel):
    """A part of a spec: null fields count as absent, unknown ones are ignored."""

    java_class: ClassVar[str]
    """Druid's class, for its messages."""
    wire_order: ClassVar[tuple[str, ...]] = ()
    """Attributes in the order in which Druid prints them; by default the fields as declared."""
    omitted_when_null: ClassVar[frozenset[str]] = frozenset()
    """Attributes that Druid prints only when they are not null."""
    omitted_when_default: ClassVar[frozenset[str]] = frozenset()
    """Attributes that Druid prints only when they are not empty, false or zero."""
    _wire_names: ClassVar[tuple[tuple[str, str, int], ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        names = cls.wire_order or tuple(cls.model_fields)
        cls._wire_names = tuple(
            (
                name,
                _alias(cls, name),
                1 if name in cls.omitted_when_null else 2 if name in cls.omitted_when_default else 0,
            )
            for name in names
        )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            fields = cast("dict[str, Any]", raw)
            if None in fields.values():
                fields = {name: value for name, value in fields.items() if value is not None}
            return cls.prepare(fields)
        return raw if isinstance(raw, cls) else cls.from_scalar(raw)

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Old spellings turned into the present ones; `raw` has no nulls and must not be changed."""
        return raw

    @classmethod
    def from_scalar(cls, raw: object) -> Any:
        """What stands where an object is expected; most models refuse it."""
        raise InvalidTask(not_an_object(cls.java_class, raw))

    @model_validator(mode="after")
    def _checked(self) -> Self:
        self.check()
        return self

    def check(self) -> None:
        """What Druid's constructor demands. Raises InvalidTask."""

    def refuse(self, problem: str) -> NoReturn:
        """Raises InvalidTask: this object cannot be made."""
        refuse(self.java_class, problem)

    def to_wire(self) -> dict[str, Any]:
        """The JSON object as Druid prints it: its order, its defaults, its omissions. Not to be changed."""
        wire: dict[str, Any] = {}
        for name, alias, omission in self._wire_names:
            value = getattr(self, name)
            if (omission == 1 and value is None) or (omission == 2 and not value):
                continue
            wire[alias] = value if type(value) in _PLAIN else _value_to_wire(value)
        return wire


def _alias(model: type[SpecModel], name: str) -> str:
    field = model.model_fields.get(name)
    if field is not None and field.alias is not None:
        return field.alias
    return camel(name)


_PLAIN = frozenset({type(None), str, int, float, bool, dict})


def _value_to_wire(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return [_value_to_wire(item) for item in cast("list[Any]", value)]
    to_wire = getattr(value, "to_wire", None)
    return str(value) if to_wire is None else to_wire()


def not_an_object(java_class: str, raw: object) -> str:
    """Jackson's words for a scalar or list where an object is expected."""
    if isinstance(raw, list):
        return f"Cannot deserialize value of type `{java_class}` from Array value (token `JsonToken.START_ARRAY`)"
    kind = (
        "String"
        if isinstance(raw, str)
        else "boolean"
        if isinstance(raw, bool)
        else "int"
        if isinstance(raw, int)
        else "double"
    )
    value = str(raw).lower() if isinstance(raw, bool) else str(raw)
    shown = f"'{value}'" if isinstance(raw, str) else value
    return (
        f"Cannot construct instance of `{java_class}` (although at least one Creator exists): no {kind}-argument "
        f"constructor/factory method to deserialize from {_WHAT[_token(raw)]} value ({shown})"
    )


_WHAT = {
    "START_OBJECT": "Object",
    "START_ARRAY": "Array",
    "VALUE_TRUE": "Boolean",
    "VALUE_FALSE": "Boolean",
    "VALUE_STRING": "String",
    "VALUE_NUMBER_FLOAT": "Floating-point",
    "VALUE_NUMBER_INT": "Integer",
    "VALUE_NULL": "Null",
}


def _token(raw: object) -> str:
    match raw:
        case dict():
            return "START_OBJECT"
        case list():
            return "START_ARRAY"
        case bool():
            return "VALUE_TRUE" if raw else "VALUE_FALSE"
        case str():
            return "VALUE_STRING"
        case float():
            return "VALUE_NUMBER_FLOAT"
        case None:
            return "VALUE_NULL"
        case _:
            return "VALUE_NUMBER_INT"


def _wrong_token(java_type: str, raw: object) -> InvalidTask:
    token = _token(raw)
    return InvalidTask(
        f"Cannot deserialize value of type `{java_type}` from {_WHAT[token]} value (token `JsonToken.{token}`)"
    )


def read_text(raw: Any) -> Any:
    """A string; numbers and booleans become their text, as Jackson has it."""
    if isinstance(raw, str) or raw is None:
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return str(raw)
    raise _wrong_token("java.lang.String", raw)


def _whole_number(java_type: str, bounds: tuple[int, int]) -> Callable[[Any], Any]:
    short = "int" if bounds == _INT else "long"
    least, most = bounds

    def read(raw: Any) -> Any:
        if isinstance(raw, bool | dict | list):
            raise _wrong_token(java_type, cast("object", raw))
        if isinstance(raw, str):
            if _WHOLE.fullmatch(raw.strip()) is None:
                raise InvalidTask(
                    f'Cannot deserialize value of type `{java_type}` from String "{raw}": '
                    f"not a valid `{java_type}` value"
                )
            value = int(raw)
            if not least <= value <= most:
                raise InvalidTask(
                    f'Cannot deserialize value of type `{java_type}` from String "{raw}": '
                    f"Overflow: numeric value ({value}) out of range of `{short}` ({least} -{most})"
                )
            return value
        if isinstance(raw, float):
            if not math.isfinite(raw):
                raise _wrong_token(java_type, raw)
            raw = int(raw)
        if isinstance(raw, int) and not least <= raw <= most:
            raise InvalidTask(f"Numeric value ({raw}) out of range of {short} ({least} - {most})")
        return raw

    return read


def read_bool(raw: Any) -> Any:
    """A boolean; "true" and "false" in the usual cases, and numbers, are taken too."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        word = raw.strip()
        if word in ("true", "True", "TRUE"):
            return True
        if word in ("false", "False", "FALSE"):
            return False
        raise InvalidTask(
            f'Cannot deserialize value of type `boolean` from String "{raw}": only "true" or "false" recognized'
        )
    if isinstance(raw, int):
        return raw != 0
    raise _wrong_token("boolean", raw)


def read_texts(raw: Any) -> Any:
    """A list of strings; a lone string is none."""
    if isinstance(raw, list | tuple):
        return [read_text(item) for item in cast("list[Any]", raw)]
    raise _wrong_token("java.util.ArrayList<java.lang.String>", raw)


def read_map(raw: Any) -> Any:
    """An object of any content, as it is."""
    if isinstance(raw, dict):
        return cast("dict[str, Any]", raw)
    raise _wrong_token("java.util.LinkedHashMap<java.lang.String,java.lang.Object>", raw)


def a_list(java_type: str) -> BeforeValidator:
    """A validator that refuses what is no list, in Jackson's words."""

    def read(raw: Any) -> Any:
        if isinstance(raw, list | tuple):
            return cast("list[Any]", raw)
        raise _wrong_token(java_type, raw)

    return BeforeValidator(read)


read_int = _whole_number("int", _INT)
"""A Java int; texts of digits are taken, fractions cut. Raises InvalidTask."""

Text = Annotated[str, BeforeValidator(read_text)]
Texts = Annotated[list[str], BeforeValidator(read_texts)]
Int = Annotated[int, BeforeValidator(_whole_number("java.lang.Integer", _INT))]
Long = Annotated[int, BeforeValidator(_whole_number("java.lang.Long", _LONG))]
PrimitiveInt = Annotated[int, BeforeValidator(read_int)]
PrimitiveLong = Annotated[int, BeforeValidator(_whole_number("long", _LONG))]
Bool = Annotated[bool, BeforeValidator(read_bool)]
Map = Annotated[dict[str, Any], BeforeValidator(read_map)]


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
            raise InvalidTask(
                f"Unexpected token ({_token(items[0]) if items else 'END_ARRAY'}), expected VALUE_STRING: need String, "
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
            return InvalidTask(not_here_yet(f"{self._noun} type [{kind}]", self._supported))
        return InvalidTask(
            f"Please make sure to load all the necessary extensions and jars with type '{kind}' on 'druid/coordinator' "
            f"service. Could not resolve type id '{kind}' as a subtype of `{self._java_class}` "
            f"known type ids = [{self._shown}]{self._where}"
        )


def not_here_yet(what: str, supported: Iterable[str] = ()) -> str:
    """The sentence for what Druid has and this Overlord has not."""
    offered = ", ".join(sorted(supported))
    return f"{what} is known to Druid but not supported yet by this Overlord" + (
        f"; supported are: {offered}" if offered else ""
    )


def without_secrets(value: Any) -> Any:
    """JSON with the values of secret fields covered; what holds none is returned as it is, not copied."""
    if isinstance(value, Mapping):
        changed: dict[str, Any] = {}
        fields = cast("dict[str, Any]", value)
        for name, item in fields.items():
            if name in _SECRET_FIELDS and isinstance(item, str):
                changed[name] = _COVER
            elif name == "requestHeaders" and isinstance(item, dict):
                changed[name] = dict.fromkeys(cast("dict[str, Any]", item), _COVER)
            elif isinstance(item, dict | list) and (clean := without_secrets(item)) is not item:
                changed[name] = clean
        return {**fields, **changed} if changed else fields
    if isinstance(value, list):
        items = cast("list[Any]", value)
        cleaned = [without_secrets(item) if isinstance(item, dict | list) else item for item in items]
        return cleaned if any(new is not old for new, old in zip(cleaned, items, strict=True)) else items
    return value


_COVER = "********"
_SECRET_FIELDS = frozenset(
    {
        "password",
        "httpAuthenticationPassword",
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "sharedAccessStorageToken",
        "key",
        "appRegistrationClientSecret",
        "secret",
        "token",
        "sasl.jaas.config",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.truststore.password",
    }
)
