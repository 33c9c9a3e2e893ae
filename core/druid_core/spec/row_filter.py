"""Filters: which rows of a datasource are input."""

from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, TypeAdapter

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.spec.jackson import Bool, SpecModel, Text, a_list
from druid_core.spec.type_ids import TypeIds

_PACKAGE = "org.apache.druid.query.filter"

_MATCHED = ("STRING", "LONG", "DOUBLE", "FLOAT")
"""What a `matchValue` may be."""

_ORDERINGS = ("lexicographic", "numeric")


class AndFilter(SpecModel):
    """Druid: AndDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.AndDimFilter"

    type: Literal["and"] = "and"
    fields: Annotated[list["Filter"], a_list(f"java.util.ArrayList<{_PACKAGE}.DimFilter>")]


class OrFilter(SpecModel):
    """Druid: OrDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.OrDimFilter"

    type: Literal["or"] = "or"
    fields: Annotated[list["Filter"], a_list(f"java.util.ArrayList<{_PACKAGE}.DimFilter>")]


class NotFilter(SpecModel):
    """Of what is neither true nor false the opposite is neither, too. Druid: NotDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.NotDimFilter"

    type: Literal["not"] = "not"
    field: "Filter"


class TrueFilter(SpecModel):
    """Druid: TrueDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.TrueDimFilter"

    type: Literal["true"] = "true"


class FalseFilter(SpecModel):
    """Druid: FalseDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.FalseDimFilter"

    type: Literal["false"] = "false"


class _OfDimension(SpecModel):
    """What the older filters share: they take every value as text."""

    dimension: Text

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("extractionFn") is not None:
            raise NotSupportedYet("A filter's extractionFn")
        if raw.get("dimension") is None:
            raise _refusal(cls, "dimension must not be null")
        return raw


class SelectorFilter(_OfDimension):
    """Rows whose value is this text; those without a value where it is null. Druid: SelectorDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.SelectorDimFilter"

    type: Literal["selector"] = "selector"
    value: Text | None = None


class InFilter(_OfDimension):
    """Rows whose value is one of these texts; null among them stands for no value. Druid: InDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.InDimFilter"

    type: Literal["in"] = "in"
    values: list[Text | None]


class BoundFilter(_OfDimension):
    """Rows whose value lies between these texts, with no `lower` those without a value too. Druid: BoundDimFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.BoundDimFilter"

    type: Literal["bound"] = "bound"
    lower: Text | None = None
    upper: Text | None = None
    lower_strict: Bool = False
    upper_strict: Bool = False
    ordering: Literal["lexicographic", "numeric"] = "lexicographic"

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("dimension") is None:
            raise _refusal(cls, "dimension can not be null")
        ready = super().prepare(raw)
        if raw.get("lower") is None and raw.get("upper") is None:
            raise _refusal(cls, "lower and upper can not be null at the same time")
        return {**ready, "ordering": _ordering(cls, raw)}


class _OfColumn(SpecModel):
    """What the newer filters share: they say of which type a value is."""

    column: Text
    match_value_type: Text = "STRING"

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("column") is None:
            raise _refusal(cls, f"Invalid {raw.get('type')} filter, column cannot be null")
        kind = str(raw.get("matchValueType", "STRING")).upper()
        if kind not in _MATCHED:
            raise NotSupportedYet(f"matchValueType [{kind}] of a filter", _MATCHED)
        if cls is not NullFilter and raw.get("matchValueType") is None:
            raise _refusal(
                cls, f"Invalid {raw.get('type')} filter on column [{raw['column']}], matchValueType cannot be null"
            )
        return {**raw, "matchValueType": kind}


class NullFilter(_OfColumn):
    """Rows without a value. Druid: NullFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.NullFilter"

    type: Literal["null"] = "null"


class EqualityFilter(_OfColumn):
    """Rows whose value is this one. Druid: EqualityFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.EqualityFilter"

    type: Literal["equals"] = "equals"
    match_value: str | int | float

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        ready = super().prepare(raw)
        if raw.get("matchValue") is None:
            raise _refusal(cls, f"Invalid equality filter on column [{raw['column']}], matchValue cannot be null")
        return {**ready, "matchValue": _value(cls, ready["matchValueType"], raw["matchValue"])}


class RangeFilter(_OfColumn):
    """Rows whose value lies between these. Druid: RangeFilter"""

    java_class: ClassVar[str] = f"{_PACKAGE}.RangeFilter"

    type: Literal["range"] = "range"
    lower: str | int | float | None = None
    upper: str | int | float | None = None
    lower_open: Bool = False
    upper_open: Bool = False

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        ready = super().prepare(raw)
        if raw.get("lower") is None and raw.get("upper") is None:
            raise _refusal(
                cls,
                f"Invalid range filter on column [{raw['column']}], lower and upper cannot be null at the same time",
            )
        ends = {name: _value(cls, ready["matchValueType"], raw[name]) for name in ("lower", "upper") if name in raw}
        return ready | ends


Filter = Annotated[
    AndFilter
    | OrFilter
    | NotFilter
    | TrueFilter
    | FalseFilter
    | SelectorFilter
    | InFilter
    | BoundFilter
    | NullFilter
    | EqualityFilter
    | RangeFilter,
    Field(discriminator="type"),
    TypeIds(
        f"{_PACKAGE}.DimFilter",
        ("and", "or", "not", "true", "false", "selector", "in", "bound", "null", "equals", "range"),
        noun="filter",
        known=(
            "columnComparison",
            "expression",
            "extraction",
            "interval",
            "javascript",
            "like",
            "regex",
            "search",
            "spatial",
            "arrayContainsElement",
            "inType",
            "isfalse",
            "istrue",
            "bloom",
        ),
    ).validator,
]

for _model in (AndFilter, OrFilter, NotFilter):
    _model.model_rebuild()

_FILTER: TypeAdapter[Filter] = TypeAdapter(Filter)


def parse_filter(raw: dict[str, Any]) -> Filter:
    """Raises InvalidTask in Druid's words, NotSupportedYet for a filter that is not here."""
    return _FILTER.validate_python(raw)


def _ordering(model: type[SpecModel], raw: dict[str, Any]) -> str:
    """How texts are compared, by its name or by an object of that type. Druid: StringComparator"""
    given, digits_as_numbers = raw.get("ordering"), raw.get("alphaNumeric")
    wanted = cast("dict[str, Any]", given).get("type") if isinstance(given, dict) else given
    name = str(wanted or ("alphanumeric" if digits_as_numbers else "lexicographic")).lower()
    if wanted is not None and digits_as_numbers is not None and digits_as_numbers is not (name == "alphanumeric"):
        raise _refusal(model, "mismatch between alphanumeric and ordering property")
    if name not in _ORDERINGS:
        raise NotSupportedYet(f"ordering [{name}] of a bound filter", _ORDERINGS)
    return name


def _value(model: type[SpecModel], kind: str, raw: Any) -> str | int | float:
    """A value of the type that the filter names. Druid: ExprEval.ofType"""
    try:
        if isinstance(raw, bool | dict | list):
            raise ValueError
        match kind:
            case "STRING":
                return str(raw)
            case "LONG":
                return int(raw)
            case _:
                return float(raw)
    except (ValueError, OverflowError):
        raise _refusal(model, f"[{raw}] is no value of type [{kind}]") from None


def _refusal(model: type[SpecModel], problem: str) -> InvalidTask:
    return InvalidTask(f"Cannot construct instance of `{model.java_class}`, problem: {problem}")
