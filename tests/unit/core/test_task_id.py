"""Ids: made and checked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.errors import InvalidTask
from druid_core.interval import Interval
from druid_core.task_id import check_name, check_storable, new_noop_id, new_task_id

NOW_MS = 1_767_225_600_000


def test_made_ids_have_druids_form() -> None:
    assert re.fullmatch(r"index_wiki_[a-p]{8}_2026-01-01T00:00:00\.000Z", new_task_id("index", "wiki", NOW_MS))
    span = "2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_2026-01-01T00:00:00.000Z"
    killing = new_task_id("kill", "wiki", NOW_MS, Interval.parse("2026-01-01/P1D"))
    assert re.fullmatch(rf"kill_wiki_[a-p]{{8}}_{re.escape(span)}", killing)
    assert re.fullmatch(
        r"noop_2026-01-01T00:00:00\.000Z_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", new_noop_id(NOW_MS)
    )


def test_made_ids_differ() -> None:
    assert len({new_task_id("index", "wiki", NOW_MS) for _ in range(100)}) == 100


@pytest.mark.parametrize("task_id", ["a", "a b", "a%2Fb", "héllo", "日本語", "a.b", "-", "x" * 255, "' or 1=1 --"])
def test_odd_ids_that_druid_takes_are_taken(task_id: str) -> None:
    check_name("task ID", task_id, "C")


@pytest.mark.parametrize(
    ("task_id", "problem"),
    [
        (None, "must not be null"),
        ("", "must not be null"),
        (".a", "Value [.a] cannot start with '.'."),
        ("..", "Value [..] cannot start with '.'."),
        ("a/b", "Value [a/b] cannot contain '/'."),
        ("a\tb", "Value [a\tb] contains illegal whitespace characters.  Only space is allowed."),
        ("a\x01", "Value [a\x01] contains illegal UTF8 character [#1] at position [1]"),
        ("a\x00", "Value [a\x00] contains illegal UTF8 character [#0] at position [1]"),
        ("a\x7f", "Value [a\x7f] contains illegal UTF8 character [#127] at position [1]"),
        ("é\x85", "Value [é\x85] contains illegal UTF8 character [#133] at position [1]"),
        ("\ue000", "Value [\ue000] contains illegal UTF8 character [#57344] at position [0]"),
        ("a😀", "Value [a😀] contains illegal UTF8 character [#55357] at position [1]"),
        ("x" * 256, "Value has 256 characters, more than the 255 that the metadata store holds."),
    ],
)
def test_ids_that_stop_a_path_or_a_row_are_refused(task_id: str | None, problem: str) -> None:
    with pytest.raises(InvalidTask) as refusal:
        check_name("task ID", task_id, "C")
    assert (
        str(refusal.value) == f"Cannot construct instance of `C`, problem: Invalid value for field [task ID]: {problem}"
    )


def test_refusal_ends_at_the_first_line_as_druids_does() -> None:
    with pytest.raises(InvalidTask, match=r"Value \[a$"):
        check_name("task ID", "a\nb", "C")


def test_refusal_of_a_lone_surrogate_can_be_sent() -> None:
    with pytest.raises(InvalidTask) as refusal:
        check_name("task ID", "a\ud800", "C")
    assert "#55296" in str(refusal.value).encode().decode()


@given(st.text(max_size=40))
def test_accepted_ids_are_one_line_of_storable_text(task_id: str) -> None:
    try:
        check_name("task ID", task_id, "C")
    except InvalidTask:
        return
    assert task_id.splitlines() == [task_id]
    assert "/" not in task_id
    assert "\0" not in task_id
    task_id.encode()


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x" * 256])
def test_text_that_the_store_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(InvalidTask, match="metadata store"):
        check_storable("groupId", value, "C")
    check_storable("groupId", "a/b\n😀", "C")
