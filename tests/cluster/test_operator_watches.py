"""What the operator missed: a watch that cannot go on from where it stopped."""

import os
import signal
import time
from pathlib import Path

from overlord_operator import names
from tests.support.cluster.client import Refused
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until
from tests.support.operator_process import PlayedCluster
from tests.support.served_overlord import serving_overlord


def test_a_watch_that_is_told_410_gone_begins_anew_and_misses_nothing(forgetful_kube: ControlPlane, tmp_path: Path):
    kube, namespace = forgetful_kube, forgetful_kube.new_namespace()
    with serving_overlord() as overlord:
        played = PlayedCluster(kube, namespace, overlord, tmp_path)
        try:
            # it goes on leading, and does not list by itself: only its watches can tell it anything
            operator = played.operator(lease_seconds="300", resync_seconds="3600")
            played.apply("before")
            until(lambda: played.status("before").get("podName"), "the one before has a pod")
            path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
            version = kube.admin.get(path)["metadata"]["resourceVersion"]
            os.kill(operator.pid, signal.SIGSTOP)
            try:
                kube.kill("apiserver")
                kube.start_part("apiserver")
                kube.wait_for_api()
                played.apply("missed")
                until(lambda: _is_gone(kube, path, version), "the API server has forgotten what was", 60)
            finally:
                os.kill(operator.pid, signal.SIGCONT)
            until(lambda: played.status("missed").get("podName"), "the missed one has a pod", 60)
            played.apply("after")
            began = time.monotonic()
            until(lambda: played.status("after").get("podName"), "and one that comes after", 30)
            assert time.monotonic() - began < 20, "by a watch, which is told at once"
        finally:
            played.end()


def _is_gone(kube: ControlPlane, path: str, version: str) -> bool:
    """Whether a watch from that version on is refused."""
    touched = {"metadata": {"annotations": {"touched": str(time.time())}}}
    kube.admin.request("PATCH", f"{path}/missed", touched, content_type="application/merge-patch+json")
    try:
        return '"code":410' in kube.admin.text(path, watch="1", resourceVersion=version, timeoutSeconds="1")
    except Refused as refused:
        return refused.status == 410
