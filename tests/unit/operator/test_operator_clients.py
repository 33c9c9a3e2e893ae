"""The operator's two lines out: to the API server and to the Overlord, over real sockets, with every kind of answer."""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from druid_core.errors import CapacityExceeded, InvalidInput, InvalidTask, NemetonError, Unavailable
from druid_core.runner import AttemptReport, AttemptState, RunnerAnnouncement
from overlord_operator.cluster import client
from overlord_operator.cluster.client import PODS, Cluster
from overlord_operator.cluster.errors import AlreadyExists, ClusterAway, ClusterRefused, Outdated, Vanished
from overlord_operator.runner.overlord_client import OverlordClient

Answer = tuple[int, dict[str, str], bytes]


class Script:
    """Answers in turn, the last one again and again; what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self.url = ""

    def say(self, status: int, body: Any = None, **headers: str) -> None:
        text = {key.replace("_", "-"): value for key, value in headers.items()}
        self.answers.append((status, text, orjson.dumps(body if body is not None else {})))


@contextmanager
def _serving() -> Generator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with script.lock:
                script.in_flight += 1
                script.most_in_flight = max(script.most_in_flight, script.in_flight)
                script.asked.append(
                    (
                        self.command,
                        self.path,
                        orjson.loads(body) if body else None,
                        {key.lower(): text for key, text in self.headers.items()},
                    )
                )
                status, headers, text = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            with script.lock:
                script.in_flight -= 1
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def do_PATCH(self) -> None:
            self._respond()

        def do_DELETE(self) -> None:
            self._respond()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api() -> Generator[Script]:
    with _serving() as script:
        yield script


@pytest.fixture
async def cluster(api: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Cluster]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        f"""{{apiVersion: v1, kind: Config, current-context: c,
        clusters: [{{name: c, cluster: {{server: "{api.url}"}}}}],
        users: [{{name: u, user: {{token: secret-token}}}}],
        contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"""
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(client, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(client, "_LONGEST_PAUSE_SECONDS", 0.01)
    made = Cluster(4, 5.0)
    yield made
    await made.close()


async def test_a_call_carries_the_token_and_comes_back_as_json(api: Script, cluster: Cluster):
    api.say(200, {"metadata": {"name": "p"}})
    assert await cluster.get(PODS, "tasks", "p") == {"metadata": {"name": "p"}}
    method, path, _, headers = api.asked[0]
    assert (method, path) == ("GET", "/api/v1/namespaces/tasks/pods/p")
    assert headers["authorization"] == "Bearer secret-token"


async def test_a_patch_of_a_status_is_a_merge_patch_on_the_subresource(api: Script, cluster: Cluster):
    api.say(200)
    await cluster.patch("apis/druid.nemeton.dev/v1alpha1/druidtasks", "tasks", "t", {"status": {"a": None}}, "status")
    method, path, body, headers = api.asked[0]
    assert (method, path.rpartition("/")[2], body) == ("PATCH", "status", {"status": {"a": None}})
    assert headers["content-type"] == "application/merge-patch+json"


async def test_a_deletion_names_the_uid_so_that_no_later_object_is_hit(api: Script, cluster: Cluster):
    api.say(200, {"kind": "Status", "status": "Success"})
    assert await cluster.delete(PODS, "tasks", "p", "uid-1") is None
    assert api.asked[0][2]["preconditions"] == {"uid": "uid-1"}


async def test_a_list_is_read_page_by_page(api: Script, cluster: Cluster):
    api.say(200, {"metadata": {"continue": "next"}, "items": [{"n": 1}]})
    api.say(200, {"metadata": {}, "items": [{"n": 2}]})
    assert [page async for page in cluster.pages(PODS, None, "a=b")] == [[{"n": 1}], [{"n": 2}]]
    assert "labelSelector=a%3Db" in api.asked[0][1]
    assert "continue=next" in api.asked[1][1]


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (404, "NotFound", Vanished),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Outdated),
        (410, "Expired", Outdated),
        (403, "Forbidden", ClusterRefused),
        (422, "Invalid", ClusterRefused),
        (400, "BadRequest", ClusterRefused),
    ],
)
async def test_a_refusal_is_an_error_of_ours_and_is_not_repeated(
    api: Script, cluster: Cluster, status: int, reason: str, error: type[NemetonError]
):
    api.say(status, {"reason": reason, "message": "the reason in words"})
    with pytest.raises(error, match="the reason in words"):
        await cluster.get(PODS, "tasks", "p")
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_server_that_is_too_busy_is_asked_again(api: Script, cluster: Cluster, status: int):
    api.say(status, {"message": "busy"}, Retry_After="0")
    api.say(status, {"message": "busy"})
    api.say(200, {"n": 1})
    assert await cluster.get(PODS, "tasks", "p") == {"n": 1}
    assert len(api.asked) == 3


async def test_a_server_that_stays_too_busy_is_given_up_for_now(api: Script, cluster: Cluster):
    api.say(503, {"message": "busy"})
    with pytest.raises(ClusterAway):
        await cluster.get(PODS, "tasks", "p")
    assert 3 <= len(api.asked) <= 10


async def test_a_server_that_is_not_there_is_an_error_of_ours(tmp_path: Path, cluster: Cluster, api: Script):
    api.say(200)
    cluster._connection.url = "http://127.0.0.1:1"  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(ClusterAway):
        await cluster.get(PODS, "tasks", "p")
    assert cluster.calls["GET", "pods", 0] > 0


async def test_no_more_calls_are_in_flight_than_are_allowed(api: Script, cluster: Cluster):
    api.say(200)
    await asyncio.gather(*(cluster.get(PODS, "tasks", str(number)) for number in range(60)))
    assert len(api.asked) == 60
    assert api.most_in_flight <= 4


async def test_a_cluster_may_be_spoken_to_from_another_loop_as_well(api: Script, cluster: Cluster):
    api.say(200, {"kind": "Pod"})

    async def elsewhere() -> str:
        try:
            return (await cluster.get(PODS, "tasks", "there"))["kind"]
        finally:
            await cluster.close()

    await cluster.get(PODS, "tasks", "here")
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "Pod"
    assert (await cluster.get(PODS, "tasks", "here"))["kind"] == "Pod"


async def test_a_certificate_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        f"""{{apiVersion: v1, kind: Config, current-context: c,
        clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1", certificate-authority: {tmp_path}/no.pem}}}}],
        users: [{{name: u, user: {{token: secret-token}}}}],
        contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"""
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(InvalidInput, match=r"No way to the API server.*no\.pem"):
        Cluster(1, 1.0)


async def test_a_pods_log_is_copied_and_its_absence_is_no_error(api: Script, cluster: Cluster):
    api.say(200, "x" * 200_000)
    out = io.BytesIO()
    assert await cluster.pod_log("tasks", "p", "main", out)
    assert len(out.getvalue()) == 200_002
    api.answers.clear()
    api.say(400, {"message": "ContainerCreating"})
    assert not await cluster.pod_log("tasks", "p", "main", io.BytesIO())


# the Overlord


async def test_a_submission_names_its_submitter_and_its_runner(api: Script):
    api.say(200, {"task": "one"})
    overlord = OverlordClient(api.url)
    assert await overlord.submit({"type": "noop", "id": "one"}, "uid-1", "nemeton") == "one"
    await overlord.close()
    headers = api.asked[0][3]
    assert (headers["x-nemeton-submitter"], headers["x-nemeton-runner"]) == ("uid-1", "nemeton")


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, {"error": "Could not resolve type id"}, InvalidTask, "Could not resolve"),
        (400, {"error": "druidException", "errorMessage": "Task[one] already exists"}, InvalidTask, "already exists"),
        (413, {"error": "druidException", "errorMessage": "too large"}, InvalidTask, "too large"),
        (429, {"error": "druidException", "errorMessage": "queue is full"}, CapacityExceeded, "full"),
        (503, {"error": "druidException", "errorMessage": "no database"}, Unavailable, "no database"),
        (404, {}, Unavailable, "404"),
    ],
)
async def test_a_task_that_is_not_taken_says_why(
    api: Script, status: int, body: Any, error: type[NemetonError], words: str
):
    api.say(status, body)
    overlord = OverlordClient(api.url)
    with pytest.raises(error, match=words):
        await overlord.submit({}, "u", "r")
    await overlord.close()


async def test_a_payload_is_asked_for_with_the_token_of_the_attempt_and_kept_word_for_word(api: Script):
    api.say(200, {"type": "noop", "id": "a/b"})
    overlord = OverlordClient(api.url)
    assert orjson.loads(await overlord.payload("a/b", "t1")) == {"type": "noop", "id": "a/b"}
    api.answers.clear()
    api.say(403, {"error": "Attempt 1 of task [a/b] is void"})
    with pytest.raises(Unavailable, match="is void"):
        await overlord.payload("a/b", "t1")
    await overlord.close()
    assert api.asked[0][:2] == ("GET", "/nemeton/v1/task/a%2Fb/payload")
    assert api.asked[0][3]["authorization"] == "Bearer t1"


async def test_an_overlord_that_is_not_there_is_unavailable():
    overlord = OverlordClient("http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="does not answer"):
        await overlord.shut_down("one")
    await overlord.close()


async def test_a_shutdown_of_an_unknown_task_is_done(api: Script):
    api.say(404)
    overlord = OverlordClient(api.url)
    await overlord.shut_down("a/b c")
    await overlord.close()
    assert api.asked[0][1] == "/druid/indexer/v1/task/a%2Fb%20c/shutdown"


async def test_orders_that_make_no_sense_count_as_none(api: Script):
    api.say(200, {"start": 7})
    overlord = OverlordClient(api.url)
    announcement = RunnerAnnouncement(runner_id="r", kind="operator", host="r", ip="", version="1", capacity=1)
    with pytest.raises(Unavailable, match="make no sense"):
        await overlord.announce(announcement, [])
    await overlord.close()


async def test_what_the_runner_has_goes_with_its_announcement(api: Script):
    api.say(200, {})
    overlord = OverlordClient(api.url)
    announcement = RunnerAnnouncement(runner_id="r", kind="operator", host="r", ip="", version="1", capacity=1)
    await overlord.next_orders(announcement, [{"taskId": "one", "attempt": 2}], 20)
    await overlord.report([AttemptReport(runner_id="r", task_id="one", attempt=2, state=AttemptState.RUNNING)])
    await overlord.close()
    assert api.asked[0][1] == "/nemeton/v1/runner/assignments?wait=20"
    assert api.asked[0][2]["attempts"] == [{"taskId": "one", "attempt": 2}]
    assert api.asked[1][2][0]["state"] == "RUNNING"
