"""
Random lives of a lockbox: episodes of steps that tasks of a few groups take on a few hours of a datasource.

A step is the JSON object that Druid's side reads (`Locks.java`): `do` names it, `now` is the clock, which only goes
on. The same seed makes the same episodes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from druid_core.instant import format_instant, parse_instant
from druid_core.interval import ETERNITY

Step = dict[str, Any]

STEPS_AN_EPISODE = 60
_BEGIN_MS = parse_instant("2026-03-01T12:00:00.000Z")
_FIRST_HOUR_MS = parse_instant("2026-01-01T00:00:00.000Z")
_HOUR_MS = 3_600_000
_HOURS = 8
_VERSIONS = ("1970-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z", "2026-02-02T00:00:00.000Z")

_MOODS: tuple[dict[str, int], ...] = (
    {"EXCLUSIVE": 6, "SHARED": 2, "REPLACE": 1, "APPEND": 1},
    {"EXCLUSIVE": 1, "SHARED": 6, "REPLACE": 1, "APPEND": 1},
    {"EXCLUSIVE": 1, "SHARED": 1, "REPLACE": 5, "APPEND": 8},
    {"EXCLUSIVE": 1, "SHARED": 1, "REPLACE": 1, "APPEND": 1},
)
"""How often each type is asked for; one mood an episode."""

_DOINGS = {
    "lockTryAcquire": 50,
    "segmentLockTryAcquire": 12,
    "lockRelease": 8,
    "start": 6,
    "finish": 5,
    "publish": 5,
    "lockAcquire": 2,
    "segmentLockAcquire": 2,
    "lockList": 3,
    "lockedIntervals": 4,
    "activeLocks": 4,
    "unlockAll": 2,
}


def episodes(seed: int) -> Iterator[list[Step]]:
    """Episodes of `STEPS_AN_EPISODE` steps without end."""
    for number in count():
        yield _Episode(Random(f"{seed} {number}")).steps()


@dataclass
class _Episode:
    random: Random
    tasks: list[str] = field(default_factory=list[str])
    """All that were ever started: a finished one may ask too."""
    now_ms: int = _BEGIN_MS
    spans: list[str] = field(default_factory=list[str])
    """Intervals that were asked for, for those who come back to them."""

    def steps(self) -> list[Step]:
        random = self.random
        self._mood = random.choice(_MOODS)
        self._mixes_priorities = random.random() < 0.15
        self._groups = [
            (f"g{number}", priority)
            for number, priority in enumerate(random.sample((0, 25, 50, 50, 75), random.randint(2, 4)))
        ]
        self._sources = ["web"] if random.random() < 0.8 else ["web", "web", "other"]
        # a group is of one datasource, but for a few
        self._home = {group: random.choice(self._sources) for group, _ in self._groups}
        steps = [self._timed(self._start()) for _ in range(random.randint(4, 9))]
        names, weights = list(_DOINGS), list(_DOINGS.values())
        while len(steps) < STEPS_AN_EPISODE:
            steps.append(self._timed(self._step(random.choices(names, weights)[0])))
        return steps

    def _timed(self, step: Step) -> Step:
        self.now_ms += self.random.choice((1, 1, 7, 1000, 3_600_000))
        return {**step, "now": self.now_ms}

    def _step(self, doing: str) -> Step:
        match doing:
            case "start":
                return self._start()
            case "finish" | "unlockAll":
                return {"do": doing, "task": self._task()}
            case "publish":
                return {"do": doing, "task": self._task(), "interval": self._interval(maybe_empty=False)}
            case "lockedIntervals" | "activeLocks":
                return {"do": doing, "filter": self._filter()}
            case _:
                return {"do": "act", "task": self._task(), "action": {"type": doing, **self._fields(doing)}}

    def _start(self) -> Step:
        random = self.random
        group, priority = random.choice(self._groups)
        if self._mixes_priorities and random.random() < 0.4:
            priority = random.choice((0, 25, 50, 75, 100))
        self.tasks.append(f"t{len(self.tasks) + 1}")
        source = self._home[group] if random.random() < 0.95 else random.choice(self._sources)
        return {"do": "start", "task": self.tasks[-1], "group": group, "priority": priority, "dataSource": source}

    def _fields(self, doing: str) -> dict[str, Any]:
        random = self.random
        if doing == "lockList":
            return {}
        fields: dict[str, Any] = {"interval": self._interval()}
        if doing == "lockRelease":
            return fields
        if doing.endswith("Acquire") and "Try" not in doing:
            fields["timeoutMs"] = 1
        if not doing.startswith("segment"):
            return {**fields, "lockType": None if random.random() < 0.02 else self._type()}
        fields |= {"lockType": self._type(), "version": random.choice(_VERSIONS)}
        if doing == "segmentLockAcquire":
            return {**fields, "partitionId": random.randrange(4)}
        return {**fields, "partitionIds": random.sample(range(4), random.randint(1, 3))}

    def _type(self) -> str:
        return self.random.choices(list(self._mood), list(self._mood.values()))[0]

    def _task(self) -> str:
        # the latest are the likeliest to be active
        recent = self.tasks[-8:]
        return self.random.choice(recent if self.random.random() < 0.9 else self.tasks)

    def _interval(self, *, maybe_empty: bool = True) -> str:
        random = self.random
        chance = random.random()
        if chance < 0.01:
            return str(ETERNITY)
        if chance < 0.02 and maybe_empty:
            return f"{_hour(3)}/{_hour(3)}"
        if chance < 0.55 and self.spans:
            return random.choice(self.spans)
        first = random.randrange(_HOURS)
        self.spans.append(f"{_hour(first)}/{_hour(first + random.choice((1, 1, 2, 2, 3, 5)))}")
        return self.spans[-1]

    def _filter(self) -> dict[str, Any]:
        random = self.random
        context = random.choice(
            (
                None,
                {},
                {"useConcurrentLocks": True},
                {"useConcurrentLocks": False, "taskLockType": "APPEND"},
                {"taskLockType": "APPEND"},
                {"taskLockType": "REPLACE"},
            )
        )
        return {
            "datasource": random.choice(("web", "web", "web", "other", "none")),
            "priority": random.choice((0, 0, 25, 26, 50, 75, 100)),
            "intervals": random.choice((None, None, [self._interval(), self._interval()])),
            "context": context,
        }


def _hour(number: int) -> str:
    return format_instant(_FIRST_HOUR_MS + number * _HOUR_MS)
