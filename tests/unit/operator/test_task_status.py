"""The status of a DruidTask: conditions in Kubernetes' manner, and one small write or none."""

from typing import Any

import pytest

from overlord_operator.druid_task.status import (
    AttemptRecord,
    Condition,
    DruidTaskStatus,
    State,
    duration_text,
    status_patch,
    time_text,
    with_attempt,
    with_condition,
)


def test_transition_time_moves_only_when_the_status_does() -> None:
    first = with_condition([], "Running", False, "Unschedulable", "no node", 1_000)
    second = with_condition(first, "Running", False, "ImagePullBackOff", "no image", 2_000)
    third = with_condition(second, "Running", True, "Running", "", 3_000)
    times = [conditions[0].last_transition_time for conditions in (first, second, third)]
    assert times == ["1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z"]
    assert [conditions[0].reason for conditions in (first, second, third)] == [
        "Unschedulable",
        "ImagePullBackOff",
        "Running",
    ]


def test_same_condition_set_twice_is_set_once() -> None:
    first = with_condition([], "Submitted", True, "Accepted", "It has it.", 1_000, 4)
    assert with_condition(first, "Submitted", True, "Accepted", "It has it.", 9_000, 4) == first


def test_conditions_keep_their_order_and_each_type_once() -> None:
    conditions: list[Condition] = []
    for kind in ("Submitted", "Running", "Submitted"):
        conditions = with_condition(conditions, kind, "Unknown", "R", "", 0)
    assert [condition.type for condition in conditions] == ["Submitted", "Running"]


def test_patch_holds_what_changed_and_null_for_what_is_gone() -> None:
    before = DruidTaskStatus(state=State.PENDING, message="waits", pod_name="p", attempt=1)
    after = DruidTaskStatus(state=State.RUNNING, pod_name="p", attempt=1, location="10.0.0.1:8100")
    assert status_patch(before, after) == {"state": "RUNNING", "location": "10.0.0.1:8100", "message": None}


def test_unchanged_status_needs_no_write() -> None:
    status = DruidTaskStatus(state=State.RUNNING, conditions=with_condition([], "Running", True, "R", "", 0))
    assert status_patch(status, status) == {}
    assert status_patch(status, DruidTaskStatus.parse(status.to_raw())) == {}


def test_patch_leads_from_any_status_to_any_other() -> None:
    statuses: list[DruidTaskStatus] = [
        DruidTaskStatus(),
        DruidTaskStatus(state=State.FAILED, error_msg="no"),
        DruidTaskStatus(state=State.SUCCESS, rows_processed=0, attempts=[AttemptRecord(attempt=1)]),
    ]
    for before in statuses:
        for after in statuses:
            result: dict[str, Any] = before.to_raw()
            for key, value in status_patch(before, after).items():
                if value is None:
                    result.pop(key, None)
                else:
                    result[key] = value
            assert result == after.to_raw()


def test_history_keeps_the_last_attempts_in_order_and_each_once() -> None:
    history: list[AttemptRecord] = []
    for attempt in (2, 1, 3, 2):
        history = with_attempt(history, AttemptRecord(attempt=attempt, cause="NodeLost"), keep=2)
    assert [record.attempt for record in history] == [2, 3]


def test_only_success_and_failure_are_final() -> None:
    assert {state for state in State if state.is_final} == {State.SUCCESS, State.FAILED}


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0ms"),
        (850, "850ms"),
        (12_900, "12s"),
        (60_000, "1m"),
        (184_000, "3m4s"),
        (3_605_000, "1h"),
        (18_360_000, "5h6m"),
        (183_600_000, "2d3h"),
    ],
)
def test_duration_is_for_people(ms: int, text: str) -> None:
    assert duration_text(ms) == text


def test_time_has_whole_seconds_as_kubernetes_writes_it() -> None:
    assert time_text(1_769_853_600_999) == "2026-01-31T10:00:00Z"
