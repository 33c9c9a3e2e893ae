"""Who gets the slots: fair shares, limits, sub-tasks, datasources that are held up, and what each task is told."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from druid_core.instant import format_instant
from druid_core.runner import Assignment, AttemptRef, AttemptState
from druid_core.status import TaskStatus
from overlord.db.pool import Pool, connection
from overlord.replica import wall_clock_ms
from overlord.settings import OverlordSettings
from overlord.task.queue import TaskQueue
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import V1, Clock, explanation, replica, submit, until
from tests.support.task_specs import index_parallel, noop

CONFIG = "/nemeton/v1/queue/config"


def of(data_source: str, task_id: str, **fields: Any) -> dict[str, Any]:
    return noop(task_id, dataSource=data_source, **fields)


def parent(task_id: str, data_source: str = "web") -> dict[str, Any]:
    """One that may hand in sub-tasks."""
    task = index_parallel(task_id, data_source=data_source)
    task["spec"]["tuningConfig"]["maxNumConcurrentSubTasks"] = 4
    task["spec"]["ioConfig"]["inputSource"] = {"type": "http", "uris": ["http://rows/a.json", "http://rows/b.json"]}
    return task


def child(task_id: str, of_parent: str, *, data_source: str = "web", **fields: Any) -> dict[str, Any]:
    return noop(task_id, groupId=of_parent, dataSource=data_source, **fields)


async def configure(client: AsyncClient, config: dict[str, Any], path: str = "") -> None:
    answer = await client.post(CONFIG + path, json=config)
    assert answer.status_code == 200, answer.text


async def limit_types(client: AsyncClient, **limits: Any) -> None:
    """As Druid's console does."""
    config = {"type": "default", "selectStrategy": {"type": "equalDistribution", "taskLimits": limits}}
    assert (await client.post(f"{V1}/worker", json=config)).status_code == 200


async def settled(app: FastAPI) -> None:
    """The queue has looked, and looked again."""
    queue = TaskQueue(app.state.replica)
    for _ in range(3):
        # a pass of the replica's own may be under way: it is done when this one is let in
        await until(queue.advance)


async def with_slots(app: FastAPI) -> list[str]:
    async with connection(app.state.replica.pool) as held:
        rows = await held.fetch("SELECT task_id FROM nemeton_attempts WHERE state = 'ASSIGNED' ORDER BY task_id")
    return [row["task_id"] for row in rows]


async def starts(runner: FakeRunner, app: FastAPI) -> list[str]:
    """Which tasks have slots, in no order, after the runner came."""
    await runner.announce()
    await settled(app)
    return await with_slots(app)


async def finish(client: AsyncClient, runner: FakeRunner, assignment: Assignment) -> None:
    await runner.run(assignment)
    await update_status(client, assignment, TaskStatus.success(assignment.task_id, 1))
    await runner.report(assignment, AttemptState.ENDED)
    runner.attempts = [ref for ref in runner.attempts if ref.task_id != assignment.task_id]


async def test_within_a_priority_the_datasource_with_the_smallest_share_goes_first(
    app: FastAPI, overlord: AsyncClient
) -> None:
    for number in range(6):
        await submit(overlord, of("greedy", f"greedy-{number}"))
    await submit(overlord, of("small", "small-0"))
    await submit(overlord, of("late", "late-0"))
    await submit(overlord, of("late", "late-1"))
    assert await starts(FakeRunner(overlord, capacity=5), app) == [
        "greedy-0",
        "greedy-1",
        "late-0",
        "late-1",
        "small-0",
    ]


async def test_slots_that_a_datasource_holds_count_for_its_share(app: FastAPI, overlord: AsyncClient) -> None:
    for number in range(3):
        await submit(overlord, of("first", f"first-{number}"))
    runner = FakeRunner(overlord, capacity=2)
    assert await starts(runner, app) == ["first-0", "first-1"]
    await submit(overlord, of("second", "second-0"))
    assert [(await explanation(overlord, each)).place for each in ("second-0", "first-2")] == [1, 2]
    runner.capacity = 3
    assert await starts(runner, app) == ["first-0", "first-1", "second-0"]


async def test_priority_comes_before_shares(app: FastAPI, overlord: AsyncClient) -> None:
    for number in range(3):
        await submit(overlord, of("urgent", f"urgent-{number}", context={"priority": 90}))
    await submit(overlord, of("calm", "calm-0"))
    assert await starts(FakeRunner(overlord, capacity=3), app) == ["urgent-0", "urgent-1", "urgent-2"]


@pytest.mark.parametrize(
    ("config", "started", "reason"),
    [
        ({"maxSlotsPerDataSource": 1}, ["a-0", "b-0"], "limit of datasource a reached: 1 of 1 slots"),
        ({"dataSources": {"a": {"maxSlots": 2}}}, ["a-0", "a-1", "b-0", "b-1"], "datasource a reached: 2 of 2 slots"),
        ({"maxSlotsPerDataSource": 1, "dataSources": {"b": {"maxSlots": 2}}}, ["a-0", "b-0", "b-1"], "1 of 1 slots"),
        ({"maxSlots": 3}, ["a-0", "a-1", "b-0"], "limit of all tasks reached: 3 of 3 slots"),
        ({"dataSources": {"a": {"maxSlots": 0}}}, ["b-0", "b-1"], "limit of datasource a reached: 0 of 0 slots"),
    ],
)
async def test_a_limit_is_kept_and_told(
    app: FastAPI, overlord: AsyncClient, config: dict[str, Any], started: list[str], reason: str
) -> None:
    await configure(overlord, config)
    for task_id in ("a-0", "a-1", "a-2", "b-0", "b-1"):
        await submit(overlord, of(task_id[0], task_id))
    assert await starts(FakeRunner(overlord, capacity=9), app) == started
    told = await explanation(overlord, "a-2")
    assert told.reason == "LIMIT_REACHED"
    assert reason in told.message
    assert told.place is not None


async def test_a_slot_that_is_given_back_goes_to_the_next_below_the_limit(app: FastAPI, overlord: AsyncClient) -> None:
    await configure(overlord, {"maxSlotsPerDataSource": 1})
    for number in range(3):
        await submit(overlord, of("a", f"a-{number}"))
    runner = FakeRunner(overlord, capacity=9)
    for number in range(3):
        assignment = await runner.take()
        assert assignment.task_id == f"a-{number}"
        assert await with_slots(app) in ([f"a-{number}"], [])
        await finish(overlord, runner, assignment)


@pytest.mark.route(
    "POST /druid/indexer/v1/worker",
    "differs",
    "Of the select strategies `taskLimits` count, of the slots of all workers: Druid counts them at each worker",
)
async def test_limits_by_type_are_those_of_druids_worker_configuration(app: FastAPI, overlord: AsyncClient) -> None:
    await limit_types(overlord, maxSlotCountByType={"noop": 3}, maxSlotRatioByType={"noop": 0.5})
    for number in range(3):
        await submit(overlord, of("a", f"noop-{number}", context={"priority": 90}))
    await submit(overlord, index_parallel("other"))
    assert await starts(FakeRunner(overlord, capacity=4), app) == ["noop-0", "noop-1", "other"]
    told = await explanation(overlord, "noop-2")
    assert told.reason == "LIMIT_REACHED"
    assert told.message == "Place 1 in line for a slot: limit of type noop reached: 2 of 2 slots"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (5, "Cannot read selectStrategy of the worker config: expected a JSON object"),
        ({"taskLimits": 5}, "Cannot read taskLimits of the worker config"),
        ({"taskLimits": {"maxSlotRatioByType": {"kill": 1e308}}}, "taskLimits.maxSlotRatioByType.kill"),
        ({"taskLimits": {"maxSlotRatioByType": {"kill": -0.1}}}, "taskLimits.maxSlotRatioByType.kill"),
        ({"taskLimits": {"maxSlotCountByType": {"kill": -1}}}, "taskLimits.maxSlotCountByType.kill"),
        ({"taskLimits": {"maxSlotCountByType": {"kill": "x"}}}, "taskLimits.maxSlotCountByType.kill"),
        ({"taskLimits": {"maxSlotCountByTpye": {}}}, "taskLimits.maxSlotCountByTpye"),
    ],
)
async def test_limits_that_nobody_could_keep_are_refused_by_name(
    overlord: AsyncClient, pool: Pool, strategy: Any, words: str
) -> None:
    config = {"type": "default", "selectStrategy": strategy}
    answer = await overlord.post(f"{V1}/worker", json=config)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_config WHERE name = 'worker.config'") == 0


async def test_a_limit_that_was_stored_by_another_hand_stops_no_task(app: FastAPI, overlord: AsyncClient) -> None:
    await limit_types(overlord, maxSlotRatioByType={"kill": 1})
    async with connection(app.state.replica.pool) as held:
        await held.execute(
            "UPDATE druid_config SET payload = convert_to(replace(convert_from(payload, 'UTF8'), $1, $2), 'UTF8')",
            '"kill":1',
            '"kill":1e308,"noop":1e308',
        )
    await submit(overlord, of("a", "goes-on"))
    assert await starts(FakeRunner(overlord, capacity=1), app) == ["goes-on"]


async def test_a_full_type_is_in_nobodys_way(app: FastAPI, overlord: AsyncClient) -> None:
    await limit_types(overlord, maxSlotCountByType={"noop": 0})
    for number in range(3):
        await submit(overlord, of("web", f"noop-{number}"))
    await submit(overlord, index_parallel("behind", data_source="web"))
    assert await starts(FakeRunner(overlord, capacity=1), app) == ["behind"]


@pytest.mark.route(
    "DELETE /nemeton/v1/queue/config/datasources/{data_source}", "added", "Nothing is said of it any more"
)
async def test_a_paused_datasource_starts_nothing_until_it_goes_on(app: FastAPI, overlord: AsyncClient) -> None:
    await configure(overlord, {"paused": True}, "/datasources/web")
    await submit(overlord, of("web", "held"))
    await submit(overlord, of("other", "free"))
    runner = FakeRunner(overlord, capacity=4)
    assert await starts(runner, app) == ["free"]
    told = await explanation(overlord, "held")
    assert (told.reason, told.place) == ("PAUSED", 1)
    assert told.message == "Place 1 among those of web: the datasource is paused"
    assert (await overlord.delete(f"{CONFIG}/datasources/web")).status_code == 200
    assert await starts(runner, app) == ["free", "held"]


async def test_a_delayed_datasource_starts_when_its_time_has_come(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings, clock) as (app, client):
        at = format_instant(clock.now_ms + 5000)
        await configure(client, {"notBefore": at}, "/datasources/web")
        await submit(client, of("web", "later"))
        assert await starts(FakeRunner(client), app) == []
        told = await explanation(client, "later")
        assert told.reason == "DELAYED"
        assert told.message == f"Place 1 among those of web: the datasource starts nothing before {at}"
        clock.now_ms += 5001
        assert await starts(FakeRunner(client), app) == ["later"]


async def test_a_throttled_datasource_starts_so_many_in_any_minute(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings, clock) as (app, client):
        await configure(client, {"startsPerMinute": 2}, "/datasources/web")
        for number in range(5):
            await submit(client, of("web", f"web-{number}"))
        assert await starts(FakeRunner(client, capacity=9), app) == ["web-0", "web-1"]
        told = await explanation(client, "web-3")
        assert (told.reason, told.place) == ("THROTTLED", 2)
        assert told.message.endswith("in the last minute it started the 2 that it may")
        clock.now_ms += 59_000
        assert await starts(FakeRunner(client, capacity=9), app) == ["web-0", "web-1"]
        clock.now_ms += 1_001
        assert await starts(FakeRunner(client, capacity=9), app) == ["web-0", "web-1", "web-2", "web-3"]


async def test_parents_leave_a_slot_to_their_sub_tasks_so_that_no_slot_is_waited_for_in_a_ring(
    app: FastAPI, overlord: AsyncClient
) -> None:
    for number in range(4):
        await submit(overlord, parent(f"parent-{number}"))
    runner = FakeRunner(overlord, capacity=3)
    assert await starts(runner, app) == ["parent-0", "parent-1"]
    running = (await runner.poll()).start
    runner.attempts = [AttemptRef(task_id=each.task_id, attempt=1) for each in running]
    await runner.announce()
    await submit(overlord, of("other", "ordinary"))
    await settled(app)
    assert await with_slots(app) == [], "the last slot is for sub-tasks"

    told = await explanation(overlord, "parent-2")
    assert told.reason == "KEPT_FOR_SUB_TASKS"
    assert "2 tasks that may have sub-tasks hold 2 of 3 slots" in told.message

    await submit(overlord, child("child-0", "parent-0"))
    await submit(overlord, child("child-1", "parent-1"))
    first = await runner.take()
    await finish(overlord, runner, first)
    second = await runner.take()
    assert {first.task_id, second.task_id} == {"child-0", "child-1"}
    await finish(overlord, runner, second)
    await finish(overlord, runner, running[0])
    assert await starts(runner, app) == ["ordinary", "parent-2"]


async def test_a_sub_task_of_a_running_task_goes_before_whatever_is_new(app: FastAPI, overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=2)
    await submit(overlord, parent("running"))
    await runner.take()
    await submit(overlord, of("urgent", "new", context={"priority": 1000}))
    await submit(overlord, child("sub", "running", context={"priority": 1}))
    assert (await explanation(overlord, "sub")).place == 1
    assert (await runner.take()).task_id == "sub"


async def test_a_group_whose_first_task_does_not_run_has_no_right_of_way(app: FastAPI, overlord: AsyncClient) -> None:
    await submit(overlord, of("none", "before"))
    await submit(overlord, child("orphan", "nobody"))
    assert await starts(FakeRunner(overlord, capacity=1), app) == ["before"]


async def test_a_groups_name_alone_opens_no_door_for_another_datasource(app: FastAPI, overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=4)
    await submit(overlord, parent("running"))
    await runner.take()
    await configure(overlord, {"dataSources": {"closed": {"paused": True}}})
    await submit(overlord, child("trick", "running", data_source="closed"))
    await submit(overlord, child("sub", "running"))
    assert await starts(runner, app) == ["sub"]
    assert (await explanation(overlord, "trick")).reason == "PAUSED"


async def test_one_place_is_the_same_as_one_of_many(app: FastAPI, overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, "worker:1", capacity=2)
    await submit(overlord, parent("running"))
    await runner.take()
    await configure(overlord, {"dataSources": {"b": {"maxSlots": 1}, "c": {"paused": True}}})
    await overlord.post(f"{V1}/worker/worker:1/disable")
    for number in range(4):
        priority = {"priority": 50 + number % 2}
        for data_source in "abc":
            await submit(overlord, of(data_source, f"{data_source}-{number}", context=priority))
        await submit(overlord, of("a", f"wish-{number}", context=priority), **{"X-Nemeton-Runner": "worker:1"})
        await submit(overlord, child(f"child-{number}", "running"))
    names = [f"{name}-{number}" for name in ("a", "b", "c", "wish", "child") for number in range(4)]
    many = (await overlord.post("/nemeton/v1/runner/explain", json=names)).json()
    single = {name: await explanation(overlord, name) for name in names}
    assert {name: told["place"] for name, told in many.items()} == {name: told.place for name, told in single.items()}
    assert sorted(single[f"child-{number}"].place or 0 for number in range(4)) == [1, 2, 3, 4]
    assert [single[f"c-{number}"].place for number in (1, 3, 0, 2)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "config",
    [
        {"maxSlotsPerDataSource": 1},
        {"maxSlots": 1},
        {"dataSources": {"web": {"paused": True}}},
        {"dataSources": {"web": {"startsPerMinute": 1}}},
        {"dataSources": {"web": {"notBefore": "2999-01-01"}}},
    ],
)
async def test_no_limit_holds_up_the_only_sub_task_of_a_running_task(
    app: FastAPI, overlord: AsyncClient, config: dict[str, Any]
) -> None:
    runner = FakeRunner(overlord, capacity=4)
    await submit(overlord, parent("running"))
    await runner.take()
    await runner.announce()
    await configure(overlord, config)
    for number in range(2):
        await submit(overlord, child(f"sub-{number}", "running"))
    assert (await runner.take()).task_id == "sub-0"
    await settled(app)
    limited = "maxSlots" in config or "maxSlotsPerDataSource" in config
    assert ("sub-1" in await with_slots(app)) != limited
    if limited:
        assert (await explanation(overlord, "sub-1")).reason == "LIMIT_REACHED"


async def test_where_there_is_one_slot_in_all_a_parent_may_have_it(app: FastAPI, overlord: AsyncClient) -> None:
    await submit(overlord, parent("alone"))
    assert await starts(FakeRunner(overlord, capacity=1), app) == ["alone"]


@pytest.mark.route("POST /nemeton/v1/queue/config", "added", "Limits and holds of the queue")
async def test_slots_are_kept_as_the_configuration_says(app: FastAPI, overlord: AsyncClient) -> None:
    await configure(overlord, {"slotsKeptForSubTasks": 0})
    for number in range(3):
        await submit(overlord, parent(f"parent-{number}"))
    assert await starts(FakeRunner(overlord, capacity=3), app) == ["parent-0", "parent-1", "parent-2"]


@pytest.mark.route("GET /nemeton/v1/queue/config", "added", "Limits and holds of the queue")
@pytest.mark.route(
    "POST /nemeton/v1/queue/config/datasources/{data_source}",
    "added",
    "A datasource is limited, paused, delayed or throttled",
)
@pytest.mark.route("GET /nemeton/v1/queue/config/history", "added", "Who changed them, and why")
async def test_the_configuration_is_read_back_whole_and_its_changes_are_kept(overlord: AsyncClient) -> None:
    assert (await overlord.get(CONFIG)).json() == {
        "maxSlots": None,
        "maxSlotsPerDataSource": None,
        "slotsKeptForSubTasks": 1,
        "dataSources": {},
    }
    headers = {"X-Druid-Author": "eve", "X-Druid-Comment": "nightly"}
    body = {"notBefore": "2030-01-01", "maxSlots": 3}
    answer = await overlord.post(f"{CONFIG}/datasources/a%20b", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    await configure(overlord, {"paused": True}, "/datasources/web")
    told = (await overlord.get(CONFIG)).json()["dataSources"]
    assert told["a b"] == {
        "maxSlots": 3,
        "paused": False,
        "notBefore": "2030-01-01T00:00:00.000Z",
        "startsPerMinute": None,
    }
    assert told["web"]["paused"] is True
    history = (await overlord.get(f"{CONFIG}/history?count=5")).json()
    assert [(each["auditInfo"]["author"], each["auditInfo"]["comment"]) for each in history] == [
        ("", ""),
        ("eve", "nightly"),
    ]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"maxSlots": -1}, "maxSlots"),
        ({"maxSlots": "3"}, "maxSlots"),
        ({"maxSlot": 3}, "maxSlot"),
        ({"dataSources": {"web": {"notBefore": "tomorrow"}}}, "dataSources.web.notBefore"),
        ({"dataSources": {"web": {"startsPerMinute": 0}}}, "dataSources.web.startsPerMinute"),
        ({"dataSources": {"web": {"paused": "yes"}}}, "dataSources.web.paused"),
        ({"dataSources": {"web": []}}, "dataSources.web"),
        ([], "the body"),
    ],
)
async def test_a_configuration_that_cannot_be_meant_is_refused_by_field(
    overlord: AsyncClient, pool: Pool, body: Any, where: str
) -> None:
    answer = await overlord.post(CONFIG, json=body)
    assert answer.status_code == 400
    assert f"Cannot read {where} of the queue's configuration" in answer.text
    assert not any(word in answer.text for word in ("java.", "Json", "instance of", "dictionary")), "words, not code"
    assert await pool.fetchval("SELECT count(*) FROM druid_config") == 0


async def test_a_row_that_cannot_be_read_limits_nothing(app: FastAPI, overlord: AsyncClient, pool: Pool) -> None:
    for key in ("nemeton.queue.config", "worker.config"):
        await pool.execute("INSERT INTO druid_config (name, payload) VALUES ($1, $2)", key, b"{nonsense")
    await submit(overlord, noop("goes-on"))
    assert await starts(FakeRunner(overlord), app) == ["goes-on"]


async def test_a_task_that_waits_for_locks_knows_its_place(overlord: AsyncClient, pool: Pool) -> None:
    day = ["2026-01-01/2026-01-02"]
    for task_id in ("holder", "second", "third"):
        await submit(overlord, index_parallel(task_id, intervals=day))

        async def is_queued(task_id: str = task_id) -> bool:
            state = await pool.fetchval("SELECT state FROM nemeton_attempts WHERE task_id = $1", task_id)
            return state == ("PENDING" if task_id == "holder" else "WAITING")

        await until(is_queued)
    told = [await explanation(overlord, task_id) for task_id in ("second", "third")]
    assert [(each.reason, each.place) for each in told] == [("LOCK_HELD", 1), ("LOCK_HELD", 2)]


async def test_a_full_queue_counts_active_tasks_alone(settings: OverlordSettings) -> None:
    """Druid: TaskQueue.add compares the number of active tasks with druid.indexer.queue.maxSize."""
    async with replica(settings.model_copy(update={"max_queue_size": 2}), wall_clock_ms) as (_, client):
        await submit(client, noop("one"))
        await submit(client, noop("two"))
        refused = await client.post(f"{V1}/task", json=noop("three"))
        assert refused.status_code == 429
        assert refused.json()["category"] == "CAPACITY_EXCEEDED"
        assert "[2]" in refused.json()["errorMessage"]
        await client.post(f"{V1}/task/one/shutdown")
        await submit(client, noop("three"))
