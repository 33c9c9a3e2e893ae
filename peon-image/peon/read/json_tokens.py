"""
The members of many JSON objects at once, as JSON texts: DuckDB's parser on Arrow arrays of lines.

It is laxer than Jackson: of two equal keys it takes the first, and it lets NaN, Infinity and trailing commas pass.
`suspects` finds such lines.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon import allowance
from peon.arrow import compute as pc

Rows = npt.NDArray[np.int64]

_JUST_MEMORY: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "temp_directory": "",
}
_MEMORY_SHARE = 4
"""Of a limited memory: DuckDB holds one chunk of lines and what it makes of it. By itself it would take four fifths."""

# What DuckDB takes for JSON and Jackson does not. It may match inside a string too; then the line is merely slower.
_LAX = r",\s*[}\]]|(?:^|[:,\[\s+-])(?i:nan|inf)"


_PARTS = 8
"""Of a chunk; enough that threads end at about the same time."""

_LEAST_PART_LINES = 2048
"""Below that, handing out parts costs more than it gains. DuckDB works on vectors of so many rows."""


class MalformedLines(Exception):
    """Some of the lines are not JSON."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The keys of some lines in order of first appearance, and the rows that Jackson may see differently."""

    keys: list[str]
    suspects: Rows


class JsonTokens:
    """A JSON parser for arrays of lines; it may run on every core, and several threads may ask it at once."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(":memory:", config=_JUST_MEMORY | _bounds())

    def members(
        self,
        lines: pa.StringArray,
        keys: Iterable[str],
        paths: Sequence[str] = (),
        texts: Collection[str] = (),
    ) -> tuple[dict[str, pa.StringArray], list[pa.StringArray]]:
        """
        The value of each key, and of each of DuckDB's JSON `paths`, as JSON text; null where it is null or absent.

        Strings under the keys in `texts` come as what they stand for, without quotes and escapes, which is cheaper.
        Raises MalformedLines.
        """
        structs, single = _grouped(keys)
        columns = [f"json_transform(line, {_literal(_structure(group, texts))})" for group in structs]
        # A struct has no nameless members; as a JSON pointer, the empty key can be said.
        columns += [f"nullif(json_extract(line, '/')::VARCHAR, 'null') AS k{i}" for i, _ in enumerate(single)]
        columns += [f"nullif(json_extract(line, {_literal(path)})::VARCHAR, 'null')" for path in paths]
        table = self._query(f"SELECT {', '.join(columns)} FROM lines", lines)
        found: dict[str, pa.StringArray] = {}
        for column, group in enumerate(structs):
            # A line that holds no object gives a null struct: all its members are null.
            found.update(zip(group, _whole(table.column(column)).flatten(), strict=True))
        arrays: list[Any] = [_whole(table.column(column)) for column in range(len(structs), table.num_columns)]
        found.update(zip(single, arrays, strict=False))
        return found, arrays[len(single) :]

    def malformed(self, lines: pa.StringArray) -> Rows:
        """The rows that are not JSON."""
        valid = _whole(self._query("SELECT json_valid(line) FROM lines", lines).column(0))
        return np.flatnonzero(~np.asarray(valid))

    def examine(self, lines: pa.StringArray) -> Findings:
        """All keys of the lines, and the lines with a key twice or with what only a lax parser takes for JSON."""
        shapes = self._query(
            "SELECT keys FROM (SELECT json_keys(line) AS keys, row_number() OVER () AS n FROM lines)"
            " GROUP BY keys ORDER BY min(n)",
            lines,
        )
        key_lists: list[list[str]] = [keys or [] for keys in shapes.column(0).to_pylist()]
        odd = f"regexp_matches(line, {_literal(_LAX)})"
        if any(len(set(keys)) < len(keys) for keys in key_lists):
            odd += " OR len(list_distinct(json_keys(line))) < len(json_keys(line))"
        suspects = _whole(self._query(f"SELECT {odd} FROM lines", lines).column(0))
        return Findings(
            list(dict.fromkeys(key for keys in key_lists for key in keys)),
            np.flatnonzero(np.asarray(pc.fill_null(suspects, False))),
        )

    def _query(self, sql: str, lines: pa.StringArray) -> pa.Table:
        with self._connection.cursor() as session:
            session.register("lines", _in_parts(lines))
            try:
                return session.sql(sql).to_arrow_table()
            except (duckdb.InvalidInputException, UnicodeDecodeError) as error:
                # UnicodeDecodeError: DuckDB's message quotes a line that is not UTF-8.
                raise MalformedLines from error


def _bounds() -> dict[str, str | int]:
    """What DuckDB may take of the machine."""
    memory_bytes = allowance.memory_bytes()
    memory = {} if memory_bytes is None else {"memory_limit": f"{memory_bytes // _MEMORY_SHARE}B"}
    return {"threads": allowance.cores(), **memory}


def _in_parts(lines: pa.StringArray) -> pa.Table:
    """The lines as a table of several record batches: DuckDB gives each thread one of them at a time."""
    rows = max(_LEAST_PART_LINES, -(-len(lines) // _PARTS))
    return pa.table(
        {"line": pa.chunked_array([lines.slice(start, rows) for start in range(0, len(lines), rows)], lines.type)}
    )


def _grouped(keys: Iterable[str]) -> tuple[list[list[str]], list[str]]:
    """Keys for structs, whose member names must differ in more than case; and those that no struct takes."""
    structs: list[dict[str, str]] = []
    single: list[str] = []
    for key in keys:
        if not key:
            single.append(key)
            continue
        folded = key.lower()
        group = next((group for group in structs if folded not in group), None)
        if group is None:
            structs.append(group := {})
        group[folded] = key
    return [list(group.values()) for group in structs], single


def _structure(keys: list[str], texts: Collection[str]) -> str:
    return json.dumps({key: "VARCHAR" if key in texts else "JSON" for key in keys}, ensure_ascii=False)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _whole(column: pa.ChunkedArray) -> Any:
    """One array; DuckDB returns many small ones."""
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(column.chunks)
