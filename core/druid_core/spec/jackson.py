"""
How Druid's JSON mapper reads: which scalars it coerces, what a null means, and the words in which it refuses.

Every model of a spec is a SpecModel. A refusal leaves pydantic as InvalidTask at once, so that its text is Druid's.
"""

import math
import re
from collections.abc import Callable
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
        f"constructor/factory method to deserialize from {_WHAT[token_of(raw)]} value ({shown})"
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


def token_of(raw: object) -> str:
    """The name of Jackson's token for a JSON value."""
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


def _wrongtoken_of(java_type: str, raw: object) -> InvalidTask:
    token = token_of(raw)
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
    raise _wrongtoken_of("java.lang.String", raw)


def _whole_number(java_type: str, bounds: tuple[int, int]) -> Callable[[Any], Any]:
    short = "int" if bounds == _INT else "long"
    least, most = bounds

    def read(raw: Any) -> Any:
        if isinstance(raw, bool | dict | list):
            raise _wrongtoken_of(java_type, cast("object", raw))
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
                raise _wrongtoken_of(java_type, raw)
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
    raise _wrongtoken_of("boolean", raw)


def read_texts(raw: Any) -> Any:
    """A list of strings; a lone string is none."""
    if isinstance(raw, list | tuple):
        return [read_text(item) for item in cast("list[Any]", raw)]
    raise _wrongtoken_of("java.util.ArrayList<java.lang.String>", raw)


def read_map(raw: Any) -> Any:
    """An object of any content, as it is."""
    if isinstance(raw, dict):
        return cast("dict[str, Any]", raw)
    raise _wrongtoken_of("java.util.LinkedHashMap<java.lang.String,java.lang.Object>", raw)


def a_list(java_type: str) -> BeforeValidator:
    """A validator that refuses what is no list, in Jackson's words."""

    def read(raw: Any) -> Any:
        if isinstance(raw, list | tuple):
            return cast("list[Any]", raw)
        raise _wrongtoken_of(java_type, raw)

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
