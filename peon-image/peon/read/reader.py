"""From a spec's input to batches for the builder: the one door of this package."""

import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import assert_never, cast

import numpy as np
import pyarrow as pa

from druid_core.input_policy import InputPolicy
from druid_core.instant import format_instant
from druid_core.spec.input import (
    CsvFormat,
    EntitySource,
    InlineSource,
    InputFormat,
    JsonFormat,
    ParquetFormat,
    TsvFormat,
)
from druid_core.spec.row_filter import Filter
from druid_core.spec.schema import TimestampSpec
from druid_core.storage.deep_storage import DeepStorage
from peon import allowance
from peon.batch import Encoding, InputBatch, RawColumn
from peon.java_text import java_text
from peon.read.ahead import map_in_turn, read_ahead
from peon.read.entity import InputEntity
from peon.read.fields import FieldSelection
from peon.read.lines import CHUNK_BYTES, line_chunks
from peon.read.records import RecordBatch, UnreadableRecord
from peon.read.segment_rows import SegmentWindow, window_batches
from peon.read.source import entities
from peon.read.timestamp import ParsedTimes, TimestampParser
from peon.read.tokens import value_at
from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler

TIME_FIELD = "__time"
"""Never found by discovery: the segment's own time column."""

_PARSING_HANDS = 2
"""Chunks that are parsed at a time, given the cores; each takes up to six times its size, and all cores as it can."""

RecordReader = Callable[[InputEntity], Iterator[RecordBatch]]


def read_batches(
    source: EntitySource,
    format: InputFormat,  # noqa: A002  Druid's word
    timestamp_spec: TimestampSpec,
    fields: FieldSelection,
    handler: ParseExceptionHandler,
    meters: RowMeters,
    policy: InputPolicy,
    scratch_dir: Path,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[InputBatch]:
    """
    All records of the source that can be read and have a good time, in order.

    The others are given to `handler`, with Druid's messages; bytes read are counted in `meters`. Files that a format
    cannot read front to back are fetched to `scratch_dir` and removed again. Text is parsed `chunk_bytes` at a time.

    Raises TaskFailure for input that is missing its end, damaged or out of reach, and what `handler` raises.
    """
    selection = dataclasses.replace(fields, exclusions=fields.exclusions | {timestamp_spec.column, TIME_FIELD})
    read = _record_reader(format, selection, timestamp_spec.column, meters, scratch_dir, chunk_bytes)
    times = TimestampParser(timestamp_spec)
    system_fields = () if isinstance(source, InlineSource) else source.system_fields
    for entity in entities(source, policy):
        texts = {"__file_uri": entity.uri, "__file_path": entity.path}
        constants = {name: texts[name] for name in system_fields if name in texts and selection.wants(name)}
        for batch in _good_records(entity, read(entity), times, handler):
            yield _with_constants(batch, constants) if constants else batch


def read_windows(
    windows: Iterable[SegmentWindow],
    row_filter: Filter | None,
    timestamp_spec: TimestampSpec,
    fields: FieldSelection,
    sketch_fields: frozenset[str],
    handler: ParseExceptionHandler,
    meters: RowMeters,
    deep_storage: DeepStorage,
    scratch_dir: Path,
) -> Iterator[InputBatch]:
    """
    All rows of segments that `row_filter` lets through and that have a good time, in order.

    Those without a good time and the bytes read count as in `read_batches`; what is filtered out counts nowhere.
    `sketch_fields` are those that hyperUnique metrics read. Raises TaskFailure as `window_batches` does.
    """
    selection = dataclasses.replace(fields, exclusions=fields.exclusions | {timestamp_spec.column, TIME_FIELD})
    times = TimestampParser(timestamp_spec)
    for window in windows:
        rows = window_batches(
            window, row_filter, selection, sketch_fields, timestamp_spec.column, meters, deep_storage, scratch_dir
        )
        yield from _good_records(_SEGMENT, rows, times, handler)


_SEGMENT = InputEntity(None, "", io.BytesIO)
"""Has no address that a message could show. Druid: DruidSegmentInputEntity.getUri"""


def _with_constants(batch: InputBatch, constants: Mapping[str, str | None]) -> InputBatch:
    """The batch with fields that have one value in all records of an entity. Druid: SystemFields"""
    columns = {
        name: RawColumn(cast("pa.Array", pa.repeat(pa.scalar(text, pa.string()), batch.rows)), Encoding.TEXT)
        for name, text in constants.items()
    }
    return dataclasses.replace(batch, columns=batch.columns | columns)


def _record_reader(
    format: InputFormat,  # noqa: A002
    fields: FieldSelection,
    time_column: str,
    meters: RowMeters,
    scratch_dir: Path,
    chunk_bytes: int,
) -> RecordReader:
    # Each format has large libraries of its own; a task waits only for those of its format.
    match format:
        case JsonFormat():
            from peon.read.json_lines import JsonLines

            parser = JsonLines(format, fields, time_column)

            def read_json(entity: InputEntity) -> Iterator[RecordBatch]:
                # Parsing takes longer than all else. Alone, it would leave cores idle between the queries of a chunk.
                with entity.open() as stream:
                    chunks = read_ahead(line_chunks(stream, meters, chunk_bytes))
                    hands = min(_PARSING_HANDS, allowance.cores())
                    yield from map(parser.records, map_in_turn(parser.parse, chunks, hands))

            return read_json
        case CsvFormat() | TsvFormat():
            from peon.read.delimited import DelimitedLines, delimited_batches

            def read_delimited(entity: InputEntity) -> Iterator[RecordBatch]:
                with entity.open() as stream:
                    yield from delimited_batches(
                        line_chunks(stream, meters, chunk_bytes),
                        DelimitedLines(format, fields, time_column),
                        entity.name,
                    )

            return read_delimited
        case ParquetFormat():
            from peon.read.parquet import parquet_batches

            return lambda entity: parquet_batches(entity, format, fields, time_column, meters, scratch_dir)
        case _:
            assert_never(format)


def _good_records(
    entity: InputEntity, batches: Iterator[RecordBatch], times: TimestampParser, handler: ParseExceptionHandler
) -> Iterator[InputBatch]:
    read_before = 0
    for batch in batches:
        parsed = times.parse(batch.time, batch.rows)
        if batch.unreadable or not parsed.good.all():
            _report(entity, batch, parsed, read_before, handler)
        good = np.flatnonzero(parsed.good)
        read_before += len(good)
        if len(good) == batch.rows:
            yield InputBatch(batch.rows, parsed.ms, batch.columns, batch.event_text)
        elif len(good):
            places = pa.array(good)
            columns = {name: RawColumn(c.values.take(places), c.encoding) for name, c in batch.columns.items()}
            if not batch.empty_counts:
                columns = {name: column for name, column in columns.items() if column.values.null_count < len(good)}
            yield InputBatch(len(good), parsed.ms[good], columns, _picked(batch.event_text, good.tolist()))


def _picked(event_text: Callable[[int], str], rows: list[int]) -> Callable[[int], str]:
    return lambda row: event_text(rows[row])


def _report(
    entity: InputEntity, batch: RecordBatch, times: ParsedTimes, read_before: int, handler: ParseExceptionHandler
) -> None:
    """Give the handler what went wrong, in the order of the input. Druid: IntermediateRowParsingReader"""
    untimed = np.flatnonzero(~times.good)
    if not handler.wants_text:
        handler.count_unparseable(len(batch.unreadable) + len(untimed))
        return
    # The number that a message gives to a record: one more than there were good ones before it.
    records = read_before + 1 + np.cumsum(times.good)
    lines = batch.lines
    events: list[tuple[int, int | UnreadableRecord]] = [
        (int(row if lines is None else lines[row]), int(row)) for row in untimed
    ]
    events += [(unreadable.line, unreadable) for unreadable in batch.unreadable]
    for line, event in sorted(events, key=lambda event: event[0]):
        if isinstance(event, UnreadableRecord):
            before = 0 if lines is None else int(np.searchsorted(lines, line))
            text, message = event.text, f"Unable to parse row [{event.text}]"
            record = int(records[before - 1]) if before else read_before + 1
        else:
            text = batch.event_text(event)
            message, record = _time_message(batch, times, event, text), int(records[event])
        place = f"Path: {entity.uri}, " if entity.uri else ""
        place += f"Record: {record}" + ("" if lines is None else f", Line: {line}")
        handler.unparseable(text, f"{message} ({place})")


def _time_message(batch: RecordBatch, times: ParsedTimes, row: int, event: str) -> str:
    """Druid: MapInputRowParser.parseTimestamp"""
    if times.far[row]:
        instant = format_instant(int(times.ms[row]))
        return f"Encountered row with timestamp[{instant}] that cannot be represented as a long: [{event}]"
    value = None if batch.time is None else value_at(batch.time, row)
    return f"Timestamp[{java_text(value)}] is unparseable! Event: {event}"
