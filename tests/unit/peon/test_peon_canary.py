"""A secret of a task is in no line, report, status or stack trace of its peon."""

import subprocess
import sys
from pathlib import Path

import orjson

from tests.support.task_specs import index_parallel

CANARY = "c4n4ry-tweets-here"


def test_a_canary_in_a_task_is_in_nothing_that_its_peon_leaves(tmp_path: Path) -> None:
    task = index_parallel("t", context={"password": CANARY})
    task["spec"]["ioConfig"]["inputSource"] = {
        "type": "http",
        "uris": [f"http://me:{CANARY}@127.0.0.1:1/a.json?sig={CANARY}"],
        "httpAuthenticationUsername": "me",
        "httpAuthenticationPassword": CANARY,
    }
    (tmp_path / "task.json").write_bytes(orjson.dumps(task))
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "peon.run", tmp_path / "task.json", out / "status.json", out / "report.json"]
    peon = subprocess.run(
        [*command, "--port", "0", "--deep-storage", str(tmp_path / "deep")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    log = peon.stdout.decode()
    status = (out / "status.json").read_text()
    report = (out / "report.json").read_text()
    assert "127.0.0.1:1/a.json" in log, "the address is told"
    assert "127.0.0.1:1/a.json" in status
    for text in (log, status, report):
        assert CANARY not in text
