"""The door of task actions: what is let in, and what is said to the rest."""

from typing import Any, get_args

import pytest

from druid_core import action as actions
from druid_core.action import LockTryAcquire, SegmentListUsed
from druid_core.errors import InvalidInput
from druid_core.interval import Interval
from overlord.action.parse import SUPPORTED, UnsupportedAction, parse_action

TASK = {"type": "noop", "id": "n", "groupId": "n", "dataSource": "web"}


def test_an_action_is_read_with_the_id_of_its_task() -> None:
    asked = parse_action({"task": TASK, "action": {"type": "lockTryAcquire", "interval": "2026-01-01/P1D"}})
    assert asked.task_id == "n"
    assert asked.action == LockTryAcquire(interval=Interval.parse("2026-01-01/2026-01-02"))


def test_what_is_supported_is_exactly_the_union_of_actions() -> None:
    union = get_args(get_args(actions.TaskAction)[0])
    assert {member.model_fields["type"].default for member in union} == set(SUPPORTED)


def test_druid_37_has_24_action_types() -> None:
    assert len(SUPPORTED) == len(set(SUPPORTED)) == 24


def test_unknown_fields_are_ignored() -> None:
    raw: dict[str, Any] = {"type": "segmentListUsed", "dataSource": "web", "intervals": ["2026/P1Y"], "interval": 1}
    assert isinstance(parse_action({"task": TASK, "action": raw}).action, SegmentListUsed)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, r"\[the body\]"),
        ([], r"\[the body\]"),
        ({}, r"\[task\]"),
        ({"task": {}, "action": {"type": "lockList"}}, r"an \[id\]"),
        ({"task": TASK}, r"\[action\]"),
        ({"task": TASK, "action": {}}, "missing type id property 'type'"),
        ({"task": TASK, "action": {"type": "lockTryAcquire"}}, r"\[interval\]"),
        ({"task": TASK, "action": {"type": "lockTryAcquire", "interval": "nope"}}, r"Invalid interval\[nope\]"),
        ({"task": TASK, "action": {"type": "lockAcquire", "interval": "2026/P1D", "lockType": "X"}}, "lockType"),
        ({"task": TASK, "action": {"type": "segmentLockAcquire", "interval": "2026/P1D", "version": "v"}}, "lockType"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_action(raw)


def test_other_types_are_refused_with_the_list_of_what_there_is() -> None:
    with pytest.raises(UnsupportedAction, match="Could not resolve type id 'x' as a subtype of") as caught:
        parse_action({"task": TASK, "action": {"type": "x"}})
    assert "lockTryAcquire" in str(caught.value)
