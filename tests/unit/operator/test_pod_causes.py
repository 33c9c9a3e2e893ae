"""The table of causes in the documentation is the table in the code."""

import re
from pathlib import Path

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
