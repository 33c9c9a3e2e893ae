"""Pages of the task lists: together they are the list, whatever its state and filter."""

import pytest
from httpx import AsyncClient

from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, submit
from tests.support.task_specs import noop


async def ids(client: AsyncClient, path: str) -> list[str]:
    answer = await client.get(f"{V1}/{path}")
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()]


async def pages(client: AsyncClient, path: str, limit: int) -> list[str]:
    found: list[str] = []
    mark = "&" if "?" in path else "?"
    while True:
        after = f"&after={found[-1]}" if found else ""
        page = await ids(client, f"{path}{mark}limit={limit}{after}")
        assert len(page) <= limit
        found += page
        if len(page) < limit:
            return found


async def some_tasks(client: AsyncClient) -> None:
    for number in range(5):
        await submit(client, noop(f"done-{number}", dataSource=f"source-{number % 2}"))
        await client.post(f"{V1}/task/done-{number}/shutdown")
    for number in range(6):
        await submit(client, noop(f"waits-{number}", dataSource=f"source-{number % 2}"))
    runner = FakeRunner(client, capacity=1)
    await runner.run(await runner.take())


@pytest.mark.route(
    "GET /druid/indexer/v1/tasks",
    "differs",
    "`limit`, and `after` the last task of the page before: pages of any of the lists",
)
@pytest.mark.parametrize(
    "path",
    [
        "tasks",
        "tasks?state=complete",
        "tasks?state=pending",
        "tasks?datasource=source-1",
        "pendingTasks",
        "runningTasks",
        "waitingTasks",
        "completeTasks",
    ],
)
async def test_pages_make_up_the_list(overlord: AsyncClient, path: str) -> None:
    await some_tasks(overlord)
    whole = await ids(overlord, path)
    assert bool(whole) == (path != "waitingTasks")
    assert await pages(overlord, path, 2) == await pages(overlord, path, 100) == whole


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "Invalid value for limit: [0] is less than 1"),
        ("after=done-1", "Invalid value for after: it goes with a limit"),
        ("limit=3&after=nobody", "Invalid value for after: no task has the id [nobody]"),
    ],
)
async def test_what_is_no_page_is_refused(overlord: AsyncClient, query: str, message: str) -> None:
    answer = await overlord.get(f"{V1}/tasks?{query}")
    assert answer.status_code == 400
    assert message in answer.text


async def test_a_limit_that_is_no_number_is_404_as_max_is(overlord: AsyncClient) -> None:
    assert (await overlord.get(f"{V1}/tasks?limit=abc")).status_code == 404
