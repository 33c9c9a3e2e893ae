"""How the columns of a segment are encoded. Druid: IndexSpec."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from peon.segment.compression import Compression
from peon.segment.errors import UnsupportedFormat


class LongEncoding(StrEnum):
    """How long columns are stored."""

    LONGS = "longs"  # eight bytes a value; always right
    AUTO = "auto"  # a table or deltas of as few bits as the values need


@dataclass(frozen=True, slots=True)
class FrontCoded:
    """A dictionary in buckets whose values share prefixes. Druid: StringEncodingStrategy.FrontCoded."""

    bucket_size: int = 4  # a power of two up to 128
    format_version: int = 1  # 1: the prefix of the value before; 0: of the bucket's first value


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """The options of `tuningConfig.indexSpec`; every default is Druid 37's."""

    dimension_compression: Compression = Compression.LZ4
    metric_compression: Compression = Compression.LZ4
    long_encoding: LongEncoding = LongEncoding.LONGS
    front_coded: FrontCoded | None = None  # None: plain UTF-8

    def __post_init__(self) -> None:
        for compression in (self.dimension_compression, self.metric_compression):
            if compression is Compression.LZF:
                raise UnsupportedFormat("compression [lzf] is read but not written; use lz4")
        if self.dimension_compression is Compression.NONE:
            # Druid: CompressionStrategy.noNoneValues, None is no strategy of dimensions
            raise UnsupportedFormat("dimensionCompression [none]; use uncompressed")
        if self.front_coded is not None:
            size = self.front_coded.bucket_size
            if not 1 <= size <= 128 or size & (size - 1):
                raise UnsupportedFormat(f"frontCoded bucketSize [{size}]; a power of two from 1 to 128 is needed")
            if self.front_coded.format_version not in (0, 1):
                raise UnsupportedFormat(f"frontCoded formatVersion [{self.front_coded.format_version}]")

    @classmethod
    def from_json(cls, raw_spec: Mapping[str, Any] | None) -> Self:
        """
        Parse the JSON of an `indexSpec`; absent and null fields keep their defaults.

        Raises `UnsupportedFormat` for what cannot be written: concise bitmaps, lzf, compressed complex columns.
        """
        raw = {name: value for name, value in (raw_spec or {}).items() if value is not None}
        bitmap: Any = raw.get("bitmap", {"type": "roaring"})
        bitmap_type: Any = bitmap.get("type") if isinstance(bitmap, Mapping) else bitmap
        if bitmap_type != "roaring":
            raise UnsupportedFormat(f"bitmap type [{bitmap_type}]; use roaring")
        complex_compression = str(raw.get("complexMetricCompression", "none")).lower()
        if complex_compression not in ("none", "uncompressed"):
            raise UnsupportedFormat(f"complexMetricCompression [{complex_compression}]")
        try:
            long_encoding = LongEncoding(str(raw.get("longEncoding", "longs")).lower())
        except ValueError:
            raise UnsupportedFormat(f"longEncoding [{raw['longEncoding']}]") from None
        return cls(
            dimension_compression=Compression.from_json(str(raw.get("dimensionCompression", "lz4"))),
            metric_compression=Compression.from_json(str(raw.get("metricCompression", "lz4"))),
            long_encoding=long_encoding,
            front_coded=_front_coded(raw.get("stringDictionaryEncoding")),
        )


def _front_coded(raw_encoding: Any) -> FrontCoded | None:
    kind: Any = raw_encoding.get("type") if isinstance(raw_encoding, Mapping) else raw_encoding
    if kind is None or kind == "utf8":
        return None
    if kind != "frontCoded" or not isinstance(raw_encoding, Mapping):
        raise UnsupportedFormat(f"stringDictionaryEncoding [{kind}]")
    default = FrontCoded()
    try:
        return FrontCoded(
            bucket_size=int(raw_encoding.get("bucketSize", default.bucket_size)),
            format_version=int(raw_encoding.get("formatVersion", default.format_version)),
        )
    except (TypeError, ValueError):
        raise UnsupportedFormat(f"stringDictionaryEncoding [{raw_encoding}]") from None
