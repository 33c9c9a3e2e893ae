"""
What schemathesis is told beside the description: things that really are there, so that calls come further than "no such
thing", and patience that does not outlast a test.
"""

# It runs in the client's own environment, which the type checker does not see.
# pyright: basic, reportMissingImports=false

import json
import os
import zlib
from typing import Any

import schemathesis

THERE: dict[str, str] = json.loads(os.environ["NEMETON_FUZZ_THERE"])
"""By the name of a path parameter: something of that name."""


def is_chosen(case: Any, name: str) -> bool:
    """For about two calls in three, and for the same ones in every run of a seed."""
    return zlib.crc32(f"{name} {case.method} {case.path} {case.body!r} {case.query!r}".encode(errors="replace")) % 3 > 0


def is_end(case: Any) -> bool:
    """Of what others still need."""
    return case.method == "DELETE" or case.path.endswith(("/shutdown", "/shutdownAllTasks", "/terminate"))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    for name in case.path_parameters or {}:
        if name in THERE and not is_end(case) and is_chosen(case, name):
            case.path_parameters[name] = THERE[name]
    if "wait" in (case.query or {}):
        case.query["wait"] = "0.01"  # a long poll would be as long as it may
    if case.path == "/druid/indexer/v1/action" and isinstance(case.body, dict):
        _aim(case.body)


def _aim(body: dict[str, Any]) -> None:
    """An action of a task that is there, and that waits for no lock."""
    action = body.get("action")
    if isinstance(body.get("task"), dict) and isinstance(action, dict) and action.get("type") != "updateStatus":
        body["task"]["id"] = THERE["task_id"]
    while isinstance(action, dict):
        if "timeoutMs" in action or action.get("type") in ("lockAcquire", "segmentLockAcquire"):
            action["timeoutMs"] = 1
        action = action.get("taskAction")
