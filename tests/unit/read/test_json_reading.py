import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from druid_core.errors import TaskFailure
from druid_core.spec.input import JsonFormat
from druid_core.spec.schema import TimestampSpec
from peon.batch import Encoding
from peon.read.fields import FieldSelection
from tests.support.reading import EVERYTHING, Reading, read_file

ANY_TIME = TimestampSpec(column="t", format="millis")


def _read(folder: Path, data: str | bytes, fields: FieldSelection = EVERYTHING, **options: Any) -> Reading:
    file = folder / "input.json"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    spec = options.pop("timestamp_spec", ANY_TIME)
    chunk_bytes = options.pop("chunk_bytes", 1 << 24)
    return read_file(file, JsonFormat.model_validate({"type": "json", **options}), fields, spec, chunk_bytes)


@pytest.mark.parametrize(
    ("tokens", "encoding", "kind"),
    [
        (['"a"', '"b\\n"', "null"], Encoding.TEXT, "string"),
        (["1", "-2", "null"], Encoding.TYPED, "int64"),
        (["1.5", "1e3"], Encoding.TYPED, "double"),
        (["true", "false"], Encoding.TYPED, "bool"),
        (["1", "1.5"], Encoding.TOKEN, "string"),
        (["1", '"1"'], Encoding.TOKEN, "string"),
        (["[1]", '["a"]'], Encoding.TOKEN, "string"),
        (["9223372036854775808", "1"], Encoding.TOKEN, "string"),
    ],
)
def test_a_column_of_one_kind_comes_as_that_kind(
    tokens: list[str], encoding: Encoding, kind: str, tmp_path: Path
) -> None:
    reading = _read(tmp_path, "".join(f'{{"t":1,"a":{token}}}\n' for token in tokens))
    column = reading.batches[0].columns["a"]
    assert (column.encoding, str(column.values.type)) == (encoding, kind)


def test_whole_numbers_beyond_64_bits_are_doubles(tmp_path: Path) -> None:
    reading = _read(tmp_path, '{"t":1,"a":9223372036854775807}\n{"t":1,"a":9223372036854775808}\n{"t":1,"a":-1e400}')
    assert [row["a"] for _, row in reading.rows] == [9223372036854775807, 9.223372036854775808e18, float("-inf")]
    assert [type(row["a"]) for _, row in reading.rows] == [int, float, float]


@pytest.mark.parametrize("lax", ['"a":NaN', '"a":[-Infinity]', '"a":1,', '"a":[1,]', '"other":nan'])
def test_what_only_lax_parsers_read_is_unparseable(lax: str, tmp_path: Path) -> None:
    reading = _read(tmp_path, f'{{"t":1,"a":2}}\n{{"t":1,{lax}}}\n{{"t":3,"a":4}}', FieldSelection(("a",)))
    assert [row for _, row in reading.rows] == [{"a": 2}, {"a": 4}]
    assert [text for text, _ in reading.errors] == [f'{{"t":1,{lax}}}']


def test_the_last_of_two_equal_keys_counts_even_if_nobody_saw_them_coming(tmp_path: Path) -> None:
    lines = ['{"t":1,"a":"x"}'] * 2000 + ['{"t":1,"a":"x","a":"y"}']
    assert _read(tmp_path, "\n".join(lines)).rows[-1] == (1, {"a": "y"})


def test_keys_that_differ_in_case_and_odd_keys_are_fields_of_their_own(tmp_path: Path) -> None:
    record = {"t": 1, "a": 1, "A": 2, "": 3, "it's": 4, 'q"q': 5, "x.y": 6, "é": 7, " ": 8, "a/b": 9}
    reading = _read(tmp_path, json.dumps(record))
    assert reading.rows == [(1, {name: value for name, value in record.items() if name != "t"})]
    assert reading.fields == list(record)[1:]


def test_fields_are_found_in_the_order_in_which_rows_show_a_value(tmp_path: Path) -> None:
    data = '{"t":1,"c":null,"b":{"x":1}}\n{"b":1,"t":1,"a":[1],"c":2}\n{"t":1,"d":[[1]],"c":3}\n'
    assert _read(tmp_path, data).fields == ["b", "a", "c"]
    assert _read(tmp_path, data, chunk_bytes=10).fields == ["b", "a", "c"]
    nested = _read(tmp_path, data, FieldSelection(discover=True, nested=True))
    assert nested.fields == ["b", "a", "c", "d"]


def test_named_fields_keep_their_objects_and_excluded_ones_stay_out(tmp_path: Path) -> None:
    data = '{"t":1,"a":{"x":[1]},"b":{"x":1},"c":1,"d":2}'
    fields = FieldSelection(("a",), discover=True, exclusions=frozenset({"d"}))
    assert _read(tmp_path, data, fields).rows == [(1, {"a": {"x": [1]}, "c": 1})]


def test_flattened_fields_come_from_inside(tmp_path: Path) -> None:
    spec = {
        "useFieldDiscovery": True,
        "fields": [
            {"type": "path", "name": "deep", "expr": "$.a.b['c d']"},
            {"type": "path", "name": "second", "expr": "$.a.l[1]"},
            {"type": "path", "name": "all", "expr": "$.a.l[*]"},
            {"type": "tree", "name": "tree", "nodes": ["a", "b", "c d"]},
            {"type": "root", "name": "other", "expr": "r"},
            {"type": "path", "name": "nowhere", "expr": "$.x.y"},
        ],
    }
    data = '{"t":1,"a":{"b":{"c d":5},"l":[1,"x"]},"r":"root"}\n{"t":"x","a":{"b":{"c d":5}}}'
    reading = _read(tmp_path, data, flattenSpec=spec)
    assert reading.rows == [
        (1, {"deep": 5, "second": "x", "all": [1, "x"], "tree": 5, "other": "root", "r": "root"}),
    ]
    assert reading.errors[0][0] == ("{deep=5, second=null, all=[], tree=5, other=null, nowhere=null, t=x}")


def test_time_may_come_from_inside_a_record(tmp_path: Path) -> None:
    spec = {"useFieldDiscovery": False, "fields": [{"type": "path", "name": "at", "expr": "$.meta.time"}, "a"]}
    time = TimestampSpec(column="at", format="iso")
    reading = _read(tmp_path, '{"meta":{"time":"1970-01-02"},"a":1,"b":2}', timestamp_spec=time, flattenSpec=spec)
    assert reading.rows == [(86_400_000, {"a": 1})]


def test_parser_features_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(TaskFailure, match="ALLOW_COMMENTS"):
        _read(tmp_path, "{}", featureSpec={"ALLOW_COMMENTS": True})


def test_numbers_of_more_digits_than_jackson_reads_are_unparseable(tmp_path: Path) -> None:
    reading = _read(tmp_path, f'{{"t":1,"a":{"1" * 1001}}}\n{{"t":1,"a":{"1" * 1000}}}')
    assert len(reading.errors) == len(reading.rows) == 1


def test_bytes_are_counted_with_line_ends(tmp_path: Path) -> None:
    data = '{"t":1}\r\n\nnot json\n{"t":1}'
    reading = _read(tmp_path, data)
    assert (reading.totals.processed_bytes, reading.totals.unparseable) == (len(data), 2)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["nan", ",]", "10.0", "{", '"', "\\"]),
)
RECORDS = st.dictionaries(
    st.sampled_from(["a", "A", "b", "é", "x y", ""]), SCALARS | st.lists(SCALARS, max_size=3), max_size=4
)
GOOD_LINES = st.builds(
    lambda record, escaped, spaces: json.dumps(
        {"t": 1, **record}, ensure_ascii=escaped, separators=(", ", ": ") if spaces else (",", ":")
    ).encode(),
    RECORDS,
    st.booleans(),
    st.booleans(),
)
GARBAGE = (
    st.binary(max_size=12)
    .map(lambda data: data.replace(b"\n", b"").rstrip(b"\r"))
    .filter(
        # The twin below is no judge of what parsers differ about; the recorded cases are.
        lambda data: not data.startswith((b"\xef\xbb\xbf", b"{", b"[", b'"'))
    )
)


def _twin(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "t" in value else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(GOOD_LINES | GARBAGE, max_size=30), chunk_bytes=st.integers(1, 400))
def test_rows_are_those_of_a_line_by_line_reader(lines: list[bytes], chunk_bytes: int, tmp_path: Path) -> None:
    reading = _read(tmp_path, b"\n".join(lines), chunk_bytes=chunk_bytes)
    # A last line of no bytes is none.
    read_lines = lines[:-1] if lines and not lines[-1] else lines
    expected = [record for record in map(_twin, read_lines) if record is not None]
    assert [repr(row) for _, row in reading.rows] == [
        repr({name: record[name] for name in reading.fields if record.get(name) is not None}) for record in expected
    ]
    assert {name for row in expected for name in row if row[name] is not None} - {"t"} == set(reading.fields)
    assert len(reading.errors) == len(read_lines) - len(expected)
