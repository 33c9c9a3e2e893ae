"""Aggregators: the columns into which rows are summed up when they are rolled up."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.spec.jackson import Bool, SpecModel, Text
from druid_core.spec.type_ids import TypeIds

_PACKAGE = "org.apache.druid.query.aggregation"


class CountAggregator(SpecModel):
    """How many input rows a stored row stands for. Druid: CountAggregatorFactory"""

    java_class: ClassVar[str] = f"{_PACKAGE}.CountAggregatorFactory"
    column_type: ClassVar[str] = "LONG"

    type: Literal["count"] = "count"
    name: Text = ""

    @property
    def field_name(self) -> None:
        """Counts rows, reads nothing."""
        return

    def combining(self) -> "NumericAggregator":
        """What merges stored values of this column. Druid: getCombiningFactory"""
        return NumericAggregator(type="longSum", name=self.name, field_name=self.name)

    def check(self) -> None:
        if not self.name:
            self.refuse("Must have a valid, non-null aggregator name")


class NumericAggregator(SpecModel):
    """
    Sum, least or greatest of the numbers of one field. Druid: SimpleLongAggregatorFactory and its kin

    Its value over rows that have none is null.
    """

    java_class: ClassVar[str] = f"{_PACKAGE}.AggregatorFactory"

    type: Literal[
        "longSum",
        "doubleSum",
        "floatSum",
        "longMin",
        "doubleMin",
        "floatMin",
        "longMax",
        "doubleMax",
        "floatMax",
    ]
    name: Text = ""
    field_name: Text = ""

    @property
    def column_type(self) -> str:
        """LONG, DOUBLE or FLOAT: how the value is stored, and in which arithmetic it is built."""
        return "LONG" if self.type[0] == "l" else "DOUBLE" if self.type[0] == "d" else "FLOAT"

    @property
    def operation(self) -> str:
        """`Sum`, `Min` or `Max`."""
        return self.type[-3:]

    def combining(self) -> "NumericAggregator":
        """What merges stored values of this column. Druid: getCombiningFactory"""
        return self if self.field_name == self.name else self.model_copy(update={"field_name": self.name})

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("expression"):
            raise NotSupportedYet("An aggregator's expression", ("fieldName",))
        return raw

    def check(self) -> None:
        java_class = f"{_PACKAGE}.{self.type[0].upper()}{self.type[1:]}AggregatorFactory"
        if not self.name:
            raise InvalidTask(
                f"Cannot construct instance of `{java_class}`, problem: Must have a valid, non-null aggregator name"
            )
        if not self.field_name:
            raise InvalidTask(
                f"Cannot construct instance of `{java_class}`, problem: "
                "Must have a valid, non-null fieldName or expression"
            )


class HyperUniqueAggregator(SpecModel):
    """A HyperLogLog sketch of the distinct values of one field. Druid: HyperUniquesAggregatorFactory"""

    java_class: ClassVar[str] = f"{_PACKAGE}.hyperloglog.HyperUniquesAggregatorFactory"
    column_type: ClassVar[str] = "COMPLEX<hyperUnique>"

    type: Literal["hyperUnique"] = "hyperUnique"
    name: Text = ""
    field_name: Text = ""
    is_input_hyper_unique: Bool = False
    round: Bool = False

    def combining(self) -> "HyperUniqueAggregator":
        """What merges stored sketches of this column. Druid: getCombiningFactory"""
        return self.model_copy(update={"field_name": self.name})

    def check(self) -> None:
        if not self.name:
            self.refuse("Must have a valid, non-null aggregator name")
        if not self.field_name:
            self.refuse("Must have a valid, non-null fieldName")
        if self.is_input_hyper_unique:
            raise NotSupportedYet("isInputHyperUnique [true]")


_HERE = (
    "count",
    "longSum",
    "doubleSum",
    "floatSum",
    "longMin",
    "doubleMin",
    "floatMin",
    "longMax",
    "doubleMax",
    "floatMax",
    "hyperUnique",
)

Aggregator = Annotated[
    CountAggregator | NumericAggregator | HyperUniqueAggregator,
    Field(discriminator="type"),
    TypeIds(
        "org.apache.druid.query.aggregation.AggregatorFactory",
        _HERE,
        noun="Aggregator",
        known=(
            *(f"{kind}{which}" for kind in ("long", "double", "float", "string") for which in ("First", "Last", "Any")),
            "stringFirstFold",
            "stringLastFold",
            "doubleMean",
            "cardinality",
            "expression",
            "filtered",
            "grouping",
            "histogram",
            "javascript",
            "singleValue",
            "thetaSketch",
            "HLLSketchBuild",
            "HLLSketchMerge",
            "quantilesDoublesSketch",
            "quantilesDoublesSketchMerge",
            "KllDoublesSketch",
            "KllFloatsSketch",
            "arrayOfDoublesSketch",
            "variance",
            "varianceFold",
            "approxHistogram",
            "approxHistogramFold",
            "fixedBucketsHistogram",
            "bloom",
            "tDigestSketch",
            "timeMin",
            "timeMax",
        ),
    ).validator,
]
