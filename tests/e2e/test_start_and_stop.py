"""Starting again and stopping, as a person does every day."""

import signal
import socket
from pathlib import Path

from tests.support.house import House, until


def test_second_start_is_quick_and_remembers(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    with house:
        task_id = house.submit({"type": "noop", "runTime": 1})
        assert house.finished(task_id)["statusCode"] == "SUCCESS"
    # Five seconds on a quiet machine (make bench measures it); the tests' machine may be busy.
    assert house.start() < 20
    assert "made in" not in house.output.read_text().split("stopping")[-1]
    assert [task["id"] for task in house.overlord.tasks()] == [task_id]
    house.stop()


def test_stop_is_graceful_in_order_and_leaves_no_process(own_house: House) -> None:
    running = own_house.submit({"type": "noop", "runTime": 60_000})
    own_house.running(running)
    assert own_house.stop() == 0
    assert not own_house.processes()
    stopped = [line.split()[0] for line in own_house.output.read_text().splitlines() if " stopped in " in line]
    assert stopped == ["middle-manager", "overlord", "postgres"]
    assert not (own_house.data / "run" / "ready.json").exists()
    own_house.start()
    status = own_house.finished(running)
    assert status["statusCode"] == "FAILED"
    assert "told to stop" in status["errorMsg"]


def test_terminate_stops_it_as_ctrl_c_does(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    process = house.launch()
    until(lambda: (house.data / "run" / "postgres.json").exists(), "PostgreSQL is being started")
    process.send_signal(signal.SIGTERM)  # in the middle of the start
    assert process.wait(60) == 0, house.words()
    assert not house.processes()


def test_second_house_on_the_same_folder_is_refused(own_house: House) -> None:
    second = House(own_house.data)
    second.output = own_house.data.parent / "second.out"
    assert second.launch().wait(60) == 1
    assert "another `nemeton up`" in second.output.read_text()
    assert own_house.answers()


def test_taken_port_is_told_with_the_flag_to_change_it(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    with socket.create_server(("127.0.0.1", house.port)):
        assert house.launch().wait(60) == 1
    words = house.output.read_text()
    assert f"port {house.port} on 127.0.0.1 is taken" in words
    assert "--port" in words
    assert not house.processes()


def test_hints_can_be_left_out(tmp_path: Path) -> None:
    house = House(tmp_path / "data", "--no-hints")
    with house:
        pass
    assert "all ready in" in house.output.read_text()
    assert "in another terminal" not in house.output.read_text()


def test_unreachable_database_is_one_sentence_without_a_stack_trace(tmp_path: Path) -> None:
    house = House(tmp_path / "data", "--database-url", "postgresql://druid@127.0.0.1:1/druid")
    assert house.launch().wait(60) == 1
    words = house.output.read_text()
    assert "The metadata database [127.0.0.1:1/druid] does not answer: nobody listens there" in words
    assert "Traceback" not in words
    assert not house.processes()
