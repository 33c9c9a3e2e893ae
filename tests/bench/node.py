"""
A pod by numbers, on a real kubelet: a task beside a bare pod, how soon a peon reads, what the release takes at rest.

The release is the chart's, installed by Helm from images built of this working tree (`tests.support.installed`).
"""

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson

from tests.bench.results import Line, Target
from tests.bench.rows import START, edits
from tests.bench.watch import resident_bytes
from tests.support.cluster.client import Raw
from tests.support.cluster.images import archive
from tests.support.cluster.node import running_node
from tests.support.house import until
from tests.support.installed import PATIENCE_S, RESTRICTED, ROLES, VALUES, Installation

MIB = 1024 * 1024
SETTLE_S = 10.0
ROWS = 1000
"""Of the ingestion whose first rows count: what is read is small, what a peon loads before it is not."""

TARGETS = {
    "noop, times a bare pod": Target(1.5),
    "peon's start to its first rows": Target(1.5),
    "Overlord's pod at rest, RSS": Target(150),
    "operator's pod at rest, RSS": Target(120),
}

_FIRST_ROWS = re.compile(rb"First rows read (\d+) ms after the container began")


def measure_node(repeats: int, lines: list[Line], say: Callable[[str], None]) -> None:
    """
    Takes every measure; the lines get what was found.

    Raises ProgramMissing, ImageNotBuilt, and AssertionError where something takes longer than it may.
    """

    def note(name: str, unit: str, *values: float) -> None:
        say(f"  {name}: {', '.join(f'{value:.4g}' for value in values)} {unit}")
        lines.append(Line(name, unit, ours=values, target=TARGETS.get(name)))

    say("node")
    with running_node() as node:
        node.apply_crds()
        note("node's start to Ready", "s", node.seconds_to_ready)
        installed = Installation(node, node.new_namespace(RESTRICTED, prefix="bench"))
        installed.install()
        time.sleep(SETTLE_S)
        for word, component in (("Overlord", "overlord"), ("operator", "operator")):
            resident = [pod_resident_bytes(installed, pod) / MIB for pod in installed.component_pods(component)]
            note(f"{word}'s pod at rest, RSS", "MiB", max(resident))
        bare: list[float] = []
        noop: list[tuple[float, float]] = []
        first_rows: list[float] = []
        ingestion: list[float] = []
        for number in range(repeats + 1):  # in turn, so that what else the machine does falls on all
            bare.append(bare_pod_seconds(installed, number))
            noop.append(noop_seconds(installed))
            task_id, seconds = ingest(installed)
            first_rows.append(first_rows_seconds(installed, task_id))
            ingestion.append(seconds)
        # the first of each finds cold files
        note("bare pod, create to Succeeded", "s", *bare[1:])
        to_success, to_succeeded = zip(*noop[1:], strict=True)
        note("noop, POST to SUCCESS", "s", *to_success)
        note("noop, POST to its pod's Succeeded", "s", *to_succeeded)
        note("noop, times a bare pod", "", statistics.median(to_success) / statistics.median(bare[1:]))
        note("peon's start to its first rows", "s", *first_rows[1:])
        note("ingestion of a few rows, POST to SUCCESS", "s", *ingestion[1:])
    for role in ROLES:
        note(f"image of the {role}, unpacked", "MiB", archive(role).stat().st_size / MIB)


def bare_pod_seconds(installed: Installation, number: int) -> float:
    """From create to Succeeded of a pod of the peon's image whose Python does nothing."""
    image = VALUES["image"]
    container = {
        "name": "main",
        "image": f"{image['prefix']}peon:{image['tag']}",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "pass"],
        "resources": VALUES["peon"]["resources"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    path = f"{installed.pods_path}/bare-{number}"
    began = time.monotonic()
    installed.node.admin.create(installed.pods_path, {"metadata": {"name": f"bare-{number}"}, "spec": spec})
    until(lambda: installed.node.admin.get(path)["status"].get("phase") == "Succeeded", "the bare pod ends")
    took = time.monotonic() - began
    installed.node.admin.delete(path, gracePeriodSeconds="0")
    return took


def noop_seconds(installed: Installation) -> tuple[float, float]:
    """From POST to SUCCESS, which the peon itself says; and from POST to its pod's Succeeded, as of a bare one."""
    began = time.monotonic()
    task_id, seconds = _run(installed, {"type": "noop", "runTime": 1})

    def pod_has_ended() -> bool:
        return [pod["status"].get("phase") for pod in installed.pods_of(task_id)] == ["Succeeded"]

    until(pod_has_ended, f"the pod of {task_id} ends")
    return seconds, time.monotonic() - began


def ingest(installed: Installation) -> tuple[str, float]:
    """The id of a task that has read a few rows, and the seconds from POST to SUCCESS."""
    return _run(installed, _INGESTION)


def first_rows_seconds(installed: Installation, task_id: str) -> float:
    """From the first process in a peon's container to its first rows, as the peon itself has logged it."""
    said = until(
        lambda: _FIRST_ROWS.search(installed.log(task_id) or b""), f"{task_id} has read its first rows", PATIENCE_S
    )
    return int(said[1]) / 1000


def pod_resident_bytes(installed: Installation, raw_pod: Raw) -> int:
    """Of all processes in a pod; pages that they share count for each."""
    return sum(resident_bytes(pid) for pid in installed.node.pids_of(raw_pod))


def _run(installed: Installation, task: dict[str, Any]) -> tuple[str, float]:
    began = time.monotonic()
    task_id = installed.submit(task)
    assert installed.finished(task_id)["statusCode"] == "SUCCESS", installed.log(task_id)
    return task_id, time.monotonic() - began


_INGESTION = {
    "type": "index_parallel",
    "spec": {
        "dataSchema": {
            "dataSource": "bench",
            "timestampSpec": {"column": "timestamp", "format": "iso"},
            "dimensionsSpec": {"dimensions": ["page", "language", "country", {"name": "added", "type": "long"}]},
            "granularitySpec": {
                "segmentGranularity": "day",
                "rollup": False,
                "intervals": [f"{START:%Y-%m-%d}/P1D"],
            },
        },
        "ioConfig": {
            "type": "index_parallel",
            "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": "\n".join(orjson.dumps(edit).decode() for edit in edits(ROWS))},
        },
        "tuningConfig": {"type": "index_parallel"},
    },
}
"""It locks its day and reads afterwards: the call to the Overlord is in its time."""
