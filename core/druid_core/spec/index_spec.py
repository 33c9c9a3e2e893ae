"""How the columns of a segment are to be encoded."""

from typing import Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.spec.jackson import Map, SpecModel, Text


def _choice(java_class: str, offered: tuple[str, ...], not_yet: tuple[str, ...]) -> BeforeValidator:
    def read(raw: Any) -> Any:
        word = str(raw).lower()
        if word in offered:
            return word
        if word in not_yet:
            raise NotSupportedYet(f"{java_class.rpartition('.')[2]} [{word}]", offered)
        raise InvalidTask(
            f"Cannot construct instance of `{java_class}`, problem: No enum constant {java_class}.{str(raw).upper()}"
        )

    return BeforeValidator(read)


_STRATEGY = "org.apache.druid.segment.data.CompressionStrategy"
DimensionCompression = Annotated[str, _choice(_STRATEGY, ("lz4", "zstd", "uncompressed"), ("lzf", "none"))]
MetricCompression = Annotated[str, _choice(_STRATEGY, ("lz4", "zstd", "uncompressed", "none"), ("lzf",))]
LongEncoding = Annotated[
    str, _choice("org.apache.druid.segment.data.CompressionFactory$LongEncodingStrategy", ("longs", "auto"), ())
]


def _bitmap(raw: Any) -> Any:
    fields = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {"type": raw}
    kind = fields.get("type")
    if kind == "roaring":
        return {"type": "roaring"}
    if kind == "concise":
        raise NotSupportedYet("bitmap type [concise]", ("roaring",))
    raise InvalidTask(
        f"Could not resolve type id '{kind}' as a subtype of `org.apache.druid.segment.data.BitmapSerdeFactory` "
        "known type ids = [concise, roaring] (for POJO property 'bitmap')"
    )


class IndexSpec(SpecModel):
    """
    How the columns of a segment are encoded; null means Druid's default of the version that writes.

    `to_wire` is what the segment writer takes. Druid: IndexSpec
    """

    java_class: ClassVar[str] = "org.apache.druid.segment.IndexSpec"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset(
        {
            "metadata_compression",
            "complex_metric_compression",
            "json_compression",
            "segment_loader",
            "auto_column_format_spec",
            "string_column_format_spec",
        }
    )

    bitmap: Annotated[dict[str, Any], BeforeValidator(_bitmap)] | None = None
    metadata_compression: (
        Annotated[str, _choice(_STRATEGY, ("none", "lz4", "zstd", "uncompressed", "lzf"), ())] | None
    ) = None
    dimension_compression: DimensionCompression | None = None
    string_dictionary_encoding: Map | None = None
    metric_compression: MetricCompression | None = None
    long_encoding: LongEncoding | None = None
    complex_metric_compression: (
        Annotated[str, _choice(_STRATEGY, ("none", "uncompressed"), ("lz4", "zstd", "lzf"))] | None
    ) = None
    json_compression: Text | None = None
    segment_loader: Map | None = None
    auto_column_format_spec: Map | None = None
    string_column_format_spec: Map | None = None
