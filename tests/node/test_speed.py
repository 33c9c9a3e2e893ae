"""What a pod costs over a bare one, and how soon a peon reads: medians of a few, printed."""

import statistics
import time

import pytest

from tests.support.house import until
from tests.support.installed import VALUES, Installation

ROUNDS = 5
WORST_RATIO = 1.5


def _bare_seconds(installed: Installation, number: int) -> float:
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
    began = time.monotonic()
    installed.node.admin.create(installed.pods_path, {"metadata": {"name": f"bare-{number}"}, "spec": spec})
    path = f"{installed.pods_path}/bare-{number}"
    until(lambda: installed.node.admin.get(path)["status"].get("phase") == "Succeeded", "the bare pod ends")
    took = time.monotonic() - began
    installed.node.admin.delete(path, gracePeriodSeconds="0")
    return took


def _noop_seconds(installed: Installation) -> float:
    """From POST to SUCCESS."""
    began = time.monotonic()
    task_id = installed.submit({"type": "noop", "runTime": 1})
    assert installed.finished(task_id)["statusCode"] == "SUCCESS"
    return time.monotonic() - began


@pytest.mark.timeout(600)
def test_noop_takes_half_as_long_again_as_a_bare_pod_at_most(installed: Installation) -> None:
    bare: list[float] = []
    noop: list[float] = []
    _noop_seconds(installed)  # the first finds cold files
    for number in range(ROUNDS):  # in turn, so that what else the machine does falls on both
        bare.append(_bare_seconds(installed, number))
        noop.append(_noop_seconds(installed))
    ratio = statistics.median(noop) / statistics.median(bare)
    print(
        f"bare pod {statistics.median(bare):.2f} s of {[round(took, 2) for took in bare]}, "
        f"noop {statistics.median(noop):.2f} s of {[round(took, 2) for took in noop]}, ratio {ratio:.2f}"
    )
    assert ratio <= WORST_RATIO
