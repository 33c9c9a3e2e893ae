"""How the queue and long polls look: seldom, cheaply, and never too late."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from druid_core.runner import AttemptRef
from overlord.db.pool import Pool
from overlord.runner import orders
from overlord.task import release
from overlord.task.release import release_ready
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, in_state, submit, until
from tests.support.task_specs import index_parallel, noop


class Counter:
    """Stands before a function and counts its calls."""

    def __init__(self, counted: Any) -> None:
        self.calls = 0
        self._counted = counted

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._counted(*args, **kwargs)


async def test_a_queue_behind_one_lock_costs_no_transaction_a_task(
    app: FastAPI, overlord: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = ["2026-01-01/2026-01-02"]
    await submit(overlord, index_parallel("holder", intervals=day))
    await in_state(overlord, "holder", "PENDING")
    counter = Counter(release._release)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(release, "_release", counter)
    for number in range(20):
        await submit(overlord, index_parallel(f"waits-{number}", intervals=day))
    assert await release_ready(app.state.replica) == 0
    assert counter.calls == 0
    await overlord.post(f"{V1}/task/holder/shutdown")

    async def one_is_released() -> bool:
        return len((await overlord.get(f"{V1}/pendingTasks")).json()) == 1

    await until(one_is_released)
    await asyncio.sleep(0.3)
    assert [task["id"] for task in (await overlord.get(f"{V1}/pendingTasks")).json()] == ["waits-0"]
    assert counter.calls == 1


async def test_a_long_poll_without_news_compares_once(
    app: FastAPI, overlord: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(_is(app.state.replica.hints))
    counter = Counter(orders.compare)
    monkeypatch.setattr(orders, "compare", counter)
    assert (await FakeRunner(overlord).poll(3)).start == []
    assert counter.calls == 2, "at its start and before its answer"


async def test_a_long_poll_looks_by_itself_while_no_hint_is_heard(
    app: FastAPI, overlord: AsyncClient, pool: Pool
) -> None:
    runner = FakeRunner(overlord)
    await runner.announce()
    hints = app.state.replica.hints
    await until(_is(hints))
    await hints.stop()
    waiting = asyncio.create_task(runner.poll(20))
    await asyncio.sleep(0.2)
    await submit(overlord, noop("unheard"))
    assert [each.task_id for each in (await asyncio.wait_for(waiting, 15)).start] == ["unheard"]


async def test_an_order_that_is_not_followed_is_repeated_within_the_same_poll(
    overlord: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "REPEAT_MS", 700)
    runner = FakeRunner(overlord)
    await submit(overlord, noop("again"))
    assert (await runner.poll()).start
    started = asyncio.get_running_loop().time()
    assert [each.task_id for each in (await runner.poll(20)).start] == ["again"]
    assert 0.3 < asyncio.get_running_loop().time() - started < 10


async def test_a_listening_connection_that_is_cut_is_made_anew(app: FastAPI, overlord: AsyncClient, pool: Pool) -> None:
    hints = app.state.replica.hints
    await until(_is(hints))
    # the one connection that is not of a pool
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'nemeton-overlord-hints'"
    )
    await until(_is(hints, heard=False))
    await until(_is(hints))
    runner = FakeRunner(overlord)
    waiting = asyncio.create_task(runner.poll(20))
    await asyncio.sleep(0.2)
    await submit(overlord, noop("heard"))
    assert (await asyncio.wait_for(waiting, 5)).start


async def test_a_long_list_goes_through_in_pieces(
    overlord: AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "START_BATCH", 2)
    runner = FakeRunner(overlord, capacity=5)
    for number in range(5):
        await submit(overlord, noop(f"task-{number}"))
    told = await runner.announce()  # may hold the first ones already
    seen: list[str] = []
    while True:
        assert len(told.start) <= 2
        for each in told.start:
            runner.attempts.append(AttemptRef(task_id=each.task_id, attempt=each.attempt))
            seen.append(each.task_id)
        if len(seen) == 5:
            break
        told = await runner.poll(5)
    assert seen == [f"task-{number}" for number in range(5)]


def _is(hints: Any, *, heard: bool = True) -> Any:
    async def holds() -> bool:
        return hints.are_heard is heard

    return holds
