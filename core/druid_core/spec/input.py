"""Where rows come from and how they are written: input sources and input formats."""

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from druid_core.errors import InvalidTask, NotSupportedYet
from druid_core.spec.jackson import (
    Bool,
    Map,
    PrimitiveInt,
    SpecModel,
    Text,
    Texts,
    read_text,
)
from druid_core.spec.segment_source import DruidSource
from druid_core.spec.type_ids import TypeIds

_IMPL = "org.apache.druid.data.input.impl"

SYSTEM_FIELDS = ("__file_uri", "__file_path", "__file_bucket")
"""What `systemFields` may ask for. Druid: SystemField"""


class InlineSource(SpecModel):
    """Rows that stand in the spec itself. Druid: InlineInputSource"""

    java_class: ClassVar[str] = f"{_IMPL}.InlineInputSource"

    type: Literal["inline"] = "inline"
    data: Text = ""

    def check(self) -> None:
        if not self.data:
            self.refuse("empty data")


class LocalSource(SpecModel):
    """
    Files that the peon can open: those below `base_dir` whose names fit the wildcard `filter`, and `files`.

    Druid: LocalInputSource
    """

    java_class: ClassVar[str] = f"{_IMPL}.LocalInputSource"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"base_dir", "filter"})
    omitted_when_default: ClassVar[frozenset[str]] = frozenset({"files", "system_fields"})

    type: Literal["local"] = "local"
    base_dir: Text | None = None
    filter: Text | None = None
    files: Texts = Field(default_factory=list[str])
    system_fields: Texts = Field(default_factory=list[str])

    def check(self) -> None:
        if self.base_dir is not None and self.filter is None:
            self.refuse("filter")
        if self.base_dir is None and not self.files:
            self.refuse("At least one of baseDir or files should be specified")
        _check_system_fields(self, self.system_fields)


class HttpSource(SpecModel):
    """
    What GET answers at each of `uris`. Druid: HttpInputSource

    The password is a text or a provider: `{"type": "environment", "variable": NAME}`.
    """

    java_class: ClassVar[str] = f"{_IMPL}.HttpInputSource"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset(
        {"http_authentication_username", "http_authentication_password"}
    )
    omitted_when_default: ClassVar[frozenset[str]] = frozenset({"system_fields", "request_headers"})

    type: Literal["http"] = "http"
    uris: Texts = Field(default_factory=list[str])
    http_authentication_username: Text | None = None
    http_authentication_password: dict[str, Any] | str | None = None
    system_fields: Texts = Field(default_factory=list[str])
    request_headers: Map = Field(default_factory=dict[str, Any])

    @field_validator("request_headers")
    @classmethod
    def _allowed(cls, headers: dict[str, Any], info: ValidationInfo) -> dict[str, str]:
        """A header may carry the power of whoever reads, to places of the writer's choice: only listed ones pass."""
        context: dict[str, Any] = info.context or {}
        if context.get(TRUSTED):
            return headers
        allowed: frozenset[str] = context.get(ALLOWED_HTTP_HEADERS, frozenset())
        for name in headers:
            if name.lower() not in allowed:
                raise InvalidTask(
                    f"Cannot construct instance of `{cls.java_class}`, problem: Got forbidden header [{name}], allowed "
                    f"headers are only [{', '.join(sorted(allowed))}]. You can control the allowed headers by updating "
                    "druid.ingestion.http.allowedHeaders"
                )
        return {name: read_text(value) for name, value in headers.items()}

    def check(self) -> None:
        if not self.uris:
            self.refuse("Empty URIs")
        for uri in self.uris:
            try:
                scheme = urlsplit(uri).scheme
            except ValueError as error:
                raise InvalidTask(
                    f'Cannot deserialize value of type `java.net.URI` from String "{uri}": {error}'
                ) from error
            if scheme not in ("http", "https"):
                self.refuse("Only [http, https] protocols are allowed")
        _check_system_fields(self, self.system_fields)
        password = self.http_authentication_password
        if isinstance(password, dict) and password.get("type") not in ("default", "environment"):
            raise InvalidTask(
                f"Could not resolve type id '{password.get('type')}' as a subtype of "
                "`org.apache.druid.metadata.PasswordProvider` known type ids = [default, environment]"
            )


ALLOWED_HTTP_HEADERS = "allowed_http_headers"
"""Key of the validation context: lower-case names of the request headers that a spec may set."""
TRUSTED = "trusted"
"""Key of the validation context: set for a task that was accepted before, when a setting may have been another."""


def _check_system_fields(source: SpecModel, names: list[str]) -> None:
    for name in names:
        if name not in SYSTEM_FIELDS:
            source.refuse(f"No enum constant org.apache.druid.data.input.impl.systemfield.SystemField.{name}")


class FlattenField(SpecModel):
    """
    One field that is taken from the inside of a record. Druid: JSONPathFieldSpec

    `root` reads the top-level field `expr`, `path` a JSONPath, `tree` the path of keys in `nodes`.
    """

    java_class: ClassVar[str] = "org.apache.druid.java.util.common.parsers.JSONPathFieldSpec"

    type: Literal["root", "path", "tree"] = "root"
    name: Text = ""
    expr: Text | None = None
    nodes: Texts | None = None

    @classmethod
    def from_scalar(cls, raw: object) -> Any:
        """A bare name is a root field."""
        return {"name": raw, "expr": raw} if isinstance(raw, str) else super().from_scalar(raw)

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        kind = str(raw.get("type", "root")).lower()
        if kind == "jq":
            raise NotSupportedYet("flattenSpec field type [jq]", ("path", "root", "tree"))
        if kind not in ("root", "path", "tree"):
            raise InvalidTask(
                "Cannot deserialize value of type `org.apache.druid.java.util.common.parsers.JSONPathFieldType` from "
                f'String "{raw.get("type")}": not one of the values accepted for Enum class: [path, root, jq, tree]'
            )
        expr = raw.get("expr", raw.get("name")) if kind == "root" else raw.get("expr") if kind == "path" else None
        return {**raw, "type": kind, "expr": expr, "nodes": raw.get("nodes") if kind == "tree" else None}

    def check(self) -> None:
        if not self.name:
            self.refuse("Missing 'name' in field spec")
        if self.type == "path" and self.expr is None:
            self.refuse(f"Missing 'expr' for field[{self.name}]")
        if self.type == "tree" and not self.nodes:
            self.refuse(f"Missing 'nodes' for field[{self.name}], was [null]")


class FlattenSpec(SpecModel):
    """Which fields a nested record has. Druid: JSONPathSpec"""

    java_class: ClassVar[str] = "org.apache.druid.java.util.common.parsers.JSONPathSpec"

    use_field_discovery: Bool = True
    fields: list[FlattenField] = Field(default_factory=list[FlattenField])

    def check(self) -> None:
        seen: set[str] = set()
        for field in self.fields:
            if field.name in seen:
                self.refuse(f"Cannot have duplicate field definition: {field.name}")
            seen.add(field.name)


class JsonFormat(SpecModel):
    """One JSON object a line. Druid: JsonInputFormat"""

    java_class: ClassVar[str] = f"{_IMPL}.JsonInputFormat"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"flatten_spec", "keep_null_columns"})
    omitted_when_default: ClassVar[frozenset[str]] = frozenset(
        {"feature_spec", "assume_newline_delimited", "use_json_node_reader"}
    )

    type: Literal["json"] = "json"
    flatten_spec: FlattenSpec | None = None
    feature_spec: Map = Field(default_factory=dict[str, Any])
    keep_null_columns: Bool | None = None
    assume_newline_delimited: Bool = False
    use_json_node_reader: Bool = False

    def check(self) -> None:
        if self.assume_newline_delimited and self.use_json_node_reader:
            self.refuse("useJsonNodeReader cannot be set to true when assumeNewlineDelimited is true.")
        for feature in self.feature_spec:
            if feature not in _JSON_FEATURES:
                self.refuse(f"No enum constant com.fasterxml.jackson.core.JsonParser.Feature.{feature}")


_JSON_FEATURES = frozenset(
    {
        "AUTO_CLOSE_SOURCE",
        "ALLOW_COMMENTS",
        "ALLOW_YAML_COMMENTS",
        "ALLOW_UNQUOTED_FIELD_NAMES",
        "ALLOW_SINGLE_QUOTES",
        "ALLOW_UNQUOTED_CONTROL_CHARS",
        "ALLOW_BACKSLASH_ESCAPING_ANY_CHARACTER",
        "ALLOW_NUMERIC_LEADING_ZEROS",
        "ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS",
        "ALLOW_LEADING_DECIMAL_POINT_FOR_NUMBERS",
        "ALLOW_TRAILING_DECIMAL_POINT_FOR_NUMBERS",
        "ALLOW_NON_NUMERIC_NUMBERS",
        "ALLOW_MISSING_VALUES",
        "ALLOW_TRAILING_COMMA",
        "STRICT_DUPLICATE_DETECTION",
        "IGNORE_UNDEFINED",
        "INCLUDE_SOURCE_IN_LOCATION",
        "USE_FAST_DOUBLE_PARSER",
        "USE_FAST_BIG_NUMBER_PARSER",
    }
)
"""Druid: JsonParser.Feature of Jackson"""


class DelimitedFormat(SpecModel):
    """What csv and tsv share: where column names come from, and what separates the values of one field."""

    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"list_delimiter"})
    omitted_when_default: ClassVar[frozenset[str]] = frozenset(
        {"columns", "find_columns_from_header", "skip_header_rows", "try_parse_numbers"}
    )

    columns: Texts = Field(default_factory=list[str])
    list_delimiter: Text | None = None
    """Separates values inside a field; null means Druid's default, U+0001."""
    find_columns_from_header: Bool = False
    skip_header_rows: PrimitiveInt = 0
    try_parse_numbers: Bool = False

    @property
    def separator(self) -> str:
        """What separates fields."""
        return ","

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        header, find = raw.get("hasHeaderRow"), raw.get("findColumnsFromHeader", raw.get("find_columns_from_header"))
        if not raw.get("columns"):
            if header is not None and find is not None:
                raise InvalidTask(
                    f"Cannot construct instance of `{cls.java_class}`, problem: "
                    "Cannot accept both [findColumnsFromHeader] and [hasHeaderRow]"
                )
            if header is None and find is None:
                raise InvalidTask(
                    f"Cannot construct instance of `{cls.java_class}`, problem: "
                    "Either [columns] or [findColumnsFromHeader] must be set"
                )
            if header is not None:
                return {**raw, "findColumnsFromHeader": header}
        return raw

    def check(self) -> None:
        if self.separator == self.list_delimiter:
            self.refuse(f"Cannot have same delimiter and list delimiter of [{self.separator}]")
        for column in self.columns:
            if self.separator in column:
                self.refuse(f"Column[{column}] cannot have the delimiter[{self.separator}] in its name")
        if not self.columns and not self.find_columns_from_header:
            self.refuse(
                "If [columns] is not set, the first row of your data must have your header and "
                "[findColumnsFromHeader] must be set to true."
            )


class CsvFormat(DelimitedFormat):
    """Comma-separated values, RFC 4180. Druid: CsvInputFormat"""

    java_class: ClassVar[str] = f"{_IMPL}.CsvInputFormat"
    wire_order: ClassVar[tuple[str, ...]] = (
        "type",
        "columns",
        "list_delimiter",
        "find_columns_from_header",
        "skip_header_rows",
        "try_parse_numbers",
    )

    type: Literal["csv"] = "csv"


class TsvFormat(DelimitedFormat):
    """Values between a delimiter, without quotes. Druid: DelimitedInputFormat"""

    java_class: ClassVar[str] = f"{_IMPL}.DelimitedInputFormat"
    wire_order: ClassVar[tuple[str, ...]] = (
        "type",
        "columns",
        "list_delimiter",
        "delimiter",
        "find_columns_from_header",
        "skip_header_rows",
        "try_parse_numbers",
    )

    type: Literal["tsv"] = "tsv"
    delimiter: Text = "\t"

    @property
    def separator(self) -> str:
        """What separates fields."""
        return self.delimiter

    def check(self) -> None:
        if not self.delimiter:
            self.refuse("Empty delimiter")
        super().check()


class ParquetFormat(SpecModel):
    """Druid: ParquetInputFormat"""

    java_class: ClassVar[str] = "org.apache.druid.data.input.parquet.ParquetInputFormat"
    omitted_when_null: ClassVar[frozenset[str]] = frozenset({"flatten_spec"})

    type: Literal["parquet"] = "parquet"
    flatten_spec: FlattenSpec | None = None
    binary_as_string: Bool = False


INPUT_SOURCE_TYPES = TypeIds(
    "org.apache.druid.data.input.InputSource",
    ("inline", "local", "http", "druid"),
    noun="inputSource",
    known=(
        "combining",
        "generator",
        "sql",
        "s3",
        "google",
        "azure",
        "azureStorage",
        "hdfs",
        "delta",
        "iceberg",
    ),
    shown=("combining", "druid", "generator", "http", "inline", "local", "sql"),
    property_name="inputSource",
)
"""What `inputSource.type` may be."""

EntitySource = InlineSource | LocalSource | HttpSource
"""Sources of bytes, which need a format to be read."""

InputSource = Annotated[
    InlineSource | LocalSource | HttpSource | DruidSource,
    Field(discriminator="type"),
    INPUT_SOURCE_TYPES.validator,
]

InputFormat = Annotated[
    JsonFormat | CsvFormat | TsvFormat | ParquetFormat,
    Field(discriminator="type"),
    TypeIds(
        "org.apache.druid.data.input.InputFormat",
        ("json", "csv", "tsv", "parquet"),
        noun="inputFormat",
        known=(
            "regex",
            "lines",
            "orc",
            "avro_ocf",
            "avro_stream",
            "protobuf",
            "thrift",
            "kafka",
            "kinesis",
        ),
        shown=("csv", "json", "lines", "regex", "tsv"),
        property_name="inputFormat",
    ).validator,
]
