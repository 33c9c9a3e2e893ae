"""What is said of a task, given its rows and what else there is."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from overlord.lock.conflict import HeldLock
from overlord.task.assign import RunnerLoad
from overlord.task.explain import Surroundings, explain
from overlord.task.line import Standing

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00.000Z
ROW: dict[str, Any] = {
    "id": "t",
    "active": True,
    "status_payload": b'{"id":"t","status":"RUNNING","duration":-1,"errorMsg":null,"location":null}',
    "attempt": 1,
    "state": "PENDING",
    "data_source": "web",
    "task_type": "noop",
    "group_id": "g",
    "priority": 50,
    "lock_type": "EXCLUSIVE",
    "lock_intervals": "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z",
    "runner_id": "r",
    "runner_wish": None,
    "not_before_ms": None,
    "waiting_for": None,
    "host": None,
    "port": -1,
    "tls_port": -1,
    "k8s_pod_name": None,
    "reason_before": None,
}


def lock(group: str, *holders: str, priority: int = 50, revoked: bool = False) -> HeldLock:
    return HeldLock(
        TaskLock(
            type=LockType.EXCLUSIVE,
            group_id=group,
            data_source="web",
            interval=Interval.parse("2026-01-01/2026-02-01"),
            version="v",
            priority=priority,
            revoked=revoked,
        ),
        frozenset(holders),
    )


@dataclass(frozen=True)
class Case:
    why: str
    row: dict[str, Any]
    reason: str
    message: str
    runners: list[RunnerLoad] = field(default_factory=list[RunnerLoad])
    place: int = 1
    held: list[HeldLock] = field(default_factory=list[HeldLock])


CASES = [
    Case(
        "a row without an attempt",
        {"state": None, "attempt": None},
        "QUEUED",
        "It was stored by another program, and is taken into the queue within seconds",
    ),
    Case(
        "locks that have just become free",
        {"state": "WAITING"},
        "QUEUED",
        "Its locks are free, and are its own with the next look at the queue",
    ),
    Case("locks of its own group", {"state": "WAITING"}, "QUEUED", "Its locks are free", held=[lock("g", "sister")]),
    Case(
        "locks of tasks that must give way",
        {"state": "WAITING"},
        "QUEUED",
        "Its locks are free",
        held=[lock("other", "low", priority=10)],
    ),
    Case("locks that were revoked", {"state": "WAITING"}, "QUEUED", "free", held=[lock("other", "x", revoked=True)]),
    Case(
        "a lock that several share is one task's here",
        {"state": "WAITING"},
        "LOCK_HELD",
        "Task [a] of priority 50 holds the EXCLUSIVE lock on 2026-01-01T00:00:00.000Z/2026-02-01T00:00:00.000Z of web",
        held=[lock("other", "b", "a")],
    ),
    Case(
        "the time of the next attempt has not come",
        {"attempt": 3, "not_before_ms": NOW_MS + 1000, "reason_before": "OOMKilled"},
        "BACKING_OFF",
        "Attempt 2 ended: OOMKilled. Attempt 3 begins at 2026-01-01T00:00:01.000Z at the earliest",
    ),
    Case("its time has come", {"attempt": 3, "not_before_ms": NOW_MS}, "NO_RUNNER", "No runner that takes tasks"),
    Case(
        "a slot is free",
        {},
        "NO_SLOT",
        "Place 1 in line: one of the 2 free slots is its own with the next look at the queue",
        runners=[RunnerLoad("r", 2, 1), RunnerLoad("s", 1, 0)],
    ),
    Case(
        "slots are free, but for others",
        {},
        "NO_SLOT",
        "Place 7 in line for a slot: 2 of the 4 slots are taken",
        runners=[RunnerLoad("r", 4, 2)],
        place=7,
    ),
    Case(
        "runners that run other types",
        {"task_type": "compact"},
        "NO_RUNNER",
        "No runner runs tasks of type compact",
        runners=[RunnerLoad("r", 2, 0, frozenset({"noop"}))],
    ),
    Case(
        "the runner that it is meant for runs other types",
        {"task_type": "compact", "runner_wish": "r"},
        "NO_RUNNER",
        "The runner r, which alone may take it, runs no tasks of type compact",
        runners=[RunnerLoad("r", 2, 0, frozenset({"noop"})), RunnerLoad("s", 2, 0)],
    ),
    Case(
        "slots are free, but not for its type",
        {"task_type": "compact"},
        "NO_SLOT",
        "Place 1 in line for a slot: the one slot for type compact is taken",
        runners=[RunnerLoad("r", 2, 0, frozenset({"noop"})), RunnerLoad("s", 1, 1)],
    ),
    Case("no word of what it waits for", {"state": "STARTING"}, "STARTING", "The runner r is starting its peon"),
    Case("no location yet", {"state": "RUNNING"}, "RUNNING", "Its peon runs"),
    Case("TLS", {"state": "RUNNING", "host": "h", "tls_port": 8091}, "RUNNING", "Its peon runs at h:8091"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_explanations(case: Case) -> None:
    around = Surroundings(NOW_MS, 60_000, case.runners, {"t": Standing(case.place)}, {"web": case.held})
    told = explain(ROW | case.row, around)
    assert told.reason == case.reason
    assert case.message in told.message
    in_line = ROW["state"] if "state" not in case.row else case.row["state"]
    assert (told.place is not None) == (in_line in ("WAITING", "PENDING") and case.reason != "BACKING_OFF")
    assert (told.lock is not None) == (case.reason == "LOCK_HELD")
