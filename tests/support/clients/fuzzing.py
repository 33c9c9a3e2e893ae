"""schemathesis, which calls an API as its own description says, and as it does not."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.support.clients.environment import PROGRAMS, client_python

CHECKS = (
    "status_code_conformance",  # every status is described: so is every 500
    "content_type_conformance",
    "response_schema_conformance",  # a 500 is described as the caller's fault; another one does not fit
    "unsupported_method",
)

_PATIENCE_SECONDS = 3000


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of it."""

    cases: int
    complaints: list[str]
    """One a kind of failure, with the operations."""
    output: str


def fuzz(
    url: str,
    folder: Path,
    *,
    phases: str,
    examples: int,
    seed: int,
    there: Mapping[str, str],
    checks: tuple[str, ...] = CHECKS,
    user: str | None = None,
) -> Fuzzed:
    """
    Calls every operation of the API at `url`, in `phases`, with about so many `examples` an operation and phase.

    `there` has something real for parameters of paths, `user` is `name:password`. Raises ClientMissing.
    """
    python = client_python("schemathesis")
    report = folder / f"fuzzed-{seed}.json"
    report.unlink(missing_ok=True)
    command = [
        *(str(python.with_name("st")), "run", f"{url}/openapi.json", "--phases", phases, "--seed", str(seed)),
        *("--checks", ",".join(checks), "--max-examples", str(examples), "--continue-on-failure", "--no-shrink"),
        # more than one at a time upsets the parser of Python 3.11, by which hypothesis names its functions
        *("--workers", "1", "--request-timeout", "60", "--suppress-health-check", "all"),
        *("--report", "json", "--report-json-path", str(report), *(("--auth", user) if user else ())),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PYTHONPATH": str(PROGRAMS),
        "SCHEMATHESIS_HOOKS": "fuzz_hooks",
        "NEMETON_FUZZ_THERE": orjson.dumps(dict(there)).decode(),
        "NO_COLOR": "1",
    }
    answer = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    output = answer.stdout + answer.stderr
    if not report.exists():
        return Fuzzed(0, ["there is no report"], output)
    told: dict[str, Any] = orjson.loads(report.read_bytes())
    complaints = [f"{each['title']}: {', '.join(each['operations'])}" for each in told["failures"]]
    complaints += [f"it could not go on: {each}" for each in told["errors"]]
    return Fuzzed(told["test_cases"]["generated"], complaints, output)
