"""
`make demo`: the whole way of one task, in less than half a minute.

Starts everything on free ports over `./nemeton-data` (or uses the `nemeton up` that runs there already), loads a day of
Wikipedia edits, shows the segments that came of it, and stops what it started. What it made stays for a look.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from druid_core.errors import Conflict, NemetonError, Unavailable
from nemeton.invocation import as_started
from nemeton.up.folder import DataFolder
from nemeton.up.leash import leashed

EXAMPLE = Path("examples/wikiticker-index.json")
START_WITHIN_S = 60.0


def main() -> int:
    try:
        folder = DataFolder.at(Path("nemeton-data"))
        with _house(folder) as url:
            return _load(url, folder)
    except NemetonError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _load(url: str, folder: DataFolder) -> int:
    from nemeton.client.overlord import Overlord
    from nemeton.client.submit import read_spec, watch
    from nemeton.dump import dump
    from nemeton.progress import ProgressLine

    overlord, nemeton = Overlord(url), as_started()
    print(f"\n$ {nemeton} submit {EXAMPLE} --watch", flush=True)
    task_id = overlord.submit(read_spec(str(EXAMPLE)))
    print(task_id, flush=True)
    with ProgressLine(sys.stdout) as line:
        status = watch(overlord, task_id, line.show)
    if status["statusCode"] != "SUCCESS":
        raise NemetonError(f"the task FAILED: {status['errorMsg']}\nits log: {folder.task_logs}")
    for segment_id in overlord.segments(task_id):
        segment = _folder_of(segment_id, status["dataSource"], folder)
        print(f"\n$ {nemeton} segment dump {os.path.relpath(segment)} --limit 2", flush=True)
        dump(segment, 2, as_json=False)
    print(f"\nAll of it is still there: `{nemeton} up`, then `{nemeton} tasks`.", flush=True)
    return 0


@contextmanager
def _house(folder: DataFolder) -> Generator[str]:
    """The URL of an Overlord over this folder: the one that runs, or one that is started and stopped again."""
    try:
        with folder.locked():
            pass
    except Conflict:
        yield _ready(folder, None)["overlord"]
        return
    print(f"$ {as_started()} up --data {os.path.relpath(folder.path)} --port 0 --worker-port 0", flush=True)
    (folder.run / "ready.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "nemeton", "up", "--data", str(folder.path), "--port", "0", "--worker-port", "0"]
    command.append("--no-hints")  # they are for whoever stays
    house = subprocess.Popen(leashed(command, signal.SIGTERM), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield _ready(folder, house)["overlord"]
    finally:
        house.terminate()
        house.wait(60)


def _ready(folder: DataFolder, house: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    until = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until:
        if house is not None and house.poll() is not None:
            raise Unavailable("`nemeton up` could not start; its own words stand above")
        try:
            return orjson.loads((folder.run / "ready.json").read_bytes())
        except FileNotFoundError:
            time.sleep(0.05)
    raise Unavailable(f"`nemeton up` was not ready within {START_WITHIN_S:.0f} s; see {folder.logs}")


def _folder_of(segment_id: str, data_source: str, folder: DataFolder) -> Path:
    """Where local deep storage keeps a segment: `<datasource>/<start>_<end>/<version>/<partition>`."""
    start, end, version, *partition = segment_id.removeprefix(f"{data_source}_").split("_")
    return folder.segments / data_source / f"{start}_{end}" / version / (partition or ["0"])[0]


if __name__ == "__main__":
    sys.exit(main())
