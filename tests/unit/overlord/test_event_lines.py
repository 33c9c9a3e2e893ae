"""Log lines, as a person and as a log collector reads them."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from overlord import events


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("overlord")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    yield
    root.handlers, root.level, own.level = handlers, level, own_level


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_json_line_holds_event_and_fields_apart(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("json")
    events.info("a task began", task_id='böse\n"id"', attempt=2)
    (line,) = _lines(capsys)
    timestamp = line.pop("timestamp")
    assert line == {
        "level": "info",
        "logger": "overlord",
        "event": "a task began",
        "task_id": 'böse\n"id"',
        "attempt": 2,
    }
    assert timestamp.endswith("Z")
    assert len(timestamp) == len("2026-01-01T00:00:00.000Z")


def test_a_trace_stays_within_its_line_and_a_field_cannot_pose_as_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("json")
    try:
        raise ValueError("it broke")
    except ValueError as error:
        events.error("a call failed", error, level="high", path="/x")
    (line,) = _lines(capsys)
    assert line["level"] == "error"
    assert line["level_"] == "high"
    assert "ValueError: it broke" in line["exception"]


def test_what_libraries_log_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("json")
    logging.getLogger("uvicorn.error").warning("%s of %s", "one", {"a": 1})
    logging.getLogger("some").warning("%(a)s percent", {"a": 1})
    assert [line["event"] for line in _lines(capsys)] == ["one of {'a': 1}", "1 percent"]


def test_a_lost_database_connection_is_told_by_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("json")
    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool connection floor; retrying")
    logging.getLogger("asyncpg.pool").error("of another kind")
    assert [line["event"] for line in _lines(capsys)] == ["of another kind"]


def test_a_text_line_is_for_people_and_percent_signs_are_no_formats(capsys: pytest.CaptureFixture[str]) -> None:
    events.configure("text")
    events.warning("100%s sure", task_id="a%d")
    assert capsys.readouterr().err.rstrip().endswith("Z WARNING overlord - 100%s sure task_id='a%d'")
