"""The last word is the stored status, to the letter."""

import pytest

from druid_core.status import TaskStatus
from peon.last_word import LastWord


@pytest.mark.parametrize("error_msg", ["short", "x" * 1024, "a" * 600 + "b" * 600, "ä" * 5000])
def test_a_failure_is_what_the_overlords_own_model_writes(error_msg: str) -> None:
    assert LastWord("t", 5, error_msg).to_wire() == TaskStatus.failure("t", error_msg, 5).to_wire()


def test_a_success_is_what_the_overlords_own_model_writes() -> None:
    assert LastWord("t", 5).to_wire() == TaskStatus.success("t", 5).to_wire()
