"""What becomes of a task whose peon has ended."""

from dataclasses import dataclass

import pytest

from druid_core.status import StatusCode, TaskStatus
from overlord.task.settle import Ending, NextAttempt, decide

NOW_MS = 1_000_000


@dataclass(frozen=True)
class Row:
    why: str
    found: str
    status: TaskStatus | None = None
    retry_after_ms: int | None = None
    attempt: int = 1
    type_publishes: bool = True
    published: bool = False
    stopped: bool = False


ROWS = [
    Row("the peon's word decides", "SUCCESS", status=TaskStatus.success("t", 5), retry_after_ms=0),
    Row("also when it is a failure", "FAILED", status=TaskStatus.failure("t", "no rows"), retry_after_ms=0),
    Row("a word that is not final says nothing", "FAILED", status=TaskStatus.running("t")),
    Row("nor does the word of another task", "NEXT", status=TaskStatus.success("u"), retry_after_ms=9),
    Row("what was published stays published", "SUCCESS", published=True),
    Row("and is never published again", "SUCCESS", published=True, retry_after_ms=0),
    Row("a type whose last act is another is not done", "FAILED", published=True, type_publishes=False),
    Row("nor may it do that twice", "FAILED", published=True, type_publishes=False, retry_after_ms=0),
    Row("without a word and a policy it failed", "FAILED"),
    Row("the runner's policy allows another", "NEXT", retry_after_ms=9),
    Row("who was asked to end is not begun anew", "FAILED", retry_after_ms=9, stopped=True),
    Row("the last attempt that may be", "NEXT", retry_after_ms=9, attempt=2),
    Row("one too many", "FAILED", retry_after_ms=9, attempt=3),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_the_end_of_an_attempt(row: Row) -> None:
    ending = Ending("t", row.attempt, "the node was lost", row.status, "NodeLost", row.retry_after_ms)
    found = decide(
        ending,
        type_publishes=row.type_publishes,
        published=row.published,
        stopped=row.stopped,
        max_attempts=3,
        now_ms=NOW_MS,
        ran_ms=7,
    )
    if isinstance(found, NextAttempt):
        assert row.found == "NEXT"
        assert found.not_before_ms == NOW_MS + 9
        return
    assert found.status == row.found
    if row.status is None and found.status is StatusCode.FAILED:
        assert "the node was lost" in (found.error_msg or "")
        assert found.duration == 7


@pytest.mark.parametrize(
    ("ran_ms", "words"),
    [
        (-1, "The peon was never seen to run: no such template"),
        (0, "The peon ended without reporting a status: no such template"),
    ],
)
def test_what_is_said_of_a_peon_without_a_word(ran_ms: int, words: str) -> None:
    found = decide(
        Ending("t", 1, "no such template"),
        type_publishes=True,
        published=False,
        stopped=False,
        max_attempts=3,
        now_ms=NOW_MS,
        ran_ms=ran_ms,
    )
    assert isinstance(found, TaskStatus)
    assert (found.error_msg, found.duration) == (words, ran_ms)
