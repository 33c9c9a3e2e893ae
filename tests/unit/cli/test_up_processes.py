"""What `nemeton up` stands on: leashes, identities, the folder's lock, ports, and parts that are kept running."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from druid_core.errors import Conflict, InvalidInput
from nemeton.up import part as parts
from nemeton.up.address import answers, reserve
from nemeton.up.folder import DataFolder
from nemeton.up.house import run
from nemeton.up.identity import ProcessIdentity, end
from nemeton.up.leash import leashed
from nemeton.up.part import Keeper, Part, PartFailed, in_words
from nemeton.up.plan import Wishes, storage_url
from nemeton.up.postgres import EmbeddedPostgres
from tests.support.scripted_overlord import Answer, ScriptedOverlord

ENDLESS = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@contextmanager
def started(command: list[str]) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process
        finally:
            process.kill()


def identity_of(pid: int) -> ProcessIdentity:
    identity = ProcessIdentity.of(pid)
    assert identity is not None
    return identity


def test_process_ends_when_its_parent_is_killed() -> None:
    parent = f"""
import signal, subprocess
from nemeton.up.leash import leashed
print(subprocess.Popen(leashed({ENDLESS!r}, signal.SIGKILL), stdout=subprocess.DEVNULL).pid, flush=True)
signal.pause()
"""
    with started([sys.executable, "-c", parent]) as process:
        assert process.stdout is not None
        child = identity_of(int(process.stdout.readline()))
        process.kill()
        assert child.gone_within(5)


def test_leash_keeps_the_programs_arguments_and_exit_status() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "a b", "--as", "", "ü"]
    done = subprocess.run(leashed(command, signal.SIGKILL), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "['a b', '--as', '', 'ü']\n")


def test_identity_survives_being_written_and_read(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    me.save(tmp_path / "me.json")
    assert ProcessIdentity.load(tmp_path / "me.json") == me
    assert me.is_alive()


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]", '{"pid":"x","startTicks":1,"bootId":""}'])
def test_record_that_cannot_be_read_is_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "part.json").write_text(content)
    assert ProcessIdentity.load(tmp_path / "part.json") is None


def test_stranger_with_the_same_pid_is_neither_taken_for_ours_nor_killed() -> None:
    with started(ENDLESS) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        remembered = replace(identity_of(stranger.pid), start_ticks=1)  # the process that had this pid before
        assert not remembered.is_alive()
        end(remembered, (signal.SIGKILL, 1.0))
        assert stranger.poll() is None


def test_process_that_ignores_the_gentle_signal_gets_the_next() -> None:
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
    with started([sys.executable, "-c", stubborn]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end(identity_of(process.pid), (signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0))
        assert process.wait() == -signal.SIGKILL


def test_second_user_of_a_data_folder_is_refused_in_words(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path)
    with (
        folder.locked(),
        pytest.raises(Conflict, match=rf"another `nemeton up` \(pid {os.getpid()}\).*--data"),
        DataFolder.at(tmp_path).locked(),
    ):
        pass


def test_killed_user_of_a_data_folder_leaves_no_lock(tmp_path: Path) -> None:
    holder = f"""
import signal
from pathlib import Path
from nemeton.up.folder import DataFolder
with DataFolder.at(Path({str(tmp_path)!r})).locked():
    print('up', flush=True)
    signal.pause()
"""
    with started([sys.executable, "-c", holder]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        folder = DataFolder.at(tmp_path)
        with pytest.raises(Conflict), folder.locked():
            pass
        process.kill()
        process.wait()
        with folder.locked():
            assert (folder.run / "lock").read_text() == f"{os.getpid()}\n"


def test_data_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"cannot use .*file/below as data folder: Not a directory"):
        DataFolder.at(tmp_path / "file" / "below")


def test_port_of_a_stranger_is_named_with_its_owner_and_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(Conflict, match=rf"port {port} .* \(pid {os.getpid()}\).*--worker-port"):
            reserve("127.0.0.1", port, "--worker-port")
    assert reserve("127.0.0.1", port, "--worker-port") == port


def test_port_zero_is_any_free_one() -> None:
    assert reserve("127.0.0.1", 0, "--port") > 0


async def test_server_answers_only_when_it_says_200(scripted_overlord: ScriptedOverlord) -> None:
    port = int(scripted_overlord.url.rpartition(":")[2])
    scripted_overlord.on("GET /status/health", b"true")
    scripted_overlord.on("GET /starting", Answer(503))
    assert await answers("127.0.0.1", port, "/status/health")
    assert not await answers("127.0.0.1", port, "/starting")
    assert not await answers("127.0.0.1", reserve("127.0.0.1", 0, "--port"), "/status/health")


def a_part(folder: Path, command: list[str], *, ready: bool = True) -> Part:
    async def is_ready() -> bool:
        return ready

    log, record = folder / "part.log", folder / "part.json"
    return Part("part", command, is_ready, os.environ, "", log, record, stop_signals=[(signal.SIGTERM, 5.0)])


async def test_part_that_dies_is_started_again_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FIRST_PAUSE_S", 0.0)
    said: list[str] = []
    is_back = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        if "is back" in line:
            is_back.set()

    keeper = Keeper(a_part(tmp_path, ENDLESS), say)
    await keeper.start()
    first = ProcessIdentity.load(tmp_path / "part.json")
    assert first is not None
    keeping = asyncio.create_task(keeper.keep())
    first.send(signal.SIGKILL)
    async with asyncio.timeout(10):
        await is_back.wait()
    second = ProcessIdentity.load(tmp_path / "part.json")
    assert second is not None
    assert second != first
    assert said[0] == "part died, killed by signal 9 (SIGKILL); starting it again in 0.0 s"
    await keeper.stop()
    await keeping
    assert not second.is_alive()
    assert not (tmp_path / "part.json").exists()


async def test_part_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such database')"]
    with pytest.raises(PartFailed, match=r"part ended before it was ready, exit status 1[\s\S]*no such database"):
        await Keeper(a_part(tmp_path, command, ready=False), print).start()


async def test_part_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    part = replace(a_part(tmp_path, ENDLESS, ready=False), ready_within_s=0.2)
    with pytest.raises(PartFailed, match="was not ready within"):
        await Keeper(part, print).start()
    identity = ProcessIdentity.load(tmp_path / "part.json")
    assert identity is not None
    assert not identity.is_alive()


async def test_part_is_not_back_while_a_stranger_answers_on_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        part = replace(a_part(tmp_path, ENDLESS), port=port, ready_within_s=0.2)
        with pytest.raises(PartFailed, match="was not ready within"):
            await Keeper(part, print).start()


async def test_part_is_ready_when_it_listens_itself(tmp_path: Path) -> None:
    port = reserve("127.0.0.1", 0, "--port")
    listening = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    keeper = Keeper(replace(a_part(tmp_path, [sys.executable, "-c", listening]), port=port), print)
    assert await keeper.start() > 0
    await keeper.stop()


async def test_last_words_are_those_of_this_start(tmp_path: Path) -> None:
    (tmp_path / "part.log").write_text("trouble of yesterday\n")
    command = [sys.executable, "-c", "import sys; sys.exit('no such database')"]
    with pytest.raises(PartFailed) as failure:
        await Keeper(a_part(tmp_path, command, ready=False), print).start()
    assert "no such database" in str(failure.value)
    assert "yesterday" not in str(failure.value)


async def test_stopping_what_never_started_does_nothing(tmp_path: Path) -> None:
    await Keeper(a_part(tmp_path, ENDLESS), print).stop()


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit status 0"), (137, "exit status 137"), (-9, "killed by signal 9 (SIGKILL)")]
)
def test_end_of_a_process_is_told_in_words(code: int, words: str) -> None:
    assert in_words(code) == words


def test_long_data_folder_gets_a_socket_elsewhere(tmp_path: Path) -> None:
    deep = DataFolder.at(tmp_path / ("d" * 100))
    near, far = EmbeddedPostgres.within(DataFolder(Path("/near"))), EmbeddedPostgres.within(deep)
    assert near.socket_folder == Path("/near/run/postgres")
    assert not far.socket_folder.is_relative_to(deep.path)
    assert far.socket_folder == EmbeddedPostgres.within(deep).socket_folder


def test_cluster_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path)
    folder.postgres.mkdir()
    (folder.postgres / "PG_VERSION").write_text("9\n")
    with pytest.raises(Conflict, match=r"written by PostgreSQL 9, this is PostgreSQL \d+: dump it"):
        EmbeddedPostgres.within(folder)


def test_house_refuses_a_taken_port_before_it_starts_anything(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        wishes = Wishes(tmp_path, "127.0.0.1", port, 0, 1, None, None, None)
        with pytest.raises(Conflict, match=f"port {port} .*--port"):
            run(wishes, said.append)
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("wish", "url"),
    [
        (None, "file:///data/segments"),  # below the data folder
        ("s3://bucket/segments", "s3://bucket/segments"),
        ("/mnt/deep storage", "file:///mnt/deep%20storage"),
        ("segments", f"file://{Path.cwd()}/segments"),  # the peons work elsewhere
    ],
)
def test_storage_is_the_same_for_every_part(wish: str | None, url: str) -> None:
    assert storage_url(wish, Path("/data/segments")) == url
