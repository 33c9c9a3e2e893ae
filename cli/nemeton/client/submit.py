"""`nemeton submit`: hand a task over, and stay with it to its end."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson

from druid_core.errors import InvalidInput, NotFound, Unavailable
from nemeton.client.overlord import Overlord, Refused

POLL_S = 0.25
"""Between two looks at a watched task."""

PATIENCE_S = 60.0
"""How long a watched task's Overlord may be away: a restart is no reason to stop watching."""


def read_spec(file: str) -> bytes:
    """
    The task in a file, or on the standard input for `-`.

    A local input source's relative `baseDir` or `files` that exist beside the file are made absolute: the peon runs
    elsewhere. Raises InvalidInput where it cannot be read or is not JSON.
    """
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from error
    try:
        raw: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        where = "standard input" if file == "-" else file
        raise InvalidInput(f"{where} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    beside = Path.cwd() if file == "-" else Path(file).resolve().parent
    return orjson.dumps(raw) if _settle_paths(raw, beside) else text


def watch(overlord: Overlord, task_id: str, show: Callable[[str, bool], None]) -> dict[str, Any]:
    """
    Follows a task to its end and returns its final status.

    `show` is given one line at a time, and whether the state in it is news. Raises Unavailable where the Overlord
    stays away.
    """
    started = time.monotonic()
    silent_since: float | None = None
    shown_state = ""
    while True:
        try:
            status = overlord.status(task_id)
            rows = _rows(overlord, task_id)
            silent_since = None
        except Unavailable:
            now = time.monotonic()
            silent_since = silent_since or now
            if now - silent_since > PATIENCE_S:
                raise
            show("the Overlord does not answer; trying again", shown_state != "away")
            shown_state = "away"
            time.sleep(4 * POLL_S)
            continue
        seconds = time.monotonic() - started
        active = status["statusCode"] == "RUNNING"
        state = str(status["runnerStatusCode"] if active else status["statusCode"])
        show(progress(state, rows, seconds), state != shown_state)
        shown_state = state
        if not active:
            return status
        time.sleep(POLL_S)


def progress(state: str, rows: dict[str, Any] | None, seconds: float) -> str:
    """One line: the state, the rows so far and how fast they came, and the seconds since we watch."""
    parts = [f"{state:<8}"]
    if rows is not None:
        phase, processed = rows["phase"], rows["processed"]
        parts.append(f"{phase:<15} {processed:>12,} rows {processed / max(seconds, 0.001):>10,.0f} rows/s")
        bad = rows["unparseable"] + rows["processedWithError"]
        if bad:
            parts.append(f"{bad:,} with errors")
        if rows["thrownAway"]:
            parts.append(f"{rows['thrownAway']:,} thrown away")
    parts.append(f"{seconds:>6.1f} s")
    return "  ".join(parts)


def rows_of(report: dict[str, Any]) -> dict[str, Any] | None:
    """The row counts of an ingestion report, live or complete; None where it has none."""
    payload = cast("dict[str, Any]", (report.get("ingestionStatsAndErrors") or {}).get("payload") or {})
    stats = cast("dict[str, Any]", payload.get("rowStats") or {})
    phases = cast("dict[str, dict[str, int]]", stats.get("totals") or stats)
    counts = phases.get("buildSegments")
    if not counts:
        return None
    names = ("processed", "processedWithError", "thrownAway", "unparseable")
    return {"phase": payload.get("ingestionState") or ""} | {name: counts.get(name) or 0 for name in names}


def _rows(overlord: Overlord, task_id: str) -> dict[str, Any] | None:
    try:
        return rows_of(overlord.report(task_id))
    except (NotFound, Refused, Unavailable):  # its peon does not serve yet, or its type has none
        return None


def _settle_paths(raw: object, beside: Path) -> bool:
    """Makes paths of local input sources absolute, in place. Returns whether any was changed."""
    changed = False
    if isinstance(raw, list):
        settled = [_settle_paths(item, beside) for item in cast("list[object]", raw)]  # all, not up to the first
        return any(settled)
    if not isinstance(raw, dict):
        return False
    here = cast("dict[str, Any]", raw)
    if here.get("type") == "local":
        base_dir, files = here.get("baseDir"), here.get("files")
        if isinstance(base_dir, str) and base_dir and (beside / base_dir).is_dir() and not Path(base_dir).is_absolute():
            here["baseDir"] = str((beside / base_dir).resolve())
            changed = True
        if isinstance(files, list):
            here["files"] = [_settled(file, beside) for file in cast("list[object]", files)]
            changed = changed or here["files"] != files
    settled = [_settle_paths(value, beside) for value in here.values()]
    return changed or any(settled)


def _settled(file: object, beside: Path) -> object:
    if isinstance(file, str) and not Path(file).is_absolute() and (beside / file).is_file():
        return str((beside / file).resolve())
    return file
