"""The lock policy as a table, and as a state machine that no sequence of requests can break."""

from itertools import combinations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval
from druid_core.lock import LockType, SegmentLock, TaskLock
from overlord.lock.conflict import (
    APPEND_VERSION,
    Create,
    HeldLock,
    Join,
    LockRequest,
    Mismatch,
    Partition,
    Refuse,
    decide,
    may_coexist,
    next_version,
    superseded_by,
)

EXCLUSIVE, SHARED, REPLACE, APPEND = LockType.EXCLUSIVE, LockType.SHARED, LockType.REPLACE, LockType.APPEND


def held(
    type: LockType = EXCLUSIVE,
    span: tuple[int, int] = (0, 10),
    *,
    group: str = "other",
    priority: int = 50,
    revoked: bool = False,
    tasks: tuple[str, ...] = ("t0",),
    version: str = "2026-01-01T00:00:00.000Z",
    partition: int | None = None,
) -> HeldLock:
    lock = TaskLock(
        type=type,
        group_id=group,
        data_source="web",
        interval=Interval(*span),
        version=version,
        priority=priority,
        revoked=revoked,
    )
    if partition is not None:
        lock = SegmentLock(**dict(lock), partition_id=partition)
    return HeldLock(lock, frozenset(tasks))


def request(
    type: LockType = EXCLUSIVE,
    span: tuple[int, int] = (0, 10),
    *,
    group: str = "mine",
    priority: int = 50,
    task: str = "t1",
    partition: int | None = None,
) -> LockRequest:
    place = None if partition is None else Partition("2026-01-01T00:00:00.000Z", partition)
    return LockRequest(task, group, type, Interval(*span), priority, place)


def test_a_lock_on_free_time_is_created() -> None:
    assert decide(request(), []) == Create()


def test_locks_that_only_touch_do_not_meet() -> None:
    assert decide(request(span=(10, 20)), [held(span=(0, 10))]) == Create()


def test_second_peon_of_the_group_shares_the_lock() -> None:
    theirs = held(group="mine")
    assert decide(request(), [theirs]) == Join(theirs)


def test_a_narrower_request_of_the_group_shares_the_wider_lock() -> None:
    theirs = held(group="mine", span=(0, 100))
    assert decide(request(span=(20, 30)), [theirs]) == Join(theirs)


def test_a_wider_request_of_the_same_group_is_blocked_by_its_own_narrower_lock() -> None:
    theirs = held(group="mine", span=(0, 5))
    assert decide(request(span=(0, 10)), [theirs]) == Refuse(theirs)


def test_a_task_of_the_group_with_another_priority_never_gets_its_lock() -> None:
    theirs = held(group="mine", priority=50)
    assert decide(request(priority=60), [theirs]) == Mismatch(theirs)


def test_a_lock_without_a_priority_is_shared_by_all_of_its_group() -> None:
    theirs = held(group="mine")
    old = HeldLock(theirs.lock.model_copy(update={"priority": None}), theirs.holders)
    assert decide(request(), [old]) == Join(old)


def test_asking_again_for_a_revoked_lock_answers_that_it_is_revoked() -> None:
    lost = held(group="mine", tasks=("t1",), revoked=True)
    assert decide(request(), [lost]) == Join(lost)


def test_of_several_locks_of_the_group_the_lost_one_of_the_task_itself_is_told_first() -> None:
    lost, wider = held(group="mine", tasks=("t1",), revoked=True), held(group="mine", span=(0, 20), tasks=("t1", "t2"))
    assert decide(request(), [wider, lost]) == Join(lost)


def test_of_several_locks_of_the_group_a_newcomer_joins_the_active_one() -> None:
    lost, active = held(group="mine", revoked=True), held(group="mine", span=(0, 20))
    assert decide(request(), [lost, active]) == Join(active)


def test_a_revoked_lock_of_others_stands_in_nobodys_way() -> None:
    assert decide(request(), [held(revoked=True)]) == Create()


@pytest.mark.parametrize("type", LockType)
def test_equal_priority_never_revokes(type: LockType) -> None:
    theirs = held(EXCLUSIVE, priority=50)
    assert decide(request(type, priority=50), [theirs]) == Refuse(theirs)


@pytest.mark.parametrize("type", LockType)
def test_strictly_higher_priority_revokes_all_in_its_way(type: LockType) -> None:
    first, second = held(EXCLUSIVE, (0, 5), priority=25), held(EXCLUSIVE, (5, 10), priority=49)
    assert decide(request(type, priority=50), [first, second]) == Create(revoke=(first, second))


def test_nothing_is_revoked_when_one_holder_cannot_be() -> None:
    weak, strong = held(span=(0, 5), priority=25), held(span=(5, 10), priority=75)
    assert decide(request(priority=50), [weak, strong]) == Refuse(strong)


def test_only_what_cannot_coexist_is_revoked() -> None:
    inside, outside = held(APPEND, (2, 4), priority=25), held(APPEND, (8, 12), priority=25)
    assert decide(request(REPLACE, (0, 10), priority=50), [inside, outside]) == Create(revoke=(outside,))


def test_a_group_that_changes_its_lock_type_in_place_gets_a_second_lock() -> None:
    theirs = held(EXCLUSIVE, group="mine")
    assert decide(request(APPEND), [theirs]) == Create()


def test_a_change_of_type_on_another_interval_is_refused() -> None:
    theirs = held(EXCLUSIVE, (0, 20), group="mine")
    assert decide(request(APPEND, (0, 10)), [theirs]) == Refuse(theirs)


def test_a_segment_lock_blocks_a_time_chunk_but_is_not_shared_with_it() -> None:
    theirs = held(group="mine", span=(0, 20), partition=0)
    assert decide(request(span=(0, 10)), [theirs]) == Refuse(theirs)


def test_a_group_that_changes_its_granularity_in_place_gets_a_second_lock() -> None:
    segment, chunk = held(group="mine", partition=0), held(group="mine")
    assert decide(request(), [segment]) == Create()
    assert decide(request(partition=0), [chunk]) == Create()


def test_partitions_of_one_interval_do_not_meet() -> None:
    assert decide(request(partition=1), [held(partition=0)]) == Create()


def test_segment_locks_of_overlapping_intervals_meet_whatever_their_partitions() -> None:
    theirs = held(span=(0, 20), partition=0)
    assert decide(request(span=(0, 10), partition=1), [theirs]) == Refuse(theirs)


def test_a_segment_lock_is_shared_by_the_group_for_the_same_partition() -> None:
    theirs, other = held(group="mine", span=(0, 20), partition=1), held(group="mine", span=(0, 20), partition=2)
    assert decide(request(span=(0, 10), partition=1), [theirs, other]) == Join(theirs)


def test_shared_segment_locks_stand_beside_each_other_and_are_never_one() -> None:
    assert decide(request(SHARED, partition=1), [held(SHARED, group="mine", partition=1)]) == Create()


@pytest.mark.parametrize("type", [REPLACE, APPEND])
def test_what_is_about_chunks_of_time_gets_a_segment_only_where_nothing_is(type: LockType) -> None:
    theirs = held(type, priority=0)
    assert decide(request(type, partition=0, priority=75), [theirs]) == Refuse(theirs)
    assert decide(request(type, partition=0), []) == Create()


def test_a_segment_lock_is_lost_to_a_higher_priority() -> None:
    weak = held(partition=0, priority=25)
    assert decide(request(partition=0), [weak]) == decide(request(), [weak]) == Create(revoke=(weak,))


TABLE = {
    # request: (EXCLUSIVE, SHARED, REPLACE, APPEND), each lock inside the request / around it
    EXCLUSIVE: ("no", "no", "no", "no"),
    SHARED: ("no", "yes", "no", "no"),
    REPLACE: ("no", "no", "no", "inside"),
    APPEND: ("no", "no", "around", "yes"),
}


@pytest.mark.parametrize("requested", LockType)
@pytest.mark.parametrize("active", LockType)
def test_coexistence_follows_druids_table(requested: LockType, active: LockType) -> None:
    expected = TABLE[requested][list(LockType).index(active)]
    inside = may_coexist(requested, Interval(0, 10), held(active, (2, 8)).lock)
    around = may_coexist(requested, Interval(2, 8), held(active, (0, 10)).lock)
    across = may_coexist(requested, Interval(0, 6), held(active, (4, 10)).lock)
    assert (inside, around, across) == (
        expected in ("yes", "inside"),
        expected in ("yes", "around"),
        expected == "yes",
    )


def test_a_wider_append_lock_supersedes_the_tasks_own_narrower_ones() -> None:
    narrow = held(APPEND, (0, 5), group="mine", tasks=("t1",), version=APPEND_VERSION)
    of_others = held(APPEND, (5, 8), group="mine", tasks=("t2",), version=APPEND_VERSION)
    granted = held(APPEND, (0, 10), group="mine", tasks=("t1",), version=APPEND_VERSION)
    assert superseded_by(granted.lock, "t1", [narrow, of_others, granted]) == [narrow]


def test_what_lies_on_a_superseded_interval_goes_with_it_and_a_loss_too() -> None:
    narrow = held(APPEND, (0, 5), group="mine", tasks=("t1",), version=APPEND_VERSION, revoked=True)
    lost = held(EXCLUSIVE, (0, 5), group="mine", tasks=("t1",), revoked=True)
    of_a_segment = held(APPEND, (0, 5), group="mine", tasks=("t1",), version=APPEND_VERSION, partition=0)
    granted = held(APPEND, (0, 10), group="mine", version=APPEND_VERSION)
    assert superseded_by(granted.lock, "t1", [narrow, lost, of_a_segment]) == [narrow, lost]


def test_other_lock_types_supersede_nothing() -> None:
    narrow = held(EXCLUSIVE, (0, 5), group="mine", tasks=("t1",))
    assert superseded_by(held(EXCLUSIVE, (0, 10), group="mine").lock, "t1", [narrow]) == []


NOW = parse_instant("2026-03-01T12:00:00.000Z")


@pytest.mark.parametrize(
    ("type", "earlier", "expected"),
    [
        pytest.param(EXCLUSIVE, [], "2026-03-01T12:00:00.000Z", id="the clock's reading"),
        pytest.param(EXCLUSIVE, ["2026-03-01T11:59:59.999Z"], "2026-03-01T12:00:00.000Z", id="older ones do not count"),
        pytest.param(EXCLUSIVE, ["2026-03-01T12:00:00.000Z"], "2026-03-01T12:00:00.001Z", id="the same millisecond"),
        pytest.param(REPLACE, ["2027-01-01T00:00:00.000Z"], "2027-01-01T00:00:00.001Z", id="the clock went back"),
        pytest.param(SHARED, ["v9", "2026-99-99T00:00:00.000Z"], "2026-03-01T12:00:00.000Z", id="no instants"),
        pytest.param(APPEND, ["2027-01-01T00:00:00.000Z"], APPEND_VERSION, id="APPEND is older than everything"),
    ],
)
def test_the_version_of_a_new_lock_is(type: LockType, earlier: list[str], expected: str) -> None:
    assert next_version(type, NOW, earlier) == expected


SPANS = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda span: (span[0], span[0] + span[1]))


class LockboxMachine(RuleBasedStateMachine):
    """Tasks of three groups ask, release and finish in any order, on a clock that also goes back."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: list[HeldLock] = []
        self.versions: dict[int, str] = {}  # instant -> newest version that was ever held there, APPEND aside

    @rule(
        type=st.sampled_from(LockType),
        span=SPANS,
        group=st.sampled_from(["g0", "g1", "g2"]),
        member=st.integers(0, 2),
        now_ms=st.integers(0, 50),
    )
    def ask(self, type: LockType, span: tuple[int, int], group: str, member: int, now_ms: int) -> None:
        priority = 25 * int(group[1])
        wish = request(type, span, group=group, priority=priority, task=f"{group}.{member}")
        active_before = [each for each in self.locks if not each.lock.revoked]
        match decide(wish, self.locks):
            case Refuse(holder):
                assert holder.lock.interval.overlaps(wish.interval)
                assert not holder.lock.revoked
            case Join(theirs):
                assert theirs.lock.group_id == group
                assert theirs.lock.interval.covers(wish.interval)
                self.locks.remove(theirs)
                self.locks.append(HeldLock(theirs.lock, theirs.holders | {wish.task_id}))
            case Mismatch():
                raise AssertionError("all tasks of a group have one priority here")
            case Create(revoke):
                for lost in revoke:
                    assert (lost.lock.priority or 0) < priority
                    self.locks.remove(lost)
                    self.locks.append(HeldLock(lost.lock.model_copy(update={"revoked": True}), lost.holders))
                earlier = [self.versions[at] for at in range(*span) if at in self.versions]
                version = next_version(type, now_ms, earlier)
                if type is not APPEND:
                    assert all(each < version for each in earlier)
                    self.versions.update(dict.fromkeys(range(*span), version))
                self.locks.append(
                    held(type, span, group=group, priority=priority, tasks=(wish.task_id,), version=version)
                )
        higher = [each for each in active_before if (each.lock.priority or 0) >= priority]
        still = [each.lock for each in self.locks if not each.lock.revoked]
        assert all(each.lock in still for each in higher)

    @rule(group=st.sampled_from(["g0", "g1", "g2"]), member=st.integers(0, 2))
    def finish(self, group: str, member: int) -> None:
        rest = [HeldLock(each.lock, each.holders - {f"{group}.{member}"}) for each in self.locks]
        self.locks = [each for each in rest if each.holders]

    @invariant()
    def no_two_active_locks_of_different_groups_contradict_each_other(self) -> None:
        active = [each.lock for each in self.locks if not each.lock.revoked]
        for one, other in combinations(active, 2):
            if one.interval.overlaps(other.interval) and one.group_id != other.group_id:
                assert may_coexist(one.type, one.interval, other)

    @invariant()
    def every_task_that_asks_again_is_answered_the_same(self) -> None:
        for each in self.locks:
            for task_id in each.holders:
                again = LockRequest(
                    task_id, each.lock.group_id, each.lock.type, each.lock.interval, each.lock.priority or 0
                )
                assert isinstance(decide(again, self.locks), Join)


TestLockbox = LockboxMachine.TestCase
TestLockbox.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_version_is_a_text_of_druids_form() -> None:
    assert next_version(EXCLUSIVE, 0, []) == format_instant(0) == "1970-01-01T00:00:00.000Z"
