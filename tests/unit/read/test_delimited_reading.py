import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from druid_core.errors import TaskFailure
from druid_core.spec.input import CsvFormat, InputFormat, TsvFormat
from peon.batch import Encoding
from peon.read.fields import FieldSelection
from tests.support.reading import EVERYTHING, Reading, read_file

COLUMNS = ["t", "a", "b"]


def _read(folder: Path, data: str | bytes, format: InputFormat, fields: FieldSelection = EVERYTHING) -> Reading:
    file = folder / "input.csv"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_file(file, format, fields)


def _csv(**options: Any) -> CsvFormat:
    return CsvFormat.model_validate({"type": "csv", "columns": COLUMNS, **options})


@pytest.mark.parametrize(
    ("line", "row"),
    [
        pytest.param('1,,""', {"b": ""}, id="a field of nothing is null, a quoted one is empty"),
        pytest.param("1,x,y,more", {"a": "x", "b": "y"}, id="further fields are ignored"),
        pytest.param("1", {}, id="missing fields are null"),
        pytest.param('1,"say ""hi""","a,b"', {"a": 'say "hi"', "b": "a,b"}, id="quotes of RFC 4180"),
        pytest.param('1, "a" ,5" pipe', {"a": ' "a" ', "b": '5" pipe'}, id="quotes inside a field mean nothing"),
        pytest.param('1,"open,x', {"a": '"open,x'}, id="a quote that is never closed"),
        pytest.param("1,a\rb,c", {"a": "a\rb", "b": "c"}, id="a lone return is no line end"),
    ],
)
def test_csv_lines_are_split_as_druid_splits_them(line: str, row: dict[str, str], tmp_path: Path) -> None:
    reading = _read(tmp_path, f"2,x,y\r\n{line}\n3,x,y", _csv())
    assert reading.rows == [(2, {"a": "x", "b": "y"}), (1, row), (3, {"a": "x", "b": "y"})]


def test_header_names_columns_after_the_skipped_lines(tmp_path: Path) -> None:
    data = 'junk "\n\ufeffmore\nt,"first, one",\n1,x,y\n'
    reading = _read(tmp_path, data, CsvFormat(find_columns_from_header=True, skip_header_rows=2))
    assert reading.rows == [(1, {"first, one": "x", "column_3": "y"})]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert _read(tmp_path, "\ufefft,a\n1,x\n", CsvFormat(find_columns_from_header=True)).rows == [(1, {"a": "x"})]


def test_a_column_named_twice_ends_the_task(tmp_path: Path) -> None:
    with pytest.raises(TaskFailure, match=r"Duplicate column entries found : \[a\]"):
        _read(tmp_path, "t,a,a\n1,2,3\n", CsvFormat(find_columns_from_header=True))


def test_only_wanted_columns_come(tmp_path: Path) -> None:
    reading = _read(tmp_path, "1,x,y\n", _csv(), FieldSelection(("b", "nowhere")))
    assert reading.rows == [(1, {"b": "y"})]
    assert reading.fields == ["b"]


def test_lists_are_split_at_their_delimiter(tmp_path: Path) -> None:
    reading = _read(tmp_path, "1,x|y,z\n1,|,\n", _csv(listDelimiter="|"))
    assert reading.rows == [(1, {"a": ["x", "y"], "b": "z"}), (1, {"a": ["", ""]})]


def test_numbers_are_found_where_asked_for(tmp_path: Path) -> None:
    reading = _read(tmp_path, "1,5,5\n1,-7,1.5\n1,,0x10\n", _csv(tryParseNumbers=True))
    assert [row for _, row in reading.rows] == [{"a": 5, "b": 5}, {"a": -7, "b": 1.5}, {"b": "0x10"}]
    assert reading.batches[0].columns["a"].encoding is Encoding.TYPED


def test_without_that_digits_stay_text(tmp_path: Path) -> None:
    reading = _read(tmp_path, "1,5,\n", _csv())
    assert reading.batches[0].columns["a"].encoding is Encoding.TEXT


@pytest.mark.parametrize("delimiter", ["\t", ";", "||", "§"])
def test_tsv_knows_no_quotes_and_any_delimiter(delimiter: str, tmp_path: Path) -> None:
    data = delimiter.join(["1", '"x', 'y"']) + "\n" + delimiter.join(["1", "", "a\rb", "more"]) + "\n1\n"
    tsv = TsvFormat.model_validate({"type": "tsv", "columns": COLUMNS, "delimiter": delimiter})
    assert _read(tmp_path, data, tsv).rows == [(1, {"a": '"x', "b": 'y"'}), (1, {"b": "a\rb"}), (1, {})]


def test_what_is_not_utf_8_is_replaced(tmp_path: Path) -> None:
    assert _read(tmp_path, b"1,\xff,\xc3\xa9\n", _csv()).rows == [(1, {"a": "\ufffd", "b": "é"})]


CELLS = st.text(st.sampled_from('ab ",\u00e9|0'), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=20))
def test_what_python_writes_as_csv_is_read_back(rows: list[list[str]], tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["1", *row] for row in rows])
    reading = _read(tmp_path, text.getvalue(), _csv())
    # Python writes an empty text as nothing, which is null.
    assert [row for _, row in reading.rows] == [
        {name: cell for name, cell in zip(COLUMNS[1:], row, strict=True) if cell} for row in rows
    ]
