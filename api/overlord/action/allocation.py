"""
Requests for segments, gathered by datasource: while one batch is being decided the next one gathers.

A writer alone waits for one transaction; many writers share them. Nothing is remembered here but who waits for an
answer. Druid: SegmentAllocationQueue
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from druid_core.action import SegmentAllocate
from druid_core.errors import InvalidInput, NemetonError, Unavailable
from druid_core.granularity import NONE, parse_granularity
from druid_core.instant import parse_instant
from druid_core.lock import LockGranularity, LockType
from druid_core.partial_shard_spec import NUMBERED
from druid_core.segment import SegmentIdWithShardSpec
from overlord.action.actor import Actor, check_token, find_actors
from overlord.db.pool import Connection, transaction
from overlord.lock.lockbox import InactiveTask
from overlord.replica import Replica
from overlord.segment.allocate import AllocationRequest, Answer, allocate_all
from overlord.segment.identity import SequencePlace

BATCH_REQUESTS = 500
"""Requests a transaction at most, so that no lock of the datasource is held for long. Druid: MAX_BATCH_SIZE"""

QUEUE_REQUESTS = 2000
"""Requests that may wait in one replica; who comes later is told to come again. Druid: MAX_QUEUE_SIZE"""

_GRANULARITIES: dict[str | None, LockGranularity] = {
    None: LockGranularity.TIME_CHUNK,
    "TIME_CHUNK": LockGranularity.TIME_CHUNK,
    "timeChunk": LockGranularity.TIME_CHUNK,
    "SEGMENT": LockGranularity.SEGMENT,
    "segment": LockGranularity.SEGMENT,
}
"""Java writes the names of its constants."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request, and who waits for its answer."""

    task_id: str
    token: str | None
    action: SegmentAllocate
    answer: asyncio.Future[SegmentIdWithShardSpec | None]


class Allocations:
    """The one place of a replica where requests for segments gather."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._gathered: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._deciding: dict[str, asyncio.Task[None]] = {}

    async def allocate(self, task_id: str, token: str | None, action: SegmentAllocate) -> SegmentIdWithShardSpec | None:
        """
        An identity for a segment of the task, or None where none can be had now.

        Raises Unavailable where too many wait, and what `allocate_all` answers. The token, where there is one, must be
        that of the task when the request is decided.
        """
        if sum(map(len, self._gathered.values())) >= QUEUE_REQUESTS:
            raise Unavailable(f"[{QUEUE_REQUESTS}] requests for segments wait already. Retry later.")
        answer: asyncio.Future[SegmentIdWithShardSpec | None] = asyncio.get_running_loop().create_future()
        data_source = action.data_source
        self._gathered[data_source].append(_Waiting(task_id, token, action, answer))
        if data_source not in self._deciding:
            self._deciding[data_source] = asyncio.create_task(self._decide(data_source), name="allocations")
        return await answer

    async def _decide(self, data_source: str) -> None:
        try:
            while gathered := self._gathered.pop(data_source, None):
                batch, later = gathered[:BATCH_REQUESTS], gathered[BATCH_REQUESTS:]
                if later:
                    self._gathered[data_source] = later
                try:
                    await self._decide_together(data_source, batch)
                finally:
                    # whatever went wrong, nobody waits for an answer for ever
                    _fail(batch, NemetonError("No segment could be allocated: the batch was given up"))
        finally:
            del self._deciding[data_source]

    async def _decide_together(self, data_source: str, batch: list[_Waiting]) -> None:
        try:
            async with transaction(self._replica.pool) as tx:
                answers = await self._answers(tx, data_source, batch)
        except Unavailable as error:
            _fail(batch, error)
        except asyncpg.PostgresError as error:
            # one request that Postgres refuses must not take the others with it
            if len(batch) == 1:
                _fail(batch, error)
                return
            for each in batch:
                await self._decide_together(data_source, [each])
        else:
            for each, answer in zip(batch, answers, strict=True):
                _tell(each, answer)

    async def _answers(self, tx: Connection, data_source: str, batch: list[_Waiting]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        requests: dict[int, AllocationRequest] = {}
        there = await find_actors(tx, {each.task_id for each in batch})
        shown: dict[tuple[str | None, str], NemetonError | None] = {}
        for position, each in enumerate(batch):
            who = (each.token, each.task_id)
            if who not in shown:
                shown[who] = await _refusal(tx, *who)
            refused, actor = shown[who], there.get(each.task_id)
            if refused is not None:
                answers[position] = refused
            elif actor is None:
                answers[position] = InactiveTask(each.task_id)
            else:
                try:
                    requests[position] = allocation_request(actor, each.action)
                except NemetonError as error:
                    answers[position] = error
        if requests:
            decided = await allocate_all(tx, data_source, list(requests.values()), self._replica.clock_ms())
            answers.update(zip(requests, decided, strict=True))
        return [answers[position] for position in range(len(batch))]


def allocation_request(actor: Actor, action: SegmentAllocate) -> AllocationRequest:
    """
    What an action asks for.

    Raises InvalidInput for values that make no sense or another datasource, CannotAllocate for tasks that never append.
    """
    requester = actor.requester
    if action.data_source != requester.data_source:
        raise InvalidInput(
            f"Task dataSource must match action dataSource, [{requester.data_source}] != [{action.data_source}]."
        )
    granularity = _GRANULARITIES.get(action.lock_granularity)
    if granularity is None:
        raise InvalidInput(f"lockGranularity must be TIME_CHUNK or SEGMENT, not [{action.lock_granularity}]")
    query_granularity = NONE if action.query_granularity is None else parse_granularity(action.query_granularity)
    return AllocationRequest(
        requester=requester,
        row=query_granularity.bucket(parse_instant(action.timestamp)),
        preferred=parse_granularity(action.preferred_segment_granularity),
        sequence=SequencePlace(
            action.sequence_name, action.previous_segment_id or "", action.skip_segment_lineage_check
        ),
        lock_type=action.task_lock_type or LockType.EXCLUSIVE,
        allocator_id=actor.allocator_id,
        partial=action.shard_spec_factory or NUMBERED,
        granularity=granularity,
    )


async def _refusal(tx: Connection, token: str | None, task_id: str) -> NemetonError | None:
    """Why a token is not good for a task; None where it is, or where none is shown."""
    if token is None:
        return None
    try:
        await check_token(tx, token, task_id)
    except NemetonError as error:
        return error
    return None


def _tell(waiting: _Waiting, answer: Answer) -> None:
    if isinstance(answer, NemetonError):
        _fail([waiting], answer)
    elif not waiting.answer.done():
        waiting.answer.set_result(answer)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error)
