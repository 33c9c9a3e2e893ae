"""The benchmark's own arithmetic: which numbers meet a target, and that both rivals always get the same rows."""

import hashlib
import json
import subprocess
import sys

import pytest

from tests.bench.results import Line, Target, table
from tests.bench.rows import edits
from tests.bench.serving import Calls
from tests.bench.watch import PeonWatch


@pytest.mark.parametrize(
    ("target", "ours", "druids", "met"),
    [
        (Target(5), 5.0, None, True),
        (Target(5), 5.1, None, False),
        (Target(1 / 8, of_druid=True), 1.0, 8.0, True),
        (Target(1 / 8, of_druid=True), 1.1, 8.0, False),
        (Target(1 / 8, of_druid=True), 1.0, None, None),
        (Target(1.5, of_druid=True, at_least=True), 150.0, 100.0, True),
        (Target(1.5, of_druid=True, at_least=True), 149.0, 100.0, False),
    ],
)
def test_target_is_met_at_its_bound_and_not_beyond(
    target: Target, ours: float, druids: float | None, met: bool | None
) -> None:
    assert target.is_met(ours, druids) is met


def test_table_shows_medians_and_the_verdict_on_them() -> None:
    line = Line("noop", "s", ours=[0.9, 0.1, 0.2], druids=[4, 2, 9], target=Target(0.5))
    assert [cell.strip() for cell in table([line]).splitlines()[2].split("|")[1:-1]] == [
        *("noop", "s", "0.2", "4", "0.05", "≤ 0.5", "yes")
    ]


def test_edits_are_the_same_on_every_machine() -> None:
    text = "".join(json.dumps(edit, ensure_ascii=False) for edit in edits(2000))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3d90510a55d9de60"


def test_edits_hold_every_odd_kind_of_value() -> None:
    some = list(edits(2000))
    assert any(edit["country"] is None for edit in some)
    assert any(edit["added"] is None for edit in some)
    assert any("comment" not in edit for edit in some)
    assert {type(edit["tags"]) for edit in some} == {str, list}
    assert [edit["timestamp"] for edit in some] == sorted(edit["timestamp"] for edit in some)


def test_percentiles_come_from_the_sorted_latencies() -> None:
    posts = Calls([float(i) for i in range(1, 101)], 1.0)
    assert (posts.percentile(50), posts.percentile(99)) == (51.0, 100.0)


def test_watch_counts_the_cpu_of_a_peon_and_of_its_child() -> None:
    burn = "import os, time\npid = os.fork()\nwhile time.process_time() < 0.3: pass\nif pid: os.wait()\n"
    with subprocess.Popen([sys.executable, "-c", burn]) as busy, PeonWatch(lambda: [busy.pid]) as watch:
        busy.wait(timeout=60)
    assert watch.cost.cpu_s > 0.4  # 0.3 each, less what the last looks missed
    assert watch.cost.peak_rss_bytes > 1_000_000
