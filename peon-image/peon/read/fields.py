"""Which fields of the input a task wants to see."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldSelection:
    """
    The fields that columns are made of.

    `names` are always delivered as they stand in the input. With `discover`, every other field of the input comes
    too, except `exclusions`; of those, a JSON object or an array that holds objects or arrays counts as null unless
    `nested` (`auto` dimensions want such values). Druid: MapInputRowParser.findDimensions, ColumnsFilter
    """

    names: tuple[str, ...] = ()
    discover: bool = False
    exclusions: frozenset[str] = frozenset()
    nested: bool = False

    def wants(self, field: str) -> bool:
        """Whether a field of the input becomes a column."""
        return field in self.names or (self.discover and field not in self.exclusions)

    def flattens(self, field: str) -> bool:
        """Whether only scalars and flat arrays of this field count, because it was found and not named."""
        return self.discover and not self.nested and field not in self.names
