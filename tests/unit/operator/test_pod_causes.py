"""What follows a cause, and that the table in the documentation says so too."""

import re
from pathlib import Path

import pytest

from overlord_operator.pod.cause import Cause, RetryKind, may_pass, retry_kind

ROWS = re.findall(
    r"^\| `(\w+)` \| .+ \| ([\w ]+) \|$", (Path(__file__).parents[3] / "docs" / "causes.md").read_text(), re.MULTILINE
)
BUDGETS = {"free": RetryKind.FREE, "counted": RetryKind.COUNTED, "more memory": RetryKind.MORE_MEMORY}


def test_every_cause_is_documented_once() -> None:
    assert sorted(code for code, _ in ROWS) == sorted(Cause)
    assert len(Cause) >= 24


def test_documentation_says_what_follows_each_cause() -> None:
    for code, said in ROWS:
        cause = Cause(code)
        if said in ("at once", "at the timeout"):
            assert retry_kind(cause) is RetryKind.NEVER, code
            assert may_pass(cause) is (said == "at the timeout"), code
        else:
            assert retry_kind(cause) is BUDGETS.get(said, RetryKind.NEVER), code


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (Cause.NODE_LOST, RetryKind.FREE),
        (Cause.EVICTED_MEMORY, RetryKind.FREE),
        (Cause.PREEMPTED, RetryKind.FREE),
        (Cause.OOM_KILLED, RetryKind.MORE_MEMORY),
        (Cause.EXIT_CODE, RetryKind.COUNTED),
        (Cause.SIGNAL, RetryKind.COUNTED),
        (Cause.DEADLINE, RetryKind.NEVER),
        (Cause.DISK_LIMIT, RetryKind.NEVER),
        (Cause.MISSING_SECRET, RetryKind.NEVER),
        (Cause.QUOTA, RetryKind.NEVER),
        (Cause.INVALID_POD, RetryKind.NEVER),
    ],
)
def test_cause_decides_from_which_budget_another_attempt_comes(cause: Cause, kind: RetryKind) -> None:
    assert retry_kind(cause) is kind


def test_waiting_helps_where_somebody_can_still_do_something() -> None:
    assert may_pass(Cause.QUOTA)
    assert may_pass(Cause.MISSING_SECRET)
    assert may_pass(Cause.UNSCHEDULABLE)
    assert not may_pass(Cause.IMAGE_NAME)
    assert not may_pass(Cause.POD_SECURITY)
