"""Logs that outlive whatever happens to their peon, and shutdowns from both sides, on real pods and a real S3."""

import contextlib
import signal
import time

import psutil

from druid_core.status import StatusCode
from tests.support.cluster.client import Raw
from tests.support.house import until
from tests.support.installed import PATIENCE_S, Installation


def _talker(installed: Installation, task_id: str) -> Raw:
    """A task whose peon's process says a numbered line over and over. Returns its pod."""
    installed.apply(task_id.replace("_", "-"), {"task": {"type": "noop", "id": task_id}, "peon": {"template": "talks"}})
    until(lambda: b"line 200\n" in (installed.log(task_id) or b""), f"{task_id} talks\n{installed.words()}", PATIENCE_S)
    return installed.pods_of(task_id)[-1]


def _last_line(log: bytes) -> int:
    return max(int(line.split()[1]) for line in log.splitlines() if line.startswith(b"line "))


def _whole(log: bytes) -> bool:
    """Whether no line is missing between the first and the last."""
    numbers = [int(line.split()[1]) for line in log.splitlines(keepends=True) if line.startswith(b"line ")]
    return numbers == list(range(1, len(numbers) + 1))


def _keeper_and_children(installed: Installation, pod: Raw) -> tuple[list[psutil.Process], list[psutil.Process]]:
    pids = installed.node.pids_of(pod)
    processes = [psutil.Process(pid) for pid in pids]
    children = [process for process in processes if process.ppid() in pids]
    return [process for process in processes if process not in children], children


def test_log_is_exact_at_every_offset_while_the_peon_runs_and_after(installed: Installation) -> None:
    task_id = "talks_offsets"
    _talker(installed, task_id)
    early = installed.log(task_id)
    assert early is not None
    assert len(early) > 1000
    for offset in (0, 1, 999, len(early) - 1):
        piece = installed.log(task_id, offset)
        assert piece is not None
        assert piece.startswith(early[offset:])
    assert installed.log(task_id, -500) is not None
    installed.overlord.shutdown(task_id)
    installed.finished(task_id)
    installed.until_shown("talks-offsets", state="FAILED")
    whole = until(lambda: installed.log(task_id), "there is a log")
    assert whole.startswith(early)
    assert _whole(whole)
    for offset in (0, 1, 999, len(whole) - 1):
        assert installed.log(task_id, offset) == whole[offset:]
    assert installed.log(task_id, -500) == whole[-500:]


def test_log_of_a_peon_that_answers_for_itself_is_exact_too(installed: Installation) -> None:
    task_id = installed.submit({"type": "noop", "runTime": 6_000})
    installed.running_pod(task_id)
    early = installed.log(task_id)
    assert early is not None
    assert installed.log(task_id, 40) == early[40:]
    installed.finished(task_id)
    whole = until(lambda: (log := installed.log(task_id)) and b"Finished peon task" in log and log, "the whole log")
    assert whole.startswith(early)
    assert installed.log(task_id, 40) == whole[40:]


def test_log_of_a_container_that_was_killed_whole_misses_nothing(installed: Installation) -> None:
    task_id = "talks_killed"
    pod = _talker(installed, task_id)
    keepers, children = _keeper_and_children(installed, pod)
    for process in (*keepers, *children):
        with contextlib.suppress(psutil.NoSuchProcess):  # the kernel lets nobody outlive a container's first process
            process.send_signal(signal.SIGKILL)
    installed.until_shown("talks-killed", state="FAILED")
    log = until(lambda: installed.log(task_id), "there is a log")
    assert _whole(log)
    assert _last_line(log) >= 200


def test_log_of_a_pod_that_is_gone_at_once_misses_a_second_at_most(installed: Installation) -> None:
    """Node-lost in small: killed, and the object forced away with its finalizer, so that only the parts are left."""
    task_id = "talks_gone"
    pod = _talker(installed, task_id)
    name = pod["metadata"]["name"]
    before = installed.log(task_id)
    assert before is not None
    time.sleep(1.5)  # so that what was seen above is more than its last second
    installed.node.admin.patch(f"{installed.pods_path}/{name}", {"metadata": {"finalizers": None}})
    installed.kubectl("delete", "pod", name, "--force", "--grace-period=0")
    shown = until(
        lambda: (s := installed.shown("talks-gone")).get("attempts", [{}])[0].get("endedAt") and s, "it ended"
    )
    assert shown["attempts"][0]["cause"] in ("Deleted", "Vanished")
    installed.overlord.shutdown(task_id)
    installed.finished(task_id)
    log = until(lambda: installed.log(task_id), "there is a log")
    assert _last_line(log.split(b"==== attempt 2 ====")[0]) >= _last_line(before)


def test_storage_that_is_away_delays_the_end_of_pods_and_loses_nothing(installed: Installation) -> None:
    task_id = installed.submit({"type": "noop", "runTime": 3_000})
    pod = installed.running_pod(task_id)
    (server,) = installed.component_pods("object-storage")
    processes = [psutil.Process(pid) for pid in installed.node.pids_of(server)]
    for process in processes:
        process.suspend()
    try:
        time.sleep(12)
        kept = [each["metadata"]["name"] for each in installed.pods_of(task_id)]
        assert pod["metadata"]["name"] in kept, "a pod whose log is not safe stays"
    finally:
        for process in processes:
            process.resume()
    assert installed.finished(task_id)["statusCode"] == StatusCode.SUCCESS
    installed.until_shown(installed.object_of(task_id), state="SUCCESS")
    log = until(lambda: installed.log(task_id), "there is a log")
    assert b"Finished peon task" in log
    until(lambda: b"Finished peon task" in installed.store("logs").get(f"{task_id}/log"), "and it is in the bucket")
    until(lambda: not installed.pods_of(task_id), "the pod goes when its log is safe", PATIENCE_S)


def _locked(installed: Installation, task_id: str) -> dict[str, object]:
    """A task that holds a lock on a day and runs for long: its input is slow to come."""
    return {
        "type": "index_parallel",
        "id": task_id,
        "spec": {
            "dataSchema": {
                "dataSource": "locked",
                "timestampSpec": {"column": "time"},
                "dimensionsSpec": {"dimensions": ["city"]},
                "granularitySpec": {"segmentGranularity": "day", "intervals": ["2026-01-31/2026-02-01"]},
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputFormat": {"type": "json"},
                "inputSource": {"type": "inline", "data": '{"time":"2026-01-31T10:00:00Z","city":"Vienna"}'},
            },
            "tuningConfig": {"type": "index_parallel"},
        },
    }


def test_shutdown_by_rest_ends_the_pod_frees_the_lock_and_keeps_the_log(installed: Installation) -> None:
    installed.apply("holds", {"task": _locked(installed, "holds_1"), "peon": {"template": "talks"}})
    until(lambda: b"line 1\n" in (installed.log("holds_1") or b""), f"it runs\n{installed.words()}", PATIENCE_S)
    installed.apply("follows", {"task": _locked(installed, "follows_1")})
    waiting = installed.until_shown("follows", state="WAITING", reason="LockHeld")
    assert "holds_1" in waiting["message"], "a task that waits for a lock says who holds it"
    installed.overlord.shutdown("holds_1")
    shown = installed.until_shown("holds", state="FAILED")
    assert "shut" in shown["errorMsg"].lower(), shown["errorMsg"]
    log = until(lambda: installed.log("holds_1"), "there is a log")
    assert b"told to end" in log, "it had its time to say goodbye"
    assert installed.until_shown("follows", state="SUCCESS")["rowsProcessed"] == 1
    until(lambda: not installed.pods_of("holds_1"), "its pod is gone", PATIENCE_S)


def test_deleted_object_shuts_its_task_down_and_leaves_its_log(installed: Installation) -> None:
    task_id = installed.submit({"type": "noop", "runTime": 120_000})
    installed.running_pod(task_id)
    installed.kubectl("delete", "dt", installed.object_of(task_id), "--timeout=90s")
    status = installed.finished(task_id)
    assert status["statusCode"] == StatusCode.FAILED
    assert installed.object(installed.object_of(task_id)) is None
    assert f"Running task [{task_id}]".encode() in installed.store("logs").get(f"{task_id}/log")
    assert installed.log(task_id) == installed.store("logs").get(f"{task_id}/log")
