"""
JSON, one record a line: whole chunks parsed at once, and only odd lines looked at one by one.

The fast parser takes some texts that Jackson refuses, and of two equal keys the wrong one. So every line must prove
that there was nothing else in it: the tokens that came out of it, with their keys and commas, are as long as the line.
Lines that cannot prove it (spaces between tokens, explicit nulls, keys never seen before) are searched. What is found
goes through `json_document`, where a line is mended or turns out unreadable; in the end all good lines are parsed
together.
"""

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
from peon.batch import RawColumn
from peon.read.event import event_text
from peon.read.fields import FieldSelection
from peon.read.json_document import JACKSON_LIMIT, Unreadable, read_document, read_record, write_record
from peon.read.json_path import flattened_fields
from peon.read.json_tokens import JsonTokens, MalformedLines
from peon.read.lines import LineChunk
from peon.read.records import RecordBatch, UnreadableRecord
from peon.read.tokens import flat_only, string_buffers, token_column

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Members = dict[str, pa.StringArray]

_SAMPLE_LINES = 1000
"""From how many lines the first keys are learnt, so that the first chunk is not parsed twice."""

_MAX_KEYS = 512
"""Beyond so many keys, those that nobody wants are not parsed any more; lines that have them are searched instead."""


def _bytes_set(members: bytes) -> Bools:
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


_DIGIT = _bytes_set(b"0123456789")
_NUMBER = _bytes_set(b"-0123456789")
_LETTER = _bytes_set(b"NnIi")
_NESTED = _bytes_set(b"[{")


@dataclass(frozen=True, slots=True)
class ParsedChunk:
    """A chunk and what the fast parser found: the `lines` that are `kept`, the `mended` ones (None: unreadable)."""

    chunk: LineChunk
    lines: pa.StringArray
    kept: Rows
    mended: dict[int, str | None]
    members: Members
    by_path: Members


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
        self._discovered: dict[str, None] = {}
        self._tokens = JsonTokens()
        self._examiner = JsonTokens() if self._keeps_nulls else self._tokens
        self._has_learnt = False

    def parse(self, chunk: LineChunk) -> "ParsedChunk":
        """The tokens of a chunk; chunks must come in their order."""
        mended: dict[int, str | None] = {}
        lines = chunk.array()
        if not self._has_learnt:
            self._learn(lines.slice(0, _SAMPLE_LINES))
        try:
            members, by_path = self._members(lines)
        except MalformedLines:
            self._mend(chunk, self._tokens.malformed(lines), mended)
            lines, _ = _applied(chunk, mended)
            members, by_path = self._members(lines)
        _, kept = _applied(chunk, mended)
        unproven = np.flatnonzero(~_proven(members, (chunk.ends - chunk.starts)[kept]))
        if len(unproven):
            findings = self._tokens.examine(lines.take(pa.array(unproven)))
            learnt = self._add_keys(findings.keys)
            odd = np.union1d(unproven[findings.suspects], _overlong(members))
            suspects = [row for row in kept[odd].tolist() if row not in mended]
            if suspects:
                self._mend(chunk, suspects, mended)
                lines, kept = _applied(chunk, mended)
            if learnt or suspects:
                members, by_path = self._members(lines)
        return ParsedChunk(chunk, lines, kept, mended, members, by_path)

    def _learn(self, lines: pa.StringArray) -> None:
        valid = np.ones(len(lines), np.bool_)
        valid[self._tokens.malformed(lines)] = False
        self._add_keys(self._tokens.examine(lines.filter(pa.array(valid))).keys)
        self._has_learnt = True

    def _add_keys(self, keys: list[str]) -> bool:
        """Take new keys in; whether there were any."""
        before = len(self._keys)
        for key in keys:
            if len(self._keys) < _MAX_KEYS or (self._discovers_roots and self._fields.wants(key)):
                self._keys.setdefault(key)
        return len(self._keys) > before

    def _members(self, lines: pa.StringArray) -> tuple[Members, Members]:
        """The tokens of all known keys, and of the flattened fields that the fast parser can find."""
        paths = {field.name: field.sql_path for field in self._flattened.values() if field.sql_path}
        members, found = self._tokens.members(lines, self._keys, list(paths.values()))
        return members, dict(zip(paths, found, strict=True))

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
        chunk, lines, kept, by_path = parsed.chunk, parsed.lines, parsed.kept, parsed.by_path
        for field in self._flattened.values():
            if field.name not in by_path:
                found = [field.find(orjson.loads(line)) for line in lines.to_pylist()]
                by_path[field.name] = pa.array(
                    [None if value is None else orjson.dumps(value).decode() for value in found], pa.string()
                )
        time = by_path.get(self._time_column, parsed.members.get(self._time_column))
        columns: dict[str, RawColumn] = {}
        for name, tokens in self._selected(parsed).items():
            if tokens.null_count < len(tokens) or self._keeps_nulls:
                columns[name] = token_column(tokens)
        return RecordBatch(
            rows=len(kept),
            columns=columns,
            time=None if time is None or time.null_count == len(time) else token_column(time),
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
        members, by_path = parsed.members, parsed.by_path
        selected = {name: by_path[name] if name in by_path else members[name] for name in self._fields.names}
        if not self._fields.discover:
            return selected
        found = {name: tokens for name, tokens in by_path.items() if self._fields.wants(name)}
        self._discovered.update(dict.fromkeys(found))
        if self._discovers_roots:
            roots = {key: tokens for key, tokens in members.items() if key not in by_path and self._fields.wants(key)}
            if not self._fields.nested:
                roots = {key: flat_only(tokens) for key, tokens in roots.items()}
            new = {key: roots[key] for key in roots if key not in self._discovered}
            if new and self._keeps_nulls:
                # A field may appear without a value, so only the keys tell.
                keys = self._examiner.examine(parsed.lines).keys
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


def _proven(members: Members, lengths: npt.NDArray[np.int32]) -> Bools:
    """Which lines, of these `lengths` in bytes, hold nothing but these members, and those as Jackson would see them."""
    accounted = np.full(len(lengths), 1, np.int64)
    proven = np.ones(len(lengths), np.bool_)
    empty = np.ones(len(lengths), np.bool_)
    for key, tokens in members.items():
        valid = None if not tokens.null_count else np.asarray(tokens.is_valid())
        offsets, data = string_buffers(tokens)
        # "key":token and a comma or the closing brace.
        cost = np.diff(offsets) + (len(orjson.dumps(key)) + 2)
        accounted += cost if valid is None else np.where(valid, cost, 0)
        empty &= False if valid is None else ~valid
        proven &= ~_doubtful(tokens, offsets, data)
    return proven & (accounted + empty == lengths)


def _doubtful(tokens: pa.StringArray, offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Bools:
    """Tokens that may be NaN, hold one, or be longer than what stood in the line."""
    doubtful = np.zeros(len(tokens), np.bool_)
    if not len(data):
        return doubtful
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    if _LETTER[first].any():
        # Of JSON's own words only null begins so, and a null is no token.
        doubtful |= _LETTER[first]
    if _NUMBER[first].any():
        negative = first == ord("-")
        doubtful |= negative & ~_DIGIT[data[np.minimum(offsets[:-1] + 1, len(data) - 1)]]
        if b"." in data.tobytes():
            # An exponent was perhaps written out: 1e5 as 100000.0.
            doubtful |= _NUMBER[first] & np.asarray(pc.fill_null(pc.ends_with(tokens, "0.0"), False))
    if np.diff(offsets).max() > JACKSON_LIMIT:
        doubtful |= np.diff(offsets) > JACKSON_LIMIT
    if _NESTED[first].any():
        inside = pc.match_substring_regex(tokens, "(?i)nan|inf|0[.]0")
        doubtful |= _NESTED[first] & np.asarray(pc.fill_null(inside, False))
    return doubtful


def _overlong(members: Members) -> Rows:
    """Rows with a number of more digits, or a value of more levels, than Jackson may take."""
    rows: list[Rows] = []
    for tokens in members.values():
        offsets, data = string_buffers(tokens)
        for row in np.flatnonzero(np.diff(offsets) > JACKSON_LIMIT):
            first = int(data[offsets[row]])
            token = data[offsets[row] : offsets[row + 1]].tobytes()
            if _NUMBER[first] or (_NESTED[first] and token.count(b"[") + token.count(b"{") >= JACKSON_LIMIT):
                rows.append(np.array([row]))
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)
