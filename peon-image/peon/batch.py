"""
A batch of input records as columns: what the reader hands to the builder.

A column comes in one of three encodings, because Druid's conversion rules depend on what a value was in the input,
not on what it looks like.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Encoding(StrEnum):
    """What the elements of a RawColumn are."""

    TEXT = "text"  # strings as they stood in the input (csv, tsv, JSON columns that hold only strings)
    TOKEN = (
        "token"  # JSON text of each value: `"a"`, `1`, `1.5`, `true`, `["a",1]`, `{"k":1}`; null where null or absent
    )
    TYPED = "typed"  # Arrow's own type: bool, int64, float64, list<…>, struct<…> (parquet, tryParseNumbers)


@dataclass(frozen=True, slots=True)
class RawColumn:
    """One input field over the rows of a batch. A null is a null or an absent value."""

    values: pa.Array
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class InputBatch:
    """
    Records that were read and have a good timestamp, in input order.

    `columns` has every field that was asked for and occurs in the batch, in order of first appearance; a field that
    is missing here is null in every row.
    """

    rows: int
    time_ms: npt.NDArray[np.int64]
    columns: dict[str, RawColumn]
    event_text: Callable[[int], str]
    """Row number to the record as Druid prints it in messages: `{timestamp=x, page=b}`."""
