"""The log of a pod whose keeper could not store it, brought to storage by the operator."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from druid_core.errors import StorageError
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord_operator.log.ship import FetchPodLog, make_safe


@pytest.fixture
def logs(tmp_path: Path) -> TaskLogs:
    return TaskLogs.from_url(str(tmp_path))


class Away(TaskLogs):
    """A storage that takes nothing until it is back."""

    is_away = True

    def finish_attempt(self, task_id: str, attempt: int, log: bytes | Path | Iterator[bytes]) -> None:
        if self.is_away:
            raise StorageError("nobody answers")
        super().finish_attempt(task_id, attempt, log)


def pod_log(*chunks: bytes) -> FetchPodLog:
    async def fetch(into: BinaryIO) -> bool:
        for chunk in chunks:
            into.write(chunk)
        return bool(chunks)

    return fetch


async def never(into: BinaryIO) -> bool:
    raise AssertionError("nobody need ask the kubelet")


def stored(logs: TaskLogs) -> bytes:
    return logs.read("t", TaskLogName.LOG)


async def test_a_log_that_its_keeper_stored_is_left_as_it_is(logs: TaskLogs) -> None:
    logs.finish_attempt("t", 1, b"whole")
    assert await make_safe(logs, "t", 1, never)
    assert stored(logs) == b"whole"


@pytest.mark.parametrize("parts", [[], [b"the beg"]])
async def test_a_keeper_that_stores_its_log_meanwhile_has_the_last_word(logs: TaskLogs, parts: list[bytes]) -> None:
    for index, part in enumerate(parts):
        logs.push_part("t", 1, index, part)

    async def while_the_kubelet_is_asked(into: BinaryIO) -> bool:
        logs.finish_attempt("t", 1, b"the beginning and the end")
        return False

    assert await make_safe(logs, "t", 1, while_the_kubelet_is_asked)
    assert stored(logs) == b"the beginning and the end"


@pytest.mark.parametrize(
    ("parts", "of_kubelet", "expected"),
    [
        pytest.param([], [b"from the kubelet\n"], b"from the kubelet\n", id="storage was away all the time"),
        pytest.param([b"said"], [b"said", b" more"], b"said more", id="the kubelet has the last second"),
        pytest.param([b"said ", b"all"], [], b"said all", id="the node is gone"),
        pytest.param([b"said ", b"all"], [b"all"], b"said all", id="the kubelet has dropped the beginning"),
        pytest.param(
            [b"0123456789" * 500, b"the end"],
            [b"789the end, and what", b" came after"],
            b"0123456789" * 500 + b"the end",
            id="the kubelet has too little to see where it goes on",
        ),
        pytest.param(
            [b"0123456789" * 500, b"the end"],
            [b"0123456789" * 200, b"the end, and what came after"],
            b"0123456789" * 500 + b"the end, and what came after",
            id="the kubelet has dropped the beginning and has the last second",
        ),
    ],
)
async def test_what_there_is_makes_the_log(
    logs: TaskLogs, parts: list[bytes], of_kubelet: list[bytes], expected: bytes
) -> None:
    for index, part in enumerate(parts):
        logs.push_part("t", 1, index, part)
    for _ in range(2):
        assert await make_safe(logs, "t", 1, pod_log(*of_kubelet))
        assert stored(logs) == expected
    assert logs.parts_log("t", 1).size == 0


async def test_where_there_is_nothing_a_line_says_so(logs: TaskLogs) -> None:
    assert await make_safe(logs, "t", 1, pod_log())
    assert b"Attempt 1 of task [t] left no log" in stored(logs)
    assert await make_safe(logs, "t", 2, pod_log(), "Its image could not be pulled")
    assert stored(logs).endswith(b"said anything. Its image could not be pulled\n")


async def test_a_storage_that_is_away_delays_and_loses_nothing(tmp_path: Path) -> None:
    logs = Away.from_url(str(tmp_path))
    assert isinstance(logs, Away)
    logs.push_part("t", 1, 0, b"said")
    with pytest.raises(StorageError, match="nobody answers"):
        await make_safe(logs, "t", 1, pod_log(b"said more"))
    assert logs.parts_log("t", 1).read() == b"said"
    logs.is_away = False
    assert await make_safe(logs, "t", 1, pod_log(b"said more"))
    assert stored(logs) == b"said more"


async def test_an_attempts_log_that_did_not_reach_the_tasks_log_yet_is_brought_there(
    logs: TaskLogs, tmp_path: Path
) -> None:
    logs.finish_attempt("t", 1, b"one")
    logs.finish_attempt("t", 2, b"two")
    (tmp_path / "t.log").write_bytes(b"one")
    assert await make_safe(logs, "t", 2, never)
    assert stored(logs) == b"one\n==== attempt 2 ====\ntwo"


async def test_a_large_log_is_stored_whole(logs: TaskLogs) -> None:
    chunk = os.urandom(1 << 20)
    assert await make_safe(logs, "t", 1, pod_log(*[chunk] * 20))
    assert stored(logs) == chunk * 20
