"""A real MiddleManager with real peons: killed, restarted, stopped, and never losing or doubling an attempt."""

import ast
import inspect
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from peon import run as peon_run
from tests.support.fake_overlord import FakeOverlord
from tests.unit.middle_manager.conftest import MiddleManagerProcess, wait_until

Start = Callable[..., MiddleManagerProcess]
LONG_MS = 60_000


def noop(task_id: str = "n", run_time_ms: int = 1) -> dict[str, Any]:
    return {"type": "noop", "id": task_id, "groupId": task_id, "dataSource": "none", "runTime": run_time_ms}


def running_peon(middle_manager: MiddleManagerProcess) -> psutil.Process:
    """The one peon, past its gate: its first log line is written."""
    wait_until(lambda: any(b"Running noop" in log.read_bytes() for log in middle_manager.data.glob("tasks/*/log")))
    (peon,) = middle_manager.peons()
    return peon


def test_a_task_runs_its_log_is_stored_and_nothing_is_left(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    attempt = overlord.assign(noop("noop a"))
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert (report["status"]["status"], report["reason"]) == ("SUCCESS", "exit code 0")
    assert overlord.last_word("noop a") is not None
    assert overlord.tokens
    assert set(overlord.tokens) == {"Bearer token-of-noop a-1"}
    assert b"Finished peon task" in (middle_manager.logs / "noop a.log").read_bytes()
    assert (middle_manager.logs / "noop a.status.json").exists()
    wait_until(
        lambda: not list(middle_manager.data.glob("tasks/*")) and not list(middle_manager.data.glob("attempts/*"))
    )


def test_a_running_task_has_a_place_and_a_log(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "RUNNING"))
    running_peon(middle_manager)
    with socket.create_connection((report["location"]["host"], report["location"]["port"]), 5):
        pass
    assert middle_manager.api("GET", "/tasks").json() == ["n"]
    whole = middle_manager.api("GET", "/task/n/log").content
    assert b"Running noop task" in whole
    assert middle_manager.api("GET", "/task/n/log?offset=5").content == whole[5:]
    assert middle_manager.api("GET", "/task/n/log?offset=-5").content == whole[-5:]
    assert middle_manager.api("GET", "/task/n/log?offset=1000000").content == b""
    assert middle_manager.api("GET", "/task/n/log?offset=abc").status_code == 404
    assert middle_manager.api("GET", "/task/unknown/log").status_code == 404


def test_peons_outlive_a_killed_middle_manager_and_are_found_again(
    overlord: FakeOverlord, start_middle_manager: Start
) -> None:
    first = start_middle_manager()
    attempt = overlord.assign(noop("n", 3000))
    peon = running_peon(first)
    first.kill()
    assert peon.is_running()
    second = start_middle_manager()
    wait_until(lambda: second.data.exists() and overlord.announcements[-1]["attempts"] != [] and peon.is_running())
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"]["status"] == "SUCCESS"
    words = [said for said in overlord.actions if said["action"]["type"] == "updateStatus"]
    assert len(words) == 1
    wait_until(lambda: (second.logs / "n.log").exists())


def test_a_peon_that_ended_meanwhile_has_left_its_word(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    attempt = overlord.assign(noop("n", 1000))
    peon = running_peon(first)
    first.kill()
    peon.wait(10)
    start_middle_manager()
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"]["status"] == "SUCCESS"


def test_a_peon_that_died_meanwhile_is_reported_in_words(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    peon = running_peon(first)
    first.kill()
    peon.kill()
    peon.wait(10)
    start_middle_manager()
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"] is None
    assert report["reason"] == "its process was gone when the MiddleManager came back"


def test_a_killed_peon_is_reported_with_its_signal(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    running_peon(middle_manager).kill()
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert (report["status"], report["reason"]) == (None, "killed by signal 9 (SIGKILL)")
    assert b"Running noop" in (middle_manager.logs / "n.log").read_bytes()


def test_an_attempt_is_started_once_however_often_it_is_ordered(
    overlord: FakeOverlord, start_middle_manager: Start
) -> None:
    middle_manager = start_middle_manager("--worker-capacity=4")
    overlord.assigned += [("n", 1)] * 3
    attempt = overlord.assign(noop("n", 500))
    running_peon(middle_manager)
    overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert middle_manager.output.read_text().count("Attempt 1 of task [n] started") == 1


def test_a_start_that_was_cut_short_is_made_anew(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    peon = running_peon(first)
    first.kill()
    peon.kill()
    # as if it had been killed between making the record and learning the pid
    (record,) = first.data.glob("attempts/*/attempt.json")
    for begun in first.data.glob("tasks/*/attempt/1/begun"):
        begun.unlink()
    text = record.read_bytes()
    begin = text.index(b'"process":')
    end = text.index(b"}", begin) + 1
    record.write_bytes(text[:begin] + b'"process":null' + text[end:])
    overlord.reports.clear()
    second = start_middle_manager()
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "RUNNING"))
    running_peon(second)


def test_a_peon_that_was_never_let_in_is_made_anew(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    peon = running_peon(first)
    first.kill()
    peon.kill()
    # as if it had been killed between learning the pid and opening the gate: the peon found nobody and left
    (begun,) = first.data.glob("tasks/*/attempt/1/begun")
    begun.unlink()
    overlord.reports.clear()
    second = start_middle_manager()
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "RUNNING"))
    running_peon(second)
    assert not [report for report in overlord.reports if report["state"] == "ENDED"]


def test_a_stop_order_ends_the_peon_and_keeps_its_log(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    attempt = overlord.assign(noop("n", LONG_MS))
    running_peon(middle_manager)
    overlord.stop(attempt)
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"]["errorMsg"] == "Canceled: the peon was told to stop (SIGTERM)"
    assert (middle_manager.logs / "n.log").exists()


def test_the_worker_api_ends_one_task(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    attempt = overlord.assign(noop("n ä", LONG_MS))
    running_peon(middle_manager)
    assert middle_manager.api("POST", "/task/n%20%C3%A4/shutdown").json() == {"task": "n ä"}
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))["status"]["status"] == "FAILED"
    assert middle_manager.api("POST", "/task/n/shutdown").status_code == 404


def test_a_graceful_stop_leaves_no_process_and_reports_all(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager("--worker-capacity=2")
    attempts = [overlord.assign(noop(f"n{number}", LONG_MS)) for number in range(2)]
    wait_until(lambda: sum(b"Running" in log.read_bytes() for log in middle_manager.data.glob("tasks/*/log")) == 2)
    assert middle_manager.terminate() == 0
    assert middle_manager.peons() == []
    for attempt in attempts:
        report = overlord.report_of(attempt, "ENDED")
        assert report is not None
        assert report["status"]["errorMsg"] == "Canceled: the peon was told to stop (SIGTERM)"
        assert (middle_manager.logs / f"{attempt[0]}.log").exists()


def test_a_peon_that_does_not_listen_is_killed_after_the_grace(
    overlord: FakeOverlord, start_middle_manager: Start
) -> None:
    middle_manager = start_middle_manager("--grace=0.3")
    attempt = overlord.assign(noop("n", LONG_MS))
    running_peon(middle_manager).suspend()
    assert middle_manager.terminate() == 0
    assert middle_manager.peons() == []
    report = overlord.report_of(attempt, "ENDED")
    assert report is not None
    assert report["reason"] == "the MiddleManager was stopped"


def test_disabled_stays_disabled_over_a_restart(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager("--worker-capacity=3")
    overlord.wait_for(lambda: overlord.announcements and overlord.announcements[-1]["capacity"] == 3)
    name = f"127.0.0.1:{first.port}"
    assert first.api("GET", "/enabled").json() == {name: True}
    assert first.api("POST", "/disable").json() == {name: "disabled"}
    overlord.wait_for(
        lambda: (overlord.announcements[-1]["capacity"], overlord.announcements[-1]["enabled"]) == (0, False)
    )
    first.kill()
    overlord.announcements.clear()
    second = start_middle_manager("--worker-capacity=3")
    overlord.wait_for(lambda: overlord.announcements and not overlord.announcements[-1]["enabled"])
    name = f"127.0.0.1:{second.port}"
    assert second.api("GET", "/enabled").json() == {name: False}
    assert second.api("POST", "/enable").json() == {name: "enabled"}
    overlord.wait_for(lambda: overlord.announcements[-1]["capacity"] == 3)


def test_it_announces_the_types_that_its_peons_run(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    start_middle_manager()
    overlord.wait_for(lambda: overlord.announcements)
    by_type = next(node for node in ast.walk(ast.parse(inspect.getsource(peon_run))) if isinstance(node, ast.Match))
    of_peon = [ast.literal_eval(value.value) for value in ast.walk(by_type) if isinstance(value, ast.MatchValue)]
    assert "index_parallel" in of_peon
    assert overlord.announcements[-1]["taskTypes"] == sorted(of_peon)


def test_all_is_told_again_when_the_overlord_comes_back(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    middle_manager = start_middle_manager()
    overlord.forgets_ended = False
    attempt = overlord.assign(noop("n", 1500))
    running_peon(middle_manager)
    overlord.go_away()
    overlord.reports.clear()
    wait_until(lambda: "does not answer" in middle_manager.output.read_text())
    time.sleep(1.5)
    overlord.come_back()
    assert overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))["status"]["status"] == "SUCCESS"
    assert {"taskId": "n", "attempt": 1} in overlord.announcements[-1]["attempts"]


def test_a_task_beyond_its_share_of_the_disk_is_ended_in_words(
    overlord: FakeOverlord, start_middle_manager: Start
) -> None:
    middle_manager = start_middle_manager("--worker-capacity=2", "--base-task-dir-size=2000000")
    attempt = overlord.assign(noop("n", LONG_MS))
    running_peon(middle_manager)
    (task_dir,) = middle_manager.data.glob("tasks/*")
    (task_dir / "spilled").write_bytes(b"x" * 1_200_000)
    report = overlord.wait_for(lambda: overlord.report_of(attempt, "ENDED"))
    assert report["status"] is None
    assert report["reason"].startswith("ended by the MiddleManager: its task folder held ")
    assert "more than its share of 1000000 bytes" in report["reason"]


def test_ids_that_no_path_could_hold_run_like_any_other(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    start_middle_manager("--worker-capacity=4")
    ids = ["-x", "..", "a b%2F%", "long-" * 60]
    attempts = [overlord.assign(noop(task_id)) for task_id in ids]
    for attempt in attempts:
        report = overlord.wait_for(lambda ref=attempt: overlord.report_of(ref, "ENDED"))
        assert report["status"] == {**report["status"], "id": attempt[0], "status": "SUCCESS"}


def test_a_second_one_on_the_same_data_is_refused(overlord: FakeOverlord, start_middle_manager: Start) -> None:
    first = start_middle_manager()
    overlord.wait_for(lambda: overlord.announcements)
    second = start_middle_manager()
    assert second.process.wait(15) == 1
    assert f"another MiddleManager works in {first.data}" in second.output.read_text()


def test_a_taken_port_is_named(overlord: FakeOverlord, start_middle_manager: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        middle_manager = start_middle_manager(f"--port={port}")
        assert middle_manager.process.wait(15) == 1
    assert f"127.0.0.1:{port} cannot be listened on" in middle_manager.output.read_text()
