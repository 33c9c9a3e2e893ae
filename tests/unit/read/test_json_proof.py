import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druid_core.spec.input import JsonFormat
from druid_core.spec.schema import TimestampSpec
from peon.batch import Encoding
from peon.read.fields import FieldSelection
from peon.read.json_proof import all_strings, unproven_rows
from peon.read.json_tokens import JsonTokens
from tests.support.reading import Reading, read_file

TOKENS = JsonTokens()

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
KEYS = st.sampled_from(["a", "b", 'q"', "é", "c,", "a b"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2))
OTHERS = NESTED.filter(lambda value: value is not None and not isinstance(value, str))


def _unproven(*lines: str, keys: tuple[str, ...] = ("a", "b"), texts: tuple[str, ...] = ()) -> list[int]:
    array = pa.array(lines, pa.string())
    members, _ = TOKENS.members(array, keys, texts=texts)
    return unproven_rows(array, np.array([len(line.encode()) for line in lines], np.int32), members, texts).tolist()


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"a":1}',
        '{"a":null}',
        '{"b":null,"a":null}',
        '{"a":"x","b":null}',
        '{"a":["x",1],"b":null}',
        '{"b":{"c":1}}',
    ],
)
def test_a_line_of_known_members_and_nulls_is_proven(line: str) -> None:
    assert _unproven(line) == []


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1}',
        '{"a":1,"c":2}',
        '{"a":1,"c":null}',
        '{"a":1,"a":2}',
        '{"a":null,"a":1}',
        '{"a":null,"a":null}',
        '{"c":{"a":null}}',
        '{"c":{"a":null},"b":null}',
        '{"a":NaN}',
        '{"a":[nan]}',
        '{"a":1e5}',
        '{"a":1,}',
        '{"b":{"a":null},"c":12345}',
        '{"b":[{"a":null}],"c":1234567}',
        '{"b":"\\u0061"}',
        '{"x\\"a":null,"b":1}',
    ],
)
def test_a_line_that_may_hold_more_is_not_proven(line: str) -> None:
    assert _unproven('{"a":1,"b":2}', line) == [1]


def test_a_text_with_escapes_is_not_proven_and_one_without_is() -> None:
    assert _unproven('{"a":"plain"}', '{"a":"new\\nline"}', '{"a":"\\"null"}', texts=("a",)) == [1, 2]


@settings(deadline=None)
@given(values=st.lists(OTHERS, min_size=1))
def test_no_value_but_a_string_passes_for_one(values: list[Any]) -> None:
    lines = pa.array([json.dumps({"a": value}) for value in values], pa.string())
    for row in range(len(lines)):
        members, _ = TOKENS.members(lines.slice(row, 1), ["a"], texts={"a"})
        assert not all_strings(members["a"]), lines[row]


@pytest.mark.parametrize(
    "text", ["", "Page_1", "2024-01-01T00:00:00", "fr", "-x", "[open", "1.2.3", "nano", "true.", "1 "]
)
def test_a_text_that_nothing_else_leaves_is_a_string(text: str) -> None:
    assert all_strings(pa.array([text, None], pa.string()))


@settings(deadline=None)
@given(records=st.lists(st.dictionaries(KEYS, NESTED, max_size=4), min_size=1, max_size=6))
def test_what_is_proven_holds_every_member_of_the_line(records: list[dict[str, Any]]) -> None:
    lines = [json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in records]
    known = ("a", 'q"')
    unproven = set(_unproven(*lines, keys=known))
    for row, record in enumerate(records):
        if row not in unproven:
            assert set(record) <= set(known), lines[row]


def _read(folder: Path, lines: list[str]) -> Reading:
    file = folder / "input.json"
    file.write_text("\n".join(lines))
    spec = TimestampSpec(column="t", format="millis")
    return read_file(file, JsonFormat(), FieldSelection(("a",)), spec, chunk_bytes=1 << 14)


@pytest.mark.parametrize("odd", ["1", "true", "[1,2]", '{"k":1}', "1e400", '"1"', '"[x]"', '"true"', "-0.5"])
def test_a_column_of_strings_keeps_what_comes_among_them_late(odd: str, tmp_path: Path) -> None:
    plain = ['{"t":1,"a":"word"}'] * 3000
    reading = _read(tmp_path, [*plain, f'{{"t":1,"a":{odd}}}', *plain])
    values = [row["a"] for _, row in reading.rows]
    expected = float("inf") if odd == "1e400" else json.loads(odd)
    assert values == ["word"] * 3000 + [expected] + ["word"] * 3000
    assert type(values[3000]) is type(expected)
    assert reading.errors == []


def test_strings_with_escapes_among_plain_ones_are_decoded(tmp_path: Path) -> None:
    plain = ['{"t":1,"a":"word"}'] * 3000
    reading = _read(tmp_path, [*plain, '{"t":1,"a":"\\u00e9\\n\\"\\\\"}', '{"t":1,"a":null}'])
    assert [row.get("a") for _, row in reading.rows[2999:]] == ["word", 'é\n"\\', None]
    assert {batch.columns["a"].encoding for batch in reading.batches} == {Encoding.TEXT}
