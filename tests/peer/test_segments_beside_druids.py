"""
Druid's own task actions and ours live the same random lives: every answer, and all rows of segments, of identities
allocated, and of notes for replacements.

Druid's are its actions with its lockbox, its allocation queue and its metadata coordinator on a Derby in memory; ours
are the real actions on a real Postgres. `--steps` makes it longer, `--seed` makes it other. What is not followed
of Druid, and told of in docs/compatibility.md:

- where several locks of a task lie over one interval, or several tasks hold one REPLACE lock, Druid throws;
- of several locks Druid looks only at those that start last, and finds a segment uncovered that is not;
- a kill deletes no used segment;
- chunks of one version that overlap are an error for Druid's timeline;
- a task that replaces twice under one lock fails in Druid where identities are pending, on a duplicate key;
- a replacement by a task without a REPLACE lock is a success in Druid, which writes nothing;
- a segment that is noted for a replacement twice has two notes in Druid, and the notes for a task stay after its end
  where it let go of its REPLACE lock before;
- where a finer chunk lies over a part of a coarser one, Druid looks at the coarser one alone and finds no segment;
- a task that asks for a segment keeps the locks of those intervals, too, on which Druid found none for it;
- an identity for which no segment lock can be had stays in Druid's table of identities, though nobody was told of it;
- copies of several appended segments are numbered in the order of the appending, in Druid in any.
"""

import json
from collections import Counter
from itertools import count
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest

from druid_core.errors import NemetonError
from druid_core.granularity import parse_granularity
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval
from druid_core.lock import TaskLock
from druid_core.status import TaskStatus
from overlord.action.actor import Actor
from overlord.action.parse import parse_action
from overlord.action.perform import perform
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.task import store as tasks
from tests.peer.segment_steps import Life, Step
from tests.support.druid.workshop import Workshop
from tests.support.postgres import TestPostgres

STEPS, SEED, STEPS_A_LIFE = 800, 1, 50

_NOT_FOLLOWED = (
    "is held by multiple tasks",
    "multiple timechunk lockPosses",
    "has multiple locks for the same interval",
    "Failed to find lock posse",
    "are not covered by locks",
    "Cannot add overlapping segments",
)
"""Words of Druid where ours may go on; the life ends there."""


class Parted(Exception):
    """Druid stopped at a defect of its own."""


class OurSide:
    """Empty tables inside a transaction, and the tasks of a life."""

    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._requesters: dict[str, LockRequester] = {}

    async def take(self, step: Step) -> dict[str, Any]:
        """`{"result": …}`, `{"rows": …}`, or `{"error": …}` where the step is refused and leaves nothing behind."""
        match step["do"]:
            case "start":
                await self._start(step)
                return {}
            case "finish":
                await tasks.finish(self._tx, TaskStatus.success(step["task"]))
                return {}
            case "look":
                return {"rows": await self._rows()}
            case _:
                savepoint = self._tx.transaction()
                await savepoint.start()
                try:
                    asked = parse_action({"task": {"id": step["task"]}, "action": step["action"]})
                    actor = Actor("noop", self._requesters[step["task"]])
                    result = await perform(self._tx, actor, asked.action, step["now"])
                except NemetonError as error:
                    await savepoint.rollback()
                    return {"error": str(error)}
                await savepoint.commit()
                locks = await lockbox.held(self._tx, step["task"])
                answer = {"result": result, "locks": sorted(map(_lock, locks))}
                if step["action"]["type"] == "segmentAllocate" and result is not None:
                    answer["coarser"] = await self._has_coarser(result)
                return answer

    async def _has_coarser(self, identity: dict[str, Any]) -> bool:
        """Whether there is a wider chunk that an identity's interval is a part of."""
        start, end = identity["interval"].split("/")
        wider = """SELECT EXISTS (SELECT 1 FROM druid_segments
                   WHERE used AND datasource = $1 AND start <= $2 AND "end" >= $3 AND (start, "end") <> ($2, $3))"""
        return bool(await self._tx.fetchval(wider, identity["dataSource"], start, end))

    async def _start(self, step: Step) -> None:
        requester = LockRequester(step["task"], step["group"], step["dataSource"], step["priority"])
        self._requesters[requester.task_id] = requester
        await self._tx.execute(
            """
            INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
            VALUES ($1, $2, $3, '{}', '{}', TRUE, 'noop', $4)
            """,
            requester.task_id,
            format_instant(step["now"]),
            requester.data_source,
            requester.group_id,
        )

    async def _rows(self) -> dict[str, list[list[Any]]]:
        questions = {
            "segments": "SELECT id, used, payload, upgraded_from_segment_id FROM druid_segments",
            "pending": """SELECT id, sequence_name, sequence_prev_id, sequence_name_prev_id_sha1, payload,
                          task_allocator_id, upgraded_from_segment_id FROM druid_pendingsegments""",
            "upgrades": "SELECT task_id, segment_id, lock_version FROM druid_upgradesegments",
            "metadata": "SELECT datasource, commit_metadata_payload FROM druid_datasource",
        }
        found = {name: await self._tx.fetch(question) for name, question in questions.items()}
        return {
            name: [[orjson.loads(value) if isinstance(value, bytes) else value for value in row] for row in rows]
            for name, rows in found.items()
        }


def _lock(lock: TaskLock) -> str:
    return f"{lock.type} {lock.interval} {str(lock.revoked).lower()}"


def _shape(raw_segment: dict[str, Any], *, is_copy: bool) -> str:
    """A segment as a text; of a copy without its number, in which order several get theirs is nobody's promise."""
    fields = {name: value for name, value in raw_segment.items() if not (is_copy and name == "identifier")}
    if is_copy:
        fields["shardSpec"] = {k: v for k, v in raw_segment["shardSpec"].items() if k != "partitionNum"}
    return json.dumps(fields, sort_keys=True)


def _comparable_rows(rows: dict[str, list[list[Any]]]) -> dict[str, Any]:
    segments, pending = rows["segments"], rows["pending"]
    return {
        "ids": sorted(row[0] for row in [*segments, *pending]),
        "segments": sorted([_shape(row[2], is_copy=row[3] is not None), row[1], str(row[3])] for row in segments),
        "pending": sorted(
            [_shape(row[4], is_copy=row[6] is not None), *row[1:4], str(row[5]), str(row[6])] for row in pending
        ),
        "upgrades": sorted(set(map(tuple, rows["upgrades"]))),
        "metadata": sorted(rows["metadata"]),
    }


def _comparable(step: Step, result: Any, copies: set[str]) -> Any:
    """An answer without the order in which sets happen to be written."""
    match step["action"]["type"]:
        case "segmentTransactionalAppend" | "segmentTransactionalReplace" | "segmentTransactionalInsert":
            segments = [_shape(each, is_copy=each["identifier"] in copies) for each in result["segments"]]
            return sorted(segments), result["success"], result["retryable"], result["errorMsg"] is None
        case "segmentListUsed" | "segmentListUnused":
            return sorted(_shape(each, is_copy=each["identifier"] in copies) for each in result)
        case "retrieveSegmentsById":
            # by its number alone it is anybody's guess which of several copies is meant
            return sorted(
                each["identifier"] if each["identifier"] in copies else _shape(each, is_copy=False) for each in result
            )
        case "retrieveUpgradedToSegmentIds":
            return {parent: sorted(ids) for parent, ids in result["upgradedToSegmentIds"].items()}
        case _:
            return result


class Comparison:
    """Lives on both sides, and counts of what was answered."""

    def __init__(self, workshop: Workshop, connection: Connection) -> None:
        self._workshop = workshop
        self._connection = connection
        self.counts = Counter[str]()

    async def live(self, life: Life, steps: int) -> None:
        """Raises AssertionError at the first step that both sides take differently."""
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            ours = OurSide(self._connection)
            answers: list[dict[str, Any]] = []
            for _ in range(steps):
                step = life.next()
                answers.append(await ours.take(step))
                life.hear(step, answers[-1].get("result"))
        finally:
            await transaction.rollback()
        copies = _copies(answers)
        judged = self._workshop.judge_actions(life.steps)
        finished: set[str] = set()
        for number, (step, said, theirs) in enumerate(zip(life.steps, answers, judged, strict=True)):
            self.counts["steps"] += 1
            if step["do"] == "finish":
                finished.add(step["task"])
            if step["do"] == "look":
                notes = theirs["rows"]["upgrades"]
                theirs["rows"]["upgrades"] = [note for note in notes if note[0] not in finished]
            try:
                self._compare(step, said, theirs, copies)
            except Parted:
                self.counts["lives ended early"] += 1
                return
            except AssertionError as difference:
                story = "\n".join(json.dumps(each) for each in life.steps[: number + 1])
                raise AssertionError(
                    f"step {number}: {step}\nDruid: {theirs}\nours: {said}\n{difference}\n{story}"
                ) from difference

    def _compare(self, step: Step, said: dict[str, Any], theirs: dict[str, Any], copies: set[str]) -> None:
        if step["do"] == "look":
            self.counts["looks at the tables"] += 1
            assert _comparable_rows(said["rows"]) == _comparable_rows(theirs["rows"])
        if step["do"] != "act":
            return
        kind = step["action"]["type"]
        self.counts[kind] += 1
        if theirs.get("result") is None and _leaves_an_identity(step, said):
            raise Parted
        if "error" in theirs:
            is_defect = any(words in theirs["error"] for words in _NOT_FOLLOWED)
            # an allocation that Druid breaks off leaves locks behind, whatever ours says to it
            if is_defect and ("error" not in said or kind == "segmentAllocate"):
                raise Parted
            if kind == "segmentAllocate" and said.get("result", 0) is None:
                return
            assert "error" in said
            self.counts["refused"] += 1
            return
        if "holds no lock of type[REPLACE]" in said.get("error", "") and theirs["result"]["segments"] == []:
            self.counts["refused"] += 1
            return
        assert "result" in said
        if "duplicate key value" in str(theirs["result"]):
            raise Parted
        if kind == "segmentAllocate" and said["result"] is not None:
            self.counts["allocated"] += 1
            if theirs["result"] is None and said["coarser"]:
                raise Parted
        if kind == "segmentAllocate" and said["result"] is None and _found_under_a_leftover(said, theirs):
            raise Parted
        assert _comparable(step, said["result"], copies) == _comparable(step, theirs["result"], copies)
        if _leaves_an_identity(step, theirs) or (kind == "segmentAllocate" and said["locks"] != theirs["locks"]):
            raise Parted


def _leaves_an_identity(step: Step, answer: dict[str, Any]) -> bool:
    """
    Whether an answer may mean that Druid stored identities for which it then had no segment lock: none was found, or
    not on the widest interval.
    """
    action = step["action"]
    if action["type"] != "segmentAllocate" or action["lockGranularity"] != "SEGMENT":
        return False
    result = answer.get("result")
    widest = parse_granularity(action["preferredSegmentGranularity"]).bucket(parse_instant(action["timestamp"]))
    return result is None or Interval.parse(result["interval"]) != widest


def _found_under_a_leftover(said: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether Druid's segment lies under a wider lock, kept from an interval where the same request found none."""
    if theirs["result"] is None:
        return False
    only_theirs = set(theirs["locks"]) - set(said["locks"])
    return bool(only_theirs) and not any(theirs["result"]["interval"] in lock for lock in only_theirs)


def _copies(answers: list[dict[str, Any]]) -> set[str]:
    """The ids of all copies that a life made."""
    rows = [row for answer in answers for row in answer.get("rows", {}).get("segments", [])]
    return {row[0] for row in rows if row[3] is not None}


@pytest.mark.timeout(7200)  # as long as it is told to go on
async def test_every_action_is_answered_and_written_as_by_druid(
    workshop: Workshop, database: TestPostgres, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: int = request.config.getoption("--steps", default=None) or STEPS
    seed: int = request.config.getoption("--seed", default=None) or SEED
    url = await database.clone()
    connection = await asyncpg.connect(url)
    comparison = Comparison(workshop, connection)
    try:
        for number in count():
            if comparison.counts["steps"] >= steps:
                break
            await comparison.live(Life(Random(f"segments {seed} {number}")), STEPS_A_LIFE)
    finally:
        await connection.close()
        await database.drop(url)
    with capsys.disabled():
        print(f"\naction steps beside Druid's, seed {seed}: {dict(comparison.counts)}")
    assert comparison.counts["allocated"] > steps / 20
    assert comparison.counts["segmentTransactionalReplace"] > 0
