"""
Who gets a lock: the whole policy, pure.

A lock is held by all tasks of one group that asked for it (Druid: TaskLockPosse). Whether a request joins one, gets
one of its own, takes it from tasks of lower priority or goes without is decided here from what is held now, in
Druid's order: overlap first, group second, type third, priority last. Druid: TaskLockbox.createOrFindLockPosse
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval
from druid_core.lock import LockGranularity, LockType, SegmentLock, TaskLock

APPEND_VERSION = "1970-01-01T00:00:00.000Z"
"""What an APPEND lock writes into a chunk that is empty: older than any version that a clock gives."""

INSTANT_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
"""A version that a clock gave, for Python and Postgres alike."""

_INSTANT = re.compile(INSTANT_PATTERN)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock and the tasks that share it. Druid: TaskLockPosse"""

    lock: TaskLock
    holders: frozenset[str]


@dataclass(frozen=True, slots=True)
class Partition:
    """The one segment of an interval that a segment lock is about."""

    version: str
    id: int


@dataclass(frozen=True, slots=True)
class LockRequest:
    """One task's wish for one lock. Druid: TimeChunkLockRequest, SpecificSegmentLockRequest"""

    task_id: str
    group_id: str
    type: LockType
    interval: Interval
    priority: int
    partition: Partition | None = None
    """Of the segment lock that is asked for; None: a time chunk lock."""


@dataclass(frozen=True, slots=True)
class Join:
    """Share the group's lock; where it is revoked, that is how the task learns of it."""

    held: HeldLock


@dataclass(frozen=True, slots=True)
class Create:
    """A lock of its own, after these are revoked."""

    revoke: tuple[HeldLock, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """No lock now, because of this one."""

    holder: HeldLock


@dataclass(frozen=True, slots=True)
class Mismatch:
    """No lock ever: the group's own, which is to be shared, has another priority than the task."""

    held: HeldLock


Decision = Join | Create | Refuse | Mismatch


def decide(request: LockRequest, held: Iterable[HeldLock]) -> Decision:
    """What becomes of `request`, given all locks of its datasource, the revoked ones included."""
    overlapping = [each for each in held if each.lock.interval.overlaps(request.interval)]
    candidates = [each for each in overlapping if _meet(request, each.lock)]
    if not candidates:
        return Create()
    reusable = [each for each in overlapping if _is_reusable(request, each.lock)]
    if reusable:
        best = min(reusable, key=lambda each: _preference(request, each))
        is_own = request.task_id in best.holders or best.lock.priority in (None, request.priority)
        return Join(best) if is_own else Mismatch(best)
    active = [each for each in candidates if not each.lock.revoked]
    if request.partition is not None and request.type in (LockType.REPLACE, LockType.APPEND):
        # these two are about whole chunks of time; over one segment they stand alone or not at all
        return Refuse((active or candidates)[0])
    in_the_way = [each for each in active if not may_coexist(request.type, request.interval, each.lock)]
    undefeated = [each for each in in_the_way if request.priority <= (each.lock.priority or 0)]
    if not undefeated:
        return Create(revoke=tuple(in_the_way))
    if all(_is_same_place_of_the_group(request, each) for each in candidates):
        return Create()
    return Refuse(undefeated[0])


def blocker(request: LockRequest, held: Iterable[HeldLock]) -> HeldLock | None:
    """The lock because of which `request` gets none now; None where it would get one."""
    decision = decide(request, held)
    return decision.holder if isinstance(decision, Refuse) else None


def may_coexist(requested: LockType, interval: Interval, lock: TaskLock) -> bool:
    """Whether a lock of this type on `interval` may stand beside an active `lock` that overlaps it."""
    match requested, lock.type:
        case (LockType.SHARED, LockType.SHARED) | (LockType.APPEND, LockType.APPEND):
            return True
        case LockType.REPLACE, LockType.APPEND:
            return interval.covers(lock.interval)
        case LockType.APPEND, LockType.REPLACE:
            return lock.interval.covers(interval)
        case _:
            return False


def superseded_by(granted: TaskLock, task_id: str, held: Iterable[HeldLock]) -> list[HeldLock]:
    """
    The task's own time chunk locks that `granted`, new to it, makes needless.

    Of `held`, which are the locks that its request overlaps, they are those on the interval of a narrower APPEND lock
    of its group. Druid: TaskLockPosse.supersedes
    """
    if granted.type is not LockType.APPEND or granted.granularity is not LockGranularity.TIME_CHUNK or granted.revoked:
        return []
    own = [each for each in held if task_id in each.holders and each.lock.granularity is LockGranularity.TIME_CHUNK]
    needless = {
        each.lock.interval
        for each in own
        if each.lock.type is LockType.APPEND
        and each.lock.group_id == granted.group_id
        and each.lock.version <= granted.version
        and each.lock.interval != granted.interval
        and granted.interval.covers(each.lock.interval)
    }
    return [each for each in own if each.lock.interval in needless]


def next_version(lock_type: LockType, now_ms: int, earlier: Iterable[str]) -> str:
    """
    The version of a new lock: now, and newer than every version in `earlier` even when the clock went back.

    `earlier` are the versions of the locks and segments that overlap it. Those that are no instants (they come from
    elsewhere) cannot be surpassed by one and are left alone.
    """
    if lock_type is LockType.APPEND:
        return APPEND_VERSION
    version = format_instant(now_ms)
    newest = max((each for each in earlier if each >= version and _is_instant(each)), default=None)
    return version if newest is None else format_instant(parse_instant(newest) + 1)


def _meet(request: LockRequest, lock: TaskLock) -> bool:
    """Whether two that overlap are about the same thing: different partitions of one interval are not."""
    if request.partition is None or not isinstance(lock, SegmentLock) or lock.interval != request.interval:
        return True
    return lock.partition_id == request.partition.id


def _is_reusable(request: LockRequest, lock: TaskLock) -> bool:
    if lock.type is not request.type or lock.group_id != request.group_id or not lock.interval.covers(request.interval):
        return False
    if request.partition is None:
        return lock.granularity is LockGranularity.TIME_CHUNK
    return isinstance(lock, SegmentLock) and lock.is_shared and lock.partition_id == request.partition.id


def _preference(request: LockRequest, held: HeldLock) -> tuple[bool, bool, int, str]:
    """
    Which of several locks of the group to share; the least is best.

    What the task has itself comes first, and there a revoked one, so that no loss stays unsaid; among the others an
    active one, then the widest. (Druid throws when there are several.)
    """
    own = request.task_id in held.holders
    span = held.lock.interval.end_ms - held.lock.interval.start_ms
    return (not own, held.lock.revoked is not own, -span, held.lock.version)


def _is_same_place_of_the_group(request: LockRequest, held: HeldLock) -> bool:
    """A supervisor that changes its lock type keeps its place beside its own older lock."""
    return held.lock.group_id == request.group_id and held.lock.interval == request.interval


def _is_instant(version: str) -> bool:
    """Whether it has the very form that `format_instant` writes; only then does text order equal time order."""
    if _INSTANT.fullmatch(version) is None:
        return False
    try:
        parse_instant(version)
    except InvalidInput:
        return False
    return True
