"""What the README promises of a cluster: install, test, apply, look; the rows in the bucket, for Druid to read."""

import gzip
import http.server
import threading
from collections import Counter
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from overlord_operator import names
from peon.segment.read import SegmentReader
from tests.support.cluster.node import Node
from tests.support.druid.workshop import Workshop
from tests.support.house import until
from tests.support.installed import RELEASE, Installation

EXAMPLES = Path(__file__).parents[2] / "examples"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def web(node: Node) -> Generator[str]:
    """The examples' folder by HTTP, on the cable to the node: what is input from elsewhere for a pod."""
    handler = partial(_Quiet, directory=str(EXAMPLES))
    with http.server.ThreadingHTTPServer((node.addresses.here, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{node.addresses.here}:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def wikiticker(installed: Installation, web: str) -> str:
    """The id of a task that has read the day of edits by HTTP."""
    task = orjson.loads((EXAMPLES / "wikiticker-index.json").read_bytes())
    task["spec"]["ioConfig"]["inputSource"] = {
        "type": "http",
        "uris": [f"{web}/wikiticker-2015-09-12-sampled.json.gz"],
    }
    task_id = installed.submit(task)
    assert installed.finished(task_id)["statusCode"] == "SUCCESS", installed.log(task_id)
    return task_id


def test_every_replica_is_ready_in_a_namespace_that_enforces_restricted(installed: Installation) -> None:
    for component, replicas in (("overlord", 2), ("operator", 2), ("database", 1), ("object-storage", 1)):
        pods = installed.component_pods(component)
        assert len(pods) == replicas, component
        for pod in pods:
            assert pod["status"]["containerStatuses"][0]["ready"], pod["metadata"]["name"]
    lease = installed.node.admin.get(
        f"/apis/coordination.k8s.io/v1/namespaces/{installed.namespace}/leases/{RELEASE}-operator"
    )
    assert lease["spec"]["holderIdentity"] in {pod["metadata"]["name"] for pod in installed.component_pods("operator")}


def test_helm_test_runs_a_task_the_whole_way(installed: Installation) -> None:
    said = installed.helm("test", RELEASE, "--timeout", "110s")
    assert "Phase:          Succeeded" in said


def test_task_by_rest_shows_in_kubectl_and_tells_its_story(installed: Installation) -> None:
    # long enough to be seen at it: a peon that runs for a moment may have ended before anybody looks
    task_id = installed.submit({"type": "noop", "runTime": 3_000})
    status = installed.finished(task_id)
    assert (status["statusCode"], status["location"]["port"]) == ("SUCCESS", 8100)
    name = installed.object_of(task_id)
    shown = installed.until_shown(name, state="SUCCESS")
    assert shown["conditions"][-1] | {"lastTransitionTime": ""} == {
        "type": names.CONDITION_COMPLETE,
        "status": "True",
        "reason": "Success",
        "message": "The task is done.",
        "lastTransitionTime": "",
        "observedGeneration": 1,
    }
    row = installed.kubectl("get", "dt", name, "--no-headers").split()
    assert row[:4] == [name, "noop", "none", "SUCCESS"]
    assert [reason for reason, _ in installed.events(name)] == ["PodCreated", "Running", "Success"]
    log = installed.log(task_id)
    assert log is not None
    assert f"Running task [{task_id}]".encode() in log
    # Druid's own path: a console that is pointed at the bucket finds it
    assert installed.store("logs").get(f"{task_id}/log") == log


def test_a_day_of_edits_by_http_is_in_the_bucket_row_for_row(
    installed: Installation, wikiticker: str, tmp_path: Path
) -> None:
    folder = installed.fetch_segment(installed.published(wikiticker, "wikiticker"), tmp_path / "segment")
    with gzip.open(EXAMPLES / "wikiticker-2015-09-12-sampled.json.gz") as lines:
        edits = [orjson.loads(line) for line in lines]
    with SegmentReader(folder) as reader:
        assert reader.row_count == len(edits) == 39_244
        assert Counter(reader.column("page").to_pylist()) == Counter(edit["page"] for edit in edits)
        assert sum(reader.column("added").to_pylist()) == sum(edit["added"] for edit in edits)
    shown = installed.until_shown(installed.object_of(wikiticker), state="SUCCESS")
    assert (shown["rowsProcessed"], shown["segmentsPublished"]) == (39_244, 1)
    row = installed.kubectl("get", "dt", installed.object_of(wikiticker), "--no-headers").split()
    assert row[1:5] == ["index_parallel", "wikiticker", "SUCCESS", "39244"]


def test_druid_reads_the_segment_from_the_bucket(
    installed: Installation, wikiticker: str, workshop: Workshop, tmp_path: Path
) -> None:
    folder = installed.fetch_segment(installed.published(wikiticker, "wikiticker"), tmp_path / "segment")
    dump = workshop.dump(folder, tmp_path / "dump")
    assert len(dump.rows) == 39_244


def test_spec_that_is_too_large_for_an_object_of_kubernetes_runs(installed: Installation) -> None:
    line = b'{"time":"2026-01-31T10:00:00Z","city":"' + b"x" * 1000 + b'"}\n'
    rows = (20 << 20) // len(line)
    task = yaml.safe_load((EXAMPLES / "kubernetes" / "inline.yaml").read_text())["spec"]["task"]
    task["spec"]["dataSchema"]["dataSource"] = "large"
    task["spec"]["ioConfig"]["inputSource"]["data"] = (line * rows).decode()
    assert len(orjson.dumps(task)) > 20 << 20
    task_id = installed.submit(task)
    assert installed.finished(task_id)["statusCode"] == "SUCCESS", installed.log(task_id)
    shown = installed.until_shown(installed.object_of(task_id), state="SUCCESS")
    assert shown["rowsProcessed"] == rows
    pods = installed.pods_of(task_id)
    assert all(len(orjson.dumps(pod)) < 100_000 for pod in pods), "the spec is not in the pod"


def test_two_replicas_of_the_overlord_answer_alike(installed: Installation) -> None:
    task_id = installed.submit({"type": "noop", "runTime": 1})
    installed.finished(task_id)
    seen = {installed.overlord_at(pod).status(task_id)["statusCode"] for pod in installed.component_pods("overlord")}
    assert seen == {"SUCCESS"}
    until(lambda: installed.shown(installed.object_of(task_id)).get("state") == "SUCCESS", "and so does kubectl")
