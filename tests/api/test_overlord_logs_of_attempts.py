"""One log URL for a task's whole life, the same byte at the same offset, however often it was tried."""

from pathlib import Path

import pytest
from httpx import AsyncClient

from druid_core.runner import OPERATOR, Assignment, AttemptState
from druid_core.status import TaskStatus
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from tests.support.fake_peon import FakePeon, serving_peon
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import V1, submit
from tests.support.task_specs import noop

FIRST = b"first: begun\nfirst: kil"
SECOND = b"second: begun\nsecond: done\n"
BETWEEN = b"\n==== attempt 2 ====\n"
WHOLE = FIRST + BETWEEN + SECOND


@pytest.fixture
def logs(tmp_path: Path) -> TaskLogs:
    """The storage of the replica under test."""
    return TaskLogs.from_url((tmp_path / "task-logs").as_uri())


@pytest.fixture
def runner(overlord: AsyncClient) -> FakeRunner:
    return FakeRunner(overlord, "release", kind=OPERATOR)


async def lost(runner: FakeRunner) -> None:
    """A first attempt that ran and was lost, so that a second one follows."""
    await submit(runner.client, noop("t"))
    first = await runner.take()
    await runner.run(first)
    await runner.report(first, AttemptState.ENDED, reason="the node was lost", retry_after_ms=0)
    runner.attempts.clear()


async def second(runner: FakeRunner, peon: FakePeon) -> Assignment:
    assignment = await runner.take()
    assert assignment.attempt == 2
    await runner.run(assignment, port=peon.port)
    return assignment


async def read(client: AsyncClient, offset: int | None = None) -> bytes:
    answer = await client.get(f"{V1}/task/t/log" + ("" if offset is None else f"?offset={offset}"))
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.content


async def assert_every_offset(client: AsyncClient, whole: bytes) -> None:
    assert await read(client) == whole
    for offset in range(len(whole) + 3):
        assert await read(client, offset) == whole[offset:], offset
    for offset in range(-len(whole) - 3, 0):
        assert await read(client, offset) == whole[offset:], offset


async def test_every_offset_of_a_running_second_attempt(
    overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs
) -> None:
    await lost(runner)
    logs.finish_attempt("t", 1, FIRST)
    with serving_peon("t") as peon:
        await second(runner, peon)
        peon.log = SECOND
        await assert_every_offset(overlord, WHOLE)


async def test_every_offset_once_it_has_ended(overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs) -> None:
    await lost(runner)
    logs.finish_attempt("t", 1, FIRST)
    with serving_peon("t") as peon:
        assignment = await second(runner, peon)
        await update_status(overlord, assignment, TaskStatus.success("t", 1))
        logs.finish_attempt("t", 2, SECOND)
        await runner.report(assignment, AttemptState.ENDED)
    await assert_every_offset(overlord, WHOLE)


async def test_a_reader_who_follows_reads_every_byte_once(
    overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs
) -> None:
    """From the first attempt's parts to the second's whole log, by the number of bytes read so far."""
    seen = b""

    async def follow() -> None:
        nonlocal seen
        seen += await read(overlord, len(seen))

    await lost(runner)
    logs.push_part("t", 1, 0, FIRST[:10])
    await follow()
    logs.push_part("t", 1, 0, FIRST)
    await follow()
    logs.finish_attempt("t", 1, FIRST)
    await follow()
    with serving_peon("t") as peon:
        assignment = await second(runner, peon)
        await follow()
        for length in (5, 14, len(SECOND)):
            peon.log = SECOND[:length]
            await follow()
    logs.push_part("t", 2, 0, SECOND)
    await follow()
    logs.finish_attempt("t", 2, SECOND)
    await runner.report(assignment, AttemptState.ENDED)
    await follow()
    assert seen == WHOLE


async def test_the_parts_are_read_when_the_peon_does_not_answer(
    overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs
) -> None:
    await submit(overlord, noop("t"))
    assignment = await runner.take()
    await runner.run(assignment, port=1)
    logs.push_part("t", 1, 0, b"0123")
    logs.push_part("t", 1, 1, b"4567")
    assert await read(overlord) == b"01234567"
    assert await read(overlord, 3) == b"34567"
    assert await read(overlord, -5) == b"34567"


async def test_a_second_attempt_that_only_starts_shows_the_first(
    overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs
) -> None:
    await lost(runner)
    logs.finish_attempt("t", 1, FIRST)
    await runner.report(await runner.take(), AttemptState.STARTING, waiting_for="a node")
    assert await read(overlord) == FIRST


async def test_the_report_of_an_attempt_that_ended_comes_from_storage(
    overlord: AsyncClient, runner: FakeRunner, logs: TaskLogs
) -> None:
    await lost(runner)
    logs.push("t", TaskLogName.REPORT, b'{"first": true}')
    assert (await overlord.get(f"{V1}/task/t/reports")).json() == {"first": True}
    with serving_peon("t") as peon:
        peon.live_reports = b'{"second": true}'
        await second(runner, peon)
        assert (await overlord.get(f"{V1}/task/t/reports")).json() == {"second": True}
