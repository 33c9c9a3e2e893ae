"""
New tasks become rows, those that arrive together in one statement.

While one batch is being committed the next one gathers, so that a single client waits for one commit and many
clients share them.
"""

import asyncio
from dataclasses import dataclass

import asyncpg
import orjson

from druid_core.errors import CapacityExceeded, InvalidInput, NemetonError, TaskIdExists, Unavailable
from druid_core.instant import format_instant
from druid_core.status import TaskStatus
from druid_core.task import Task
from overlord import audit
from overlord.audit import NOBODY, AuditedCall, Author
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.metrics import meters
from overlord.replica import Replica
from overlord.task.need import LockNeed, may_split, need_of

BATCH_TASKS = 256
"""Tasks a statement at most: beyond it the commit is no longer what costs."""

AUDITED_TYPES = frozenset({"compact", "index", "index_parallel", "kill"})
"""Tasks that change data because somebody said so. Druid: OverlordResource.AUDITED_TASK_TYPES"""

_QUEUE_SIZE_KEY = 0x6E656D_71756575
"""Counting the queue and adding to it is one step, where a limit is set."""

_INSERT = """
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::bytea[],
                         $7::int[], $8::text[], $9::text[], $14::text[], $15::text[], $16::text[], $17::bigint[],
                         $18::boolean[], $19::bytea[], $20::text[], $21::text[])
        AS t (id, datasource, payload, type, group_id, status_payload, priority, lock_type, lock_intervals,
              context, submitter, runner_wish, lock_deadline_ms, splits, audit_entry, author, comment)
),
stored AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, type, group_id, active, status_payload)
    SELECT id, $10::text, datasource, payload, type, group_id, TRUE, status_payload FROM new
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
queued AS (
    INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, lock_type,
                                  lock_intervals, submitted_ms, released_ms, context, submitter, runner_wish,
                                  lock_deadline_ms, task_type, splits)
    SELECT id, 1, datasource, group_id, priority,
           CASE WHEN lock_type IS NULL THEN 'PENDING' ELSE 'WAITING' END, lock_type, lock_intervals,
           $11::bigint, CASE WHEN lock_type IS NULL THEN $11::bigint END, context, submitter, runner_wish,
           lock_deadline_ms, type, splits
    FROM new JOIN stored USING (id)
),
audited AS (
    INSERT INTO druid_audit (audit_key, type, author, comment, created_date, payload)
    SELECT datasource, 'task', author, comment, $10::text, audit_entry
    FROM new JOIN stored USING (id) WHERE audit_entry IS NOT NULL
)
SELECT id, pg_notify($12::text, $13::text) FROM stored
"""
"""Equal notifications of one transaction are sent once, whatever number of rows there is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the submission says beside the task."""

    submitter: str | None = None
    """Whoever sends the same id again under this name repeats himself, and is not refused."""
    runner_wish: str | None = None
    """The only runner that may take the task."""
    author: Author = NOBODY
    """Who submits it, and why."""
    call: AuditedCall | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A task on its way into the table."""

    task: Task
    payload: bytes
    need: LockNeed | None
    origin: Origin
    done: asyncio.Future[None]


ANYBODY = Origin()


class Intake:
    """The one place of a replica where tasks are inserted."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._gathered: list[Submission] = []
        self._flushing: asyncio.Task[None] | None = None
        self.accepted = 0
        """Tasks stored by this replica since its start."""

    async def submit(self, task: Task, origin: Origin = ANYBODY) -> None:
        """
        Store a new task; it is durable when this returns. Again by the same submitter is once. Druid: TaskQueue.add

        Raises TaskIdExists, CapacityExceeded, InvalidInput (too large) or Unavailable.
        """
        payload = orjson.dumps(task.to_wire())
        limit = self._replica.settings.max_task_payload_bytes
        if limit is not None and len(payload) > limit:
            raise InvalidInput(
                f"Task[{task.id}] has payload of size[{len(payload)}] but max allowed size is [{limit}]. "
                "Reduce the size of the task payload or raise max_task_payload_bytes."
            )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(Submission(task, payload, need_of(task), origin, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="intake")
        await done

    async def _flush(self) -> None:
        try:
            while self._gathered:
                batch = self._next_batch()
                try:
                    await self._store(batch)
                except Unavailable as error:
                    _fail(batch, error)
                except asyncpg.PostgresError as error:
                    await self._store_one_by_one(batch, error)
                finally:
                    # whatever went wrong, nobody waits for an answer for ever
                    _fail(batch, NemetonError("The task could not be stored: its batch was given up"))
        finally:
            self._flushing = None

    def _next_batch(self) -> list[Submission]:
        """The submissions gathered so far; of several with one id the first, the rest wait for the next batch."""
        batch: dict[str, Submission] = {}
        later: list[Submission] = []
        for submission in self._gathered:
            if len(batch) < BATCH_TASKS and submission.task.id not in batch:
                batch[submission.task.id] = submission
            else:
                later.append(submission)
        self._gathered = later
        return list(batch.values())

    async def _store_one_by_one(self, batch: list[Submission], error: asyncpg.PostgresError) -> None:
        """One row that Postgres refuses must not take the others with it."""
        if len(batch) == 1:
            wrapped = NemetonError(f"Encountered metadata exception for task [{batch[0].task.id}]: {error}")
            wrapped.__cause__ = error
            _fail(batch, wrapped)
            return
        for submission in batch:
            try:
                await self._store([submission])
            except Unavailable as away:
                _fail([submission], away)
            except asyncpg.PostgresError as refused:
                await self._store_one_by_one([submission], refused)

    async def _store(self, batch: list[Submission]) -> None:
        settings = self._replica.settings
        if settings.max_queue_size < 2_147_483_647:
            async with transaction(self._replica.pool) as tx:
                await tx.execute("SELECT pg_advisory_xact_lock($1)", _QUEUE_SIZE_KEY)
                queued = await tx.fetchval(
                    "SELECT count(*) FROM (SELECT 1 FROM druid_tasks WHERE active LIMIT $1) AS counted",
                    settings.max_queue_size,
                )
                room = settings.max_queue_size - int(queued or 0)
                stored = await self._insert(tx, batch[:room]) if room > 0 else set[str]()
            refused = CapacityExceeded(
                f"Task queue already contains [{queued}] tasks. Retry later or increase max_queue_size "
                f"(druid.indexer.queue.maxSize), now [{settings.max_queue_size}]."
            )
            _fail(batch[max(room, 0) :], refused)
            batch = batch[: max(room, 0)]
        else:
            # one statement is one transaction
            async with connection(self._replica.pool) as held:
                stored = await self._insert(held, batch)
        self.accepted += len(stored)
        meters.tasks_accepted(len(stored))
        repeated = await self._repeated([submission for submission in batch if submission.task.id not in stored])
        for submission in batch:
            if submission.done.done():
                continue
            if submission.task.id in stored or submission.task.id in repeated:
                submission.done.set_result(None)
            else:
                submission.done.set_exception(TaskIdExists(submission.task.id))

    async def _repeated(self, known: list[Submission]) -> set[str]:
        """The ids that are known because this very submitter submitted them before."""
        named = {each.task.id: each.origin.submitter for each in known if each.origin.submitter is not None}
        if not named:
            return set()
        async with connection(self._replica.pool) as held:
            rows = await held.fetch(
                "SELECT task_id, submitter FROM nemeton_attempts WHERE attempt = 1 AND task_id = ANY($1)", list(named)
            )
        return {row["task_id"] for row in rows if row["submitter"] == named[row["task_id"]]}

    async def _insert(self, tx: Connection, batch: list[Submission]) -> set[str]:
        """The ids that were stored; those missing were there before."""
        now_ms = self._replica.clock_ms()
        needs = [submission.need for submission in batch]
        rows = await tx.fetch(
            _INSERT,
            [submission.task.id for submission in batch],
            [submission.task.data_source for submission in batch],
            [submission.payload for submission in batch],
            [submission.task.type for submission in batch],
            [submission.task.group_id for submission in batch],
            [orjson.dumps(TaskStatus.running(submission.task.id).to_wire()) for submission in batch],
            [submission.task.priority for submission in batch],
            [None if need is None else need.lock_type.value for need in needs],
            [None if need is None else ",".join(map(str, need.intervals)) for need in needs],
            format_instant(now_ms),
            now_ms,
            hints.CHANNEL,
            hints.QUEUE,
            [orjson.dumps(submission.task.context).decode() for submission in batch],
            [submission.origin.submitter for submission in batch],
            [submission.origin.runner_wish for submission in batch],
            [None if need is None else need.deadline_ms(now_ms) for need in needs],
            [may_split(submission.task) for submission in batch],
            [_audit_entry(submission, now_ms) for submission in batch],
            [submission.origin.author.column_name for submission in batch],
            [submission.origin.author.column_comment for submission in batch],
        )
        return {row["id"] for row in rows}


def _audit_entry(submission: Submission, now_ms: int) -> bytes | None:
    """The submission as the audit tells of it; None for a task of a type that it does not tell of."""
    task, origin = submission.task, submission.origin
    if task.type not in AUDITED_TYPES:
        return None
    told = orjson.dumps({"id": task.id, "groupId": task.group_id, "type": task.type})
    return orjson.dumps(audit.entry(task.data_source, "task", told, origin.author, now_ms, origin.call))


def _fail(batch: list[Submission], error: NemetonError) -> None:
    for submission in batch:
        if not submission.done.done():
            submission.done.set_exception(error)
