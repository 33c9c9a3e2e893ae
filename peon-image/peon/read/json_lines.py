"""
JSON, one record a line: whole chunks parsed at once, and only odd lines looked at one by one.

Every line must prove that the fast parser left nothing out and took nothing wrong (`json_proof`). Lines that cannot
prove it (spaces between tokens, keys never seen before) are searched. What is found goes through `json_document`,
where a line is mended or turns out unreadable; in the end all good lines are parsed together.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from druid_core.errors import TaskFailure
from druid_core.spec.input import JsonFormat
from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.read.event import event_text
from peon.read.fields import FieldSelection
from peon.read.json_document import Unreadable, read_document, read_record, write_record
from peon.read.json_path import flattened_fields
from peon.read.json_proof import Members, all_strings, overlong_rows, unproven_rows
from peon.read.json_tokens import JsonTokens, MalformedLines
from peon.read.lines import LineChunk
from peon.read.records import RecordBatch, UnreadableRecord
from peon.read.tokens import flat_only, token_column

Rows = npt.NDArray[np.int64]

_SAMPLE_LINES = 1000
"""From how many lines the first keys are learnt, so that the first chunk is not parsed twice."""

_MAX_KEYS = 512
"""Beyond so many keys, those that nobody wants are not parsed any more; lines that have them are searched instead."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What the fast parser found in some lines: `members` by their keys, and flattened fields `by_path`.

    `texts` are the members that hold nothing but strings and come as such; all else is JSON text.
    """

    members: Members
    texts: frozenset[str]
    by_path: Members

    def column(self, name: str, tokens: pa.StringArray) -> RawColumn:
        """The values of a field."""
        is_text = name in self.texts and name not in self.by_path and tokens.null_count < len(tokens)
        return RawColumn(tokens, Encoding.TEXT) if is_text else token_column(tokens)


@dataclass(frozen=True, slots=True)
class ParsedChunk:
    """A chunk, the `lines` of it that are `kept`, the `mended` ones (None: unreadable), and what was found in them."""

    chunk: LineChunk
    lines: pa.StringArray
    kept: Rows
    mended: dict[int, str | None]
    found: Found


class JsonLines:
    """The parser of a task's JSON input; it learns keys as it goes. Druid: JsonInputFormat, JsonLineReader"""

    def __init__(self, format: JsonFormat, fields: FieldSelection, time_column: str) -> None:  # noqa: A002
        if features := [name for name, on in (format.feature_spec or {}).items() if on]:
            raise TaskFailure(f"The featureSpec [{', '.join(features)}] of the json inputFormat is not supported yet")
        self._fields = fields
        self._time_column = time_column
        self._flattened = {field.name: field for field in flattened_fields(format.flatten_spec)}
        self._discovers_roots = format.flatten_spec is None or format.flatten_spec.use_field_discovery
        self._keeps_nulls = bool(format.keep_null_columns)
        self._keys = dict.fromkeys([*fields.names, time_column])
        self._texts: frozenset[str] = frozenset()
        self._discovered: dict[str, None] = {}
        self._tokens = JsonTokens()
        self._has_learnt = False
        self._learning = threading.Lock()

    def parse(self, chunk: LineChunk) -> "ParsedChunk":
        """The tokens of a chunk. Several threads may parse at once."""
        mended: dict[int, str | None] = {}
        lines = chunk.array()
        with self._learning:
            if not self._has_learnt:
                self._learn(lines.slice(0, _SAMPLE_LINES))
        try:
            found = self._find(lines)
        except MalformedLines:
            self._mend(chunk, self._tokens.malformed(lines), mended)
            lines, _ = _applied(chunk, mended)
            found = self._find(lines)
        _, kept = _applied(chunk, mended)
        unproven = unproven_rows(lines, (chunk.ends - chunk.starts)[kept], found.members, found.texts)
        if len(unproven):
            findings = self._tokens.examine(lines.take(pa.array(unproven)))
            self._add_keys(findings.keys)
            odd = np.union1d(unproven[findings.suspects], overlong_rows(found.members, found.texts))
            suspects = [row for row in kept[odd].tolist() if row not in mended]
            if suspects:
                self._mend(chunk, suspects, mended)
                lines, kept = _applied(chunk, mended)
            if suspects or any(key in self._keys and key not in found.members for key in findings.keys):
                found = self._find(lines)
        return ParsedChunk(chunk, lines, kept, mended, found)

    def _learn(self, lines: pa.StringArray) -> None:
        valid = np.ones(len(lines), np.bool_)
        valid[self._tokens.malformed(lines)] = False
        good = lines.filter(pa.array(valid))
        self._add_keys(self._tokens.examine(good).keys)
        tokens, _ = self._tokens.members(good, self._keys)
        self._texts = frozenset(key for key in self._keys if key and _is_plain_text(tokens[key]))
        self._has_learnt = True

    def _add_keys(self, keys: list[str]) -> None:
        """Take new keys in. They only ever grow, so it does not matter which thread comes first."""
        for key in keys:
            if len(self._keys) < _MAX_KEYS or (self._discovers_roots and self._fields.wants(key)):
                self._keys.setdefault(key)

    def _find(self, lines: pa.StringArray) -> Found:
        """The tokens (or texts) of all known keys, and of the flattened fields that the fast parser can find."""
        texts = self._texts
        paths = {field.name: field.sql_path for field in self._flattened.values() if field.sql_path}
        members, by_path = self._tokens.members(lines, list(self._keys), list(paths.values()), texts)
        if doubtful := [key for key in texts if not all_strings(members[key])]:
            # From here on as tokens, which tell strings from what looks like them.
            with self._learning:
                self._texts -= frozenset(doubtful)
            return self._find(lines)
        return Found(members, texts, dict(zip(paths, by_path, strict=True)))

    def _mend(self, chunk: LineChunk, rows: Rows | list[int], mended: dict[int, str | None]) -> None:
        for row in map(int, rows):
            try:
                document = read_document(chunk.line(row))
            except Unreadable:
                mended[row] = None
            else:
                mended[row] = write_record(cast("dict[str, Any]", document)) if isinstance(document, dict) else "{}"

    def records(self, parsed: "ParsedChunk") -> RecordBatch:
        """
        The records of a parsed chunk; chunks must come in their order.

        Another thread may `parse` the next chunk meanwhile.
        """
        chunk, lines, kept, by_path = parsed.chunk, parsed.lines, parsed.kept, parsed.found.by_path
        for field in self._flattened.values():
            if field.name not in by_path:
                found = [field.find(orjson.loads(line)) for line in lines.to_pylist()]
                by_path[field.name] = pa.array(
                    [None if value is None else orjson.dumps(value).decode() for value in found], pa.string()
                )
        time = by_path.get(self._time_column, parsed.found.members.get(self._time_column))
        columns: dict[str, RawColumn] = {}
        for name, tokens in self._selected(parsed).items():
            if tokens.null_count < len(tokens) or self._keeps_nulls:
                columns[name] = parsed.found.column(name, tokens)
        return RecordBatch(
            rows=len(kept),
            columns=columns,
            time=None if time is None or time.null_count == len(time) else parsed.found.column(self._time_column, time),
            event_text=lambda row: self._event(chunk.line(int(kept[row]))),
            lines=kept + chunk.first_line,
            unreadable=[
                UnreadableRecord(row + chunk.first_line, chunk.text(row))
                for row, text in sorted(parsed.mended.items())
                if text is None
            ],
            empty_counts=self._keeps_nulls,
        )

    def _selected(self, parsed: "ParsedChunk") -> Members:
        """The tokens of the wanted fields: those that were named, then those found, in order of first appearance."""
        members, by_path = parsed.found.members, parsed.found.by_path
        selected = {name: by_path[name] if name in by_path else members[name] for name in self._fields.names}
        if not self._fields.discover:
            return selected
        found = {name: tokens for name, tokens in by_path.items() if self._fields.wants(name)}
        self._discovered.update(dict.fromkeys(found))
        if self._discovers_roots:
            roots = {key: tokens for key, tokens in members.items() if key not in by_path and self._fields.wants(key)}
            if not self._fields.nested:
                roots = {key: v if key in parsed.found.texts else flat_only(v) for key, v in roots.items()}
            new = {key: roots[key] for key in roots if key not in self._discovered}
            if new and self._keeps_nulls:
                # A field may appear without a value, so only the keys tell.
                keys = self._tokens.examine(parsed.lines).keys
                self._discovered.update(dict.fromkeys(key for key in keys if key in new))
            else:
                self._discover(parsed.chunk, parsed.kept, new)
            found.update(roots)
        return selected | {name: found[name] for name in self._discovered if name in found and name not in selected}

    def _discover(self, chunk: LineChunk, kept: Rows, roots: Members) -> None:
        """Note fields seen for the first time, in the order in which a reader of rows would come upon them."""
        first_rows: dict[int, list[str]] = {}
        for key, tokens in roots.items():
            if tokens.null_count < len(tokens):
                first_rows.setdefault(int(np.argmax(np.asarray(tokens.is_valid()))), []).append(key)
        for row in sorted(first_rows):
            order = {key: place for place, key in enumerate(read_record(chunk.line(int(kept[row]))))}
            for key in sorted(first_rows[row], key=lambda key: order.get(key, len(order))):
                self._discovered.setdefault(key)

    def _event(self, line: bytes) -> str:
        """A record in a message: flattened fields, then the members that count as fields."""
        record = read_record(line)
        event = {field.name: field.find(record) for field in self._flattened.values()}
        if self._discovers_roots:
            for key, value in record.items():
                if key not in event and (self._fields.nested or self._is_field(value)):
                    event[key] = value
        return event_text(event)

    def _is_field(self, value: Any) -> bool:
        """Druid: JSONFlattenerMaker.discoverRootFields"""
        if isinstance(value, list):
            return not any(isinstance(item, dict | list) for item in cast("list[Any]", value))
        return not isinstance(value, dict) and (value is not None or self._keeps_nulls)


def _applied(chunk: LineChunk, mended: Mapping[int, str | None]) -> tuple[pa.StringArray, Rows]:
    """The lines of a chunk with the mended ones in place and the unreadable ones left out, and their places in it."""
    lines, kept = chunk.array(), np.arange(len(chunk))
    if not mended:
        return lines, kept
    texts = {row: text for row, text in sorted(mended.items()) if text is not None}
    if texts:
        mask = np.zeros(len(chunk), np.bool_)
        mask[list(texts)] = True
        lines = pc.replace_with_mask(lines, pa.array(mask), pa.array(list(texts.values()), pa.string()))
    good = np.ones(len(chunk), np.bool_)
    good[[row for row, text in mended.items() if text is None]] = False
    return lines.filter(pa.array(good)), kept[good]


def _is_plain_text(tokens: pa.StringArray) -> bool:
    """Whether all values are strings that lose nothing but their quotes, and do not look like anything else."""
    column = token_column(tokens)
    if column.encoding is not Encoding.TEXT or pc.any(pc.match_substring(tokens, "\\")).as_py():
        return False
    return all_strings(cast("pa.StringArray", column.values))
