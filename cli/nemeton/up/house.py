"""`nemeton up`: the parts in their order, up, watched, and down again."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from druid_core.errors import NemetonError
from nemeton.invocation import as_started
from nemeton.up.folder import DataFolder
from nemeton.up.identity import ProcessIdentity, end
from nemeton.up.part import Keeper
from nemeton.up.plan import Plan, Wishes, plan

Say = Callable[[str], None]


def run(wishes: Wishes, say: Say, *, hints: bool = True) -> None:
    """
    Runs the house until SIGINT, SIGTERM or SIGHUP; then returns, with no process left.

    With `hints` it says what a person can do next.

    Raises NemetonError where it cannot start; nothing is left running then either.
    """
    folder = DataFolder.at(wishes.data)
    with folder.locked():
        asyncio.run(_live(wishes, folder, say, hints=hints))


async def _live(wishes: Wishes, folder: DataFolder, say: Say, *, hints: bool) -> None:
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signal_number, leave.set)
    began = loop.time()
    keepers: list[Keeper] = []
    watching: list[asyncio.Task[None]] = []
    say(f"data folder {folder.path}")
    _end_leftovers(folder, say)
    planned = plan(wishes, folder, say)
    try:
        for floor in planned.floors:
            started = [Keeper(part, say) for part in floor]
            keepers += started
            if not await _unless(leave, _start_together(started, say)):
                return
            watching += [asyncio.create_task(keeper.keep()) for keeper in started]
        _announce(folder, planned)
        say(f"all ready in {loop.time() - began:.2f} s")
        if hints:
            say(f"\n{_what_next(planned.overlord_url)}")
        await leave.wait()
    finally:
        (folder.run / "ready.json").unlink(missing_ok=True)
        say("\nstopping")
        await _stop(keepers, say)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _start_together(keepers: Sequence[Keeper], say: Say) -> None:
    async def start(keeper: Keeper) -> None:
        took = await keeper.start()
        say(f"{keeper.part.name:<15} ready in {took:5.2f} s   {keeper.part.where}")

    starts = [asyncio.create_task(start(keeper)) for keeper in keepers]
    try:
        await asyncio.gather(*starts)
    finally:
        for unfinished in starts:
            unfinished.cancel()
        await asyncio.gather(*starts, return_exceptions=True)


async def _unless(leave: asyncio.Event, starting: Coroutine[Any, Any, None]) -> bool:
    """Whether `starting` came to its end before the person wanted to leave. Raises what it raises."""
    start, leaving = asyncio.create_task(starting), asyncio.create_task(leave.wait())
    try:
        await asyncio.wait({start, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            return True
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    finally:
        leaving.cancel()


async def _stop(keepers: Sequence[Keeper], say: Say) -> None:
    """Down again, the last part first. A second signal changes nothing: every step is bounded already."""
    loop = asyncio.get_running_loop()
    for keeper in reversed(keepers):
        before = loop.time()
        await keeper.stop()
        say(f"{keeper.part.name:<15} stopped in {loop.time() - before:.2f} s")


def _end_leftovers(folder: DataFolder, say: Say) -> None:
    """Ends parts of an earlier run on this folder that still live. We hold the folder's lock: they have no master."""
    gently: dict[str, list[tuple[signal.Signals, float]]] = {
        "middle-manager": [],  # killed at once: its peons must live on
        "overlord": [(signal.SIGTERM, 10.0)],
        "postgres": [(signal.SIGINT, 10.0)],
    }
    for name, signals in gently.items():
        record = folder.record(name)
        process = ProcessIdentity.load(record)
        if process is not None and not process.gone_within(1.0):  # its leash may be about to end it
            say(f"{name} of an earlier run is still there (pid {process.pid}); ending it")
            end(process, *signals, (signal.SIGKILL, 5.0))
        record.unlink(missing_ok=True)


def _announce(folder: DataFolder, planned: Plan) -> None:
    """`run/ready.json`: for programs that start us and want to know where we are."""
    me = ProcessIdentity.of(os.getpid())
    if me is None:
        raise NemetonError("the /proc file system does not show this process")
    me.save(folder.record("up"))
    addresses = {"overlord": planned.overlord_url, "middleManager": planned.middle_manager_url}
    beside = folder.run / ".ready.json.new"
    beside.write_bytes(orjson.dumps({"pid": os.getpid()} | addresses))
    beside.replace(folder.run / "ready.json")


def _what_next(url: str) -> str:
    at = "" if url == "http://127.0.0.1:8090" else f" --overlord {url}"
    nemeton = as_started()
    return "\n".join(
        (
            "Next, in another terminal:",
            f"  {nemeton} submit examples/wikiticker-index.json --watch{at}",
            f"  {nemeton} tasks{at}",
            f"  {url}/docs in a browser",
            "Ctrl-C stops everything.",
        )
    )
