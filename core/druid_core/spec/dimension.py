"""Dimensions: the columns by which rows are grouped, filtered and sorted."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.java_order import set_order
from druid_core.spec.jackson import Bool, Map, SpecModel, Text, Texts, a_list
from druid_core.spec.type_ids import TypeIds

_IMPL = "org.apache.druid.data.input.impl"

TIME_COLUMN = "__time"


class MultiValueHandling(StrEnum):
    """What happens to the several values that one row has in one string dimension. Druid: MultiValueHandling"""

    SORTED_ARRAY = "SORTED_ARRAY"  # sorted, duplicates kept
    SORTED_SET = "SORTED_SET"  # sorted, duplicates dropped
    ARRAY = "ARRAY"  # as they came


def _read_handling(raw: Any) -> Any:
    if isinstance(raw, str):
        word = raw.upper()
        if word in MultiValueHandling.__members__:
            return MultiValueHandling[word]
    raise InvalidTask(
        "Cannot construct instance of `org.apache.druid.data.input.impl.DimensionSchema$MultiValueHandling`, problem: "
        f"No enum constant org.apache.druid.data.input.impl.DimensionSchema.MultiValueHandling.{str(raw).upper()}"
    )


Handling = Annotated[MultiValueHandling, BeforeValidator(_read_handling)]


class StringDimension(SpecModel):
    """Texts, none, one or several a row. Druid: StringDimensionSchema"""

    java_class: ClassVar[str] = f"{_IMPL}.StringDimensionSchema"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"column_format_spec"})

    type: Literal["string"] = "string"
    name: Text = ""
    multi_value_handling: Handling = MultiValueHandling.SORTED_ARRAY
    create_bitmap_index: Bool = True
    column_format_spec: Map | None = None


class NumericDimension(SpecModel):
    """What the numeric dimensions share. They have one value a row and no bitmap index, whatever was asked for."""

    name: Text = ""
    multi_value_handling: Handling = MultiValueHandling.SORTED_ARRAY
    create_bitmap_index: Bool = False

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return {"type": raw.get("type"), "name": raw.get("name") or ""}


_NUMERIC_ORDER = ("type", "name", "multi_value_handling", "create_bitmap_index")


class LongDimension(NumericDimension):
    """Druid: LongDimensionSchema"""

    java_class: ClassVar[str] = f"{_IMPL}.LongDimensionSchema"
    wire_order: ClassVar[tuple[str, ...]] = _NUMERIC_ORDER

    type: Literal["long"] = "long"


class FloatDimension(NumericDimension):
    """Druid: FloatDimensionSchema"""

    java_class: ClassVar[str] = f"{_IMPL}.FloatDimensionSchema"
    wire_order: ClassVar[tuple[str, ...]] = _NUMERIC_ORDER

    type: Literal["float"] = "float"


class DoubleDimension(NumericDimension):
    """Druid: DoubleDimensionSchema"""

    java_class: ClassVar[str] = f"{_IMPL}.DoubleDimensionSchema"
    wire_order: ClassVar[tuple[str, ...]] = _NUMERIC_ORDER

    type: Literal["double"] = "double"


class AutoDimension(SpecModel):
    """A column whose type is found in its values. Druid: AutoTypeColumnSchema"""

    java_class: ClassVar[str] = "org.apache.druid.segment.AutoTypeColumnSchema"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"cast_to_type", "column_format_spec"})

    type: Literal["auto"] = "auto"
    name: Text = ""
    cast_to_type: Text | None = None
    """STRING, LONG, DOUBLE or FLOAT: the type whatever the values look like."""
    column_format_spec: Map | None = None
    multi_value_handling: Handling = MultiValueHandling.SORTED_ARRAY
    create_bitmap_index: Bool = True

    def check(self) -> None:
        if self.cast_to_type is not None and self.cast_to_type.upper() not in _CASTS:
            raise NotSupportedYet(f"castToType [{self.cast_to_type}]", _CASTS)


_CASTS = ("STRING", "LONG", "DOUBLE", "FLOAT")

Dimension = Annotated[
    StringDimension | LongDimension | FloatDimension | DoubleDimension | AutoDimension,
    Field(discriminator="type"),
    TypeIds(
        "org.apache.druid.data.input.impl.DimensionSchema",
        ("string", "long", "float", "double", "auto"),
        noun="Dimension",
        known=("json", "spatial"),
        default="string",
        from_text="name",
    ).validator,
]


class DimensionsSpec(SpecModel):
    """
    Which fields become dimensions. Druid: DimensionsSpec

    Listed ones come first. With `include_all_dimensions` (as strings) or `use_schema_discovery` (typed) every other
    field follows in order of first appearance; the same, as strings, where nothing is listed. `dimension_exclusions`
    never do.
    """

    java_class: ClassVar[str] = f"{_IMPL}.DimensionsSpec"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"force_segment_sort_by_time"})

    dimensions: Annotated[
        list[Dimension], a_list("java.util.ArrayList<org.apache.druid.data.input.impl.DimensionSchema>")
    ] = Field(default_factory=list[Dimension])
    dimension_exclusions: Texts = Field(default_factory=list[str])
    include_all_dimensions: Bool = False
    use_schema_discovery: Bool = False
    force_segment_sort_by_time: Bool | None = None

    @property
    def names(self) -> list[str]:
        """Names of the listed dimensions."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def discovers(self) -> bool:
        """Whether fields that are not listed become dimensions."""
        return not self.dimensions or self.use_schema_discovery or self.include_all_dimensions

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("spatialDimensions"):
            raise NotSupportedYet("spatialDimensions")
        return raw

    def check(self) -> None:
        names = self.names
        if not set(self.dimension_exclusions).isdisjoint(names):
            self.refuse("dimensions and dimensions exclusions cannot overlap")
        if len(set(names)) < len(names):
            twice = set_order(name for name in names if names.count(name) > 1)
            self.refuse(f"Duplicate column entries found : [{', '.join(twice)}]")

    def excluding(self, fields: Iterable[str]) -> "DimensionsSpec":
        """With more fields excluded, except those that are listed; in the order in which Druid prints a set."""
        listed = set(self.names)
        more = [field for field in fields if field not in listed]
        return self.model_copy(update={"dimension_exclusions": set_order([*self.dimension_exclusions, *more])})
