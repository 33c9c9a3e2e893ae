"""
Segments for tasks that append: how many are allocated a second, by tasks of one datasource that ask all at once.

Each request begins a sequence of its own, in one of the 24 hours of a day, under a lock that its task shares with the
others. Both rivals decide together what arrives together. The tasks are in line for a slot meanwhile, so nothing else
is done; each speaks as a peon of Druid does.
"""

from collections.abc import Sequence
from typing import Any

from tests.bench.client import TASKS, Client
from tests.bench.rivals import Rival
from tests.bench.serving import Calls, at_once, idle

TASKS_A_CLIENT = 4
HOURS = 24


def allocate(rival: Rival, data_source: str, clients: int, each: int) -> Calls:
    """`clients` connections allocate `each` segments, one after the other, each for four tasks in turn."""
    with idle(rival):
        tasks = _started(rival, data_source, clients * TASKS_A_CLIENT)
        return at_once(
            rival.url,
            clients,
            each,
            lambda client, worker, number: _allocate_one(client, tasks[worker::clients], data_source, worker, number),
        )


def _started(rival: Rival, data_source: str, count: int) -> list[dict[str, Any]]:
    """As the Overlord has them: a peon sends its task with each action."""
    client = Client(rival.url)
    tasks: list[dict[str, Any]] = []
    for number in range(count):
        task_id = f"append-{data_source}-{number}"
        task = {"type": "noop", "id": task_id, "groupId": task_id, "dataSource": data_source, "context": {}}
        client.submit(task)
        tasks.append(task)
    client.close()
    return tasks


def _allocate_one(client: Client, tasks: Sequence[dict[str, Any]], data_source: str, worker: int, number: int) -> None:
    action = {
        "type": "segmentAllocate",
        "dataSource": data_source,
        "timestamp": f"2026-01-01T{(worker + number) % HOURS:02}:30:00.000Z",
        "queryGranularity": {"type": "none"},
        "preferredSegmentGranularity": "HOUR",
        "sequenceName": f"{data_source}-{worker}-{number}",
        "previousSegmentId": None,
        "skipSegmentLineageCheck": True,
        "shardSpecFactory": {"type": "numbered"},
        "lockGranularity": "TIME_CHUNK",
        "taskLockType": "APPEND",
    }
    answer = client.ask("POST", f"{TASKS}/action", {"task": tasks[number % len(tasks)], "action": action})
    if b'"shardSpec"' not in answer:
        raise RuntimeError(f"no segment was allocated: {answer[:300]!r}")
