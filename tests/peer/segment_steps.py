"""
Random lives of a datasource: tasks lock, allocate, append, replace, publish, mark and kill on a few hours of a day.

What a task does depends on what it was answered before, so a life is written down while our side lives it, and given to
Druid's side (`Segments.java`) afterwards. A step is the JSON object that is read there: `do` names it, `now` is the
clock, which only goes on. The same seed makes the same life.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from druid_core.instant import format_instant, parse_instant

Step = dict[str, Any]

DATA_SOURCE = "web"
_BEGIN_MS = parse_instant("2026-03-01T12:00:00.000Z")
_MIDNIGHT_MS = parse_instant("2026-01-01T00:00:00.000Z")
_HOUR_MS = 3_600_000
_MOST_TASKS = 5

_DOINGS = {
    "lock": 14,
    "allocate": 22,
    "append": 12,
    "publish": 8,
    "replace": 14,
    "start": 5,
    "finish": 3,
    "mark unused": 1,
    "mark to upgrade": 2,
    "list used": 4,
    "list unused": 3,
    "by id": 2,
    "upgraded": 2,
    "nuke": 2,
    "move": 2,
    "release": 2,
    "look": 6,
}


@dataclass
class _Task:
    """What the author of the life knows of one task."""

    id: str
    locks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    allocated: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    has_replaced: bool = False
    """It publishes once, as every task does. Druid copies what it copied before when it publishes again."""


@dataclass
class Life:
    """The author: asks for the next step, and is told what our side answered."""

    random: Random
    steps: list[Step] = field(default_factory=list[Step])
    _now_ms: int = _BEGIN_MS
    _started: int = 0
    _tasks: dict[str, _Task] = field(default_factory=dict[str, _Task])
    _published: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    _unused: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _granularities: tuple[str, ...] = ("TIME_CHUNK",)
    """What is locked for what is allocated: in one life of four segments too."""

    def __post_init__(self) -> None:
        if self.random.random() < 0.25:
            self._granularities = ("TIME_CHUNK", "SEGMENT")

    def next(self) -> Step:
        """The next step, written down."""
        self._now_ms += self.random.choice((1, 2, 1000))
        step = (None if self._tasks else self._start()) or self._any()
        self.steps.append({"now": self._now_ms, **step})
        return self.steps[-1]

    def hear(self, step: Step, result: Any) -> None:
        """What came of a step that was not refused."""
        if step["do"] != "act" or result is None:
            return
        task = self._tasks[step["task"]]
        match step["action"]["type"]:
            case "lockTryAcquire":
                if result not in task.locks:
                    task.locks.append(result)
            case "segmentAllocate":
                if result not in task.allocated:
                    task.allocated.append(result)
            case "segmentTransactionalAppend" | "segmentTransactionalReplace" | "segmentTransactionalInsert":
                self._published.update({each["identifier"]: each for each in result["segments"]})
                if step["action"]["type"] == "segmentTransactionalReplace" and result["segments"]:
                    task.has_replaced = True
            case "segmentListUnused":
                self._unused = result
            case _:
                pass

    def _any(self) -> Step:
        while True:
            (doing,) = self.random.choices(list(_DOINGS), list(_DOINGS.values()))
            step = self._step(doing, self.random.choice(list(self._tasks.values())))
            if step is not None:
                return step

    def _step(self, doing: str, task: _Task) -> Step | None:
        match doing:
            case "start":
                return self._start() if len(self._tasks) < _MOST_TASKS else None
            case "finish":
                del self._tasks[task.id]
                return {"do": "finish", "task": task.id}
            case "look":
                return {"do": "look"}
            case _:
                action = self._action(doing, task)
                return None if action is None else {"do": "act", "task": task.id, "action": action}

    def _start(self) -> Step:
        self._started += 1
        task_id = f"t{self._started}"
        self._tasks[task_id] = _Task(task_id)
        return {
            "do": "start",
            "task": task_id,
            "group": self.random.choice((task_id, task_id, "together")),
            "dataSource": DATA_SOURCE,
            "priority": self.random.choice((50, 50, 50, 75)),
        }

    def _action(self, doing: str, task: _Task) -> dict[str, Any] | None:
        pick = self.random.choice
        match doing:
            case "lock":
                kind = pick(("REPLACE", "REPLACE", "APPEND", "EXCLUSIVE", "SHARED"))
                return {"type": "lockTryAcquire", "lockType": kind, "interval": self._interval()}
            case "release":
                return {"type": "lockRelease", "interval": pick(task.locks)["interval"]} if task.locks else None
            case "allocate":
                return self._allocation()
            case "append" | "publish":
                return self._appended(task, "Append" if doing == "append" else "Insert")
            case "replace":
                return None if task.has_replaced else self._replacement(task)
            case "mark unused":
                return {"type": "markSegmentsAsUnused", "dataSource": DATA_SOURCE, "interval": self._interval()}
            case "list used":
                visibility = pick(("ONLY_VISIBLE", "INCLUDING_OVERSHADOWED"))
                intervals = [self._interval() for _ in range(pick((1, 1, 2)))]
                question = {"dataSource": DATA_SOURCE, "intervals": intervals, "visibility": visibility}
                return {"type": "segmentListUsed", **question}
            case "list unused":
                return {"type": "segmentListUnused", "dataSource": DATA_SOURCE, "interval": self._interval()}
            case _:
                return self._about_published(doing)

    def _about_published(self, doing: str) -> dict[str, Any] | None:
        if not self._published:
            return None
        ids = self.random.sample(sorted(self._published), min(2, len(self._published)))
        segments = [self._published[each] for each in ids]
        match doing:
            case "mark to upgrade":
                return {"type": "markSegmentsToUpgrade", "dataSource": DATA_SOURCE, "upgradeSegments": segments}
            case "by id":
                return {"type": "retrieveSegmentsById", "dataSource": DATA_SOURCE, "segmentIds": ids}
            case "upgraded":
                way = self.random.choice(("From", "To"))
                return {"type": f"retrieveUpgraded{way}SegmentIds", "dataSource": DATA_SOURCE, "segmentIds": ids}
            case "move":
                moved = [each | {"loadSpec": {"type": "local", "path": f"/moved/{self._now_ms}"}} for each in segments]
                return {"type": "segmentMetadataUpdate", "segments": moved}
            case _:
                return {"type": "segmentNuke", "segments": self._unused[:1]} if self._unused else None

    def _allocation(self) -> dict[str, Any]:
        pick = self.random.choice
        hashed = {
            "type": "hashed",
            "partitionDimensions": ["page"],
            "bucketId": 1,
            "numPartitions": 3,
            "partitionFunction": "murmur3_32_abs",
        }
        ranged = {
            "type": "single_dim",
            "partitionDimension": "page",
            "bucketId": 0,
            "start": None,
            "end": "m",
            "numBuckets": 2,
        }
        return {
            "type": "segmentAllocate",
            "dataSource": DATA_SOURCE,
            "timestamp": format_instant(_MIDNIGHT_MS + self.random.randrange(6) * _HOUR_MS + 1_234_567),
            "queryGranularity": pick(({"type": "none"}, {"type": "none"}, "HOUR", "DAY")),
            "preferredSegmentGranularity": pick(("HOUR", "DAY", "DAY", "SIX_HOUR")),
            "sequenceName": (sequence := pick(("a", "b", "c", "d", "e"))),
            "previousSegmentId": pick((None, None, "x", "y")),
            # always the same for a sequence: where it is not, several identities fit, and Druid's database picks one
            "skipSegmentLineageCheck": sequence in ("a", "b", "c"),
            "shardSpecFactory": pick(({"type": "numbered"}, {"type": "numbered"}, None, hashed, ranged)),
            "lockGranularity": pick(self._granularities),
            "taskLockType": pick(("APPEND", "APPEND", "APPEND", "EXCLUSIVE", "SHARED")),
        }

    def _appended(self, task: _Task, way: str) -> dict[str, Any] | None:
        if not task.allocated:
            return None
        count = min(self.random.choice((1, 1, 2)), len(task.allocated))
        segments = [self._segment(identity) for identity in self.random.sample(task.allocated, count)]
        return {"type": f"segmentTransactional{way}", "segments": segments}

    def _replacement(self, task: _Task) -> dict[str, Any] | None:
        locks = [lock for lock in task.locks if lock["type"] in ("REPLACE", "EXCLUSIVE") and not lock["revoked"]]
        if not locks:
            return None
        lock = self.random.choice(locks)
        interval = lock["interval"] if self.random.random() < 0.8 else self._interval()
        size = self.random.randint(1, 3)
        spec = self.random.choice((self._numbered, self._ranged, self._hashed, self._tombstone))
        segments = [
            self._segment(
                {
                    "dataSource": DATA_SOURCE,
                    "interval": interval,
                    "version": lock["version"],
                    "shardSpec": spec(number, size),
                }
            )
            for number in range(1 if spec == self._tombstone else size)
        ]
        way = "Replace" if lock["type"] == "REPLACE" else "Insert"
        return {"type": f"segmentTransactional{way}", "segments": segments}

    @staticmethod
    def _numbered(number: int, size: int) -> dict[str, Any]:
        return {"type": "numbered", "partitionNum": number, "partitions": size}

    @staticmethod
    def _ranged(number: int, size: int) -> dict[str, Any]:
        return {
            "type": "range",
            "dimensions": ["page"],
            "start": [f"p{number}"] if number else None,
            "end": [f"p{number + 1}"] if number < size - 1 else None,
            "partitionNum": number,
            "numCorePartitions": size,
        }

    @staticmethod
    def _hashed(number: int, size: int) -> dict[str, Any]:
        return {
            "type": "hashed",
            "partitionNum": number,
            "partitions": size,
            "bucketId": number,
            "numBuckets": size,
            "partitionDimensions": [],
            "partitionFunction": "murmur3_32_abs",
        }

    @staticmethod
    def _tombstone(number: int, size: int) -> dict[str, Any]:
        return {"type": "tombstone", "partitionNum": 0, "partitions": 0}

    def _segment(self, identity: dict[str, Any]) -> dict[str, Any]:
        return {
            **identity,
            "loadSpec": {"type": "local", "path": f"/deep/{self._now_ms}"},
            "dimensions": "page,user",
            "metrics": "count",
            "binaryVersion": 9,
            "size": 7628,
        }

    def _interval(self) -> str:
        start, hours = self.random.choice(((0, 24), (0, 24), (0, 6), (2, 1), (3, 1), (2, 2)))
        begin_ms = _MIDNIGHT_MS + start * _HOUR_MS
        return f"{format_instant(begin_ms)}/{format_instant(begin_ms + hours * _HOUR_MS)}"
