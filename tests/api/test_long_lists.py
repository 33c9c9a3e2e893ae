"""Lists without pages: whole, of one instant, however many tasks there are."""

import orjson
from httpx import AsyncClient

from overlord.db.pool import Pool, connection
from overlord.task.listing import TaskFilter, tasks, tasks_json
from tests.support.overlord_calls import V1

_FILL = """
WITH tasks AS (
    SELECT 'task-' || lpad(i::text, 5, '0') AS id, i <= $2::int AS active,
           CASE WHEN i <= $2::int THEN 'RUNNING' ELSE 'SUCCESS' END AS status
    FROM generate_series(1, $1::int) AS i
),
stored AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
    SELECT id, '2026-01-01T00:00:00.000Z', CASE WHEN active THEN 'web' ELSE 'old' END, '{}',
           convert_to(json_build_object('id', id, 'status', status)::text, 'UTF8'), active, 'noop', id
    FROM tasks
)
INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms)
SELECT id, 1, 'web', id, 50, CASE WHEN active THEN 'PENDING' ELSE 'ENDED' END, 0 FROM tasks
"""


async def fill(pool: Pool, count: int, *, active: int = 0) -> None:
    async with connection(pool) as tx:
        await tx.execute(_FILL, count, active)


async def test_a_list_of_several_batches_is_whole_and_in_order(overlord: AsyncClient, pool: Pool) -> None:
    await fill(pool, 2300, active=1100)
    path = f"{V1}/tasks?createdTimeInterval=2026-01-01_2026-01-02"
    answer = await overlord.get(path, headers={"Accept-Encoding": "identity"})
    assert answer.headers["content-length"] == str(len(answer.content))
    packed = await overlord.get(path, headers={"Accept-Encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.json()) == ("gzip", answer.json())
    assert answer.headers["content-type"] == "application/json"
    listed = [task["id"] for task in answer.json()]
    finished = [f"task-{number:05}" for number in range(2300, 1100, -1)]
    assert listed == [*finished, *(f"task-{number:05}" for number in range(1, 1101))]


async def test_a_list_of_nothing_is_an_empty_array(overlord: AsyncClient) -> None:
    assert (await overlord.get(f"{V1}/tasks")).content == b"[]"


async def test_a_task_that_finishes_while_a_list_is_made_is_in_it_once(pool: Pool) -> None:
    await fill(pool, 1200, active=600)
    listed: list[str] = []
    async with connection(pool) as tx, tx.transaction(isolation="repeatable_read", readonly=True):
        async for batch in tasks(tx, TaskFilter()):
            if not listed:
                await pool.execute("UPDATE druid_tasks SET active = FALSE WHERE id = 'task-00600'")
            listed += [task["id"] for task in batch]
    assert len(listed) == 1200
    assert listed.count("task-00600") == 1


async def test_what_nobody_is_shown_does_not_count_among_the_most(pool: Pool) -> None:
    await fill(pool, 1300, active=700)
    wanted = TaskFilter(max_finished=550, is_visible=lambda data_source: data_source == "old")
    async with connection(pool) as tx:
        listed = orjson.loads(b"".join(await tasks_json(tx, wanted)))
    assert [task["id"] for task in listed] == [f"task-{number:05}" for number in range(1300, 750, -1)]
