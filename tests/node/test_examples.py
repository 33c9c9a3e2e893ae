"""
Every example for a cluster, applied as its README says and run to its end.

Pods here reach no internet. Where an example reads from there, its address is replaced by that of a server on the cable
to the node, and nothing else of it.
"""

import gzip
import http.server
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Generator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from peon.segment.read import SegmentReader
from tests.support.cluster.client import Raw
from tests.support.cluster.node import Node
from tests.support.house import until
from tests.support.installed import Installation

EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"
EDITS = EXAMPLES.parent / "wikiticker-2015-09-12-sampled.json.gz"


class Elsewhere(http.server.ThreadingHTTPServer):
    """Serves bytes by path; where `credentials` has the path, to whoever gives this `user:password`."""

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Exchange)
        self.url = f"http://{address}:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.credentials: dict[str, str] = {}


class _Exchange(http.server.BaseHTTPRequestHandler):
    server: Elsewhere  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        wanted = self.server.credentials.get(self.path)
        if wanted and self.headers.get("Authorization") != f"Basic {b64encode(wanted.encode()).decode()}":
            self.send_error(401)
        elif self.path not in self.server.files:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.files[self.path])))
            self.end_headers()
            self.wfile.write(self.server.files[self.path])

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def elsewhere(node: Node) -> Generator[Elsewhere]:
    with Elsewhere(node.addresses.here) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def apply(installed: Installation, file: str, old_address: str, new_address: str) -> str:
    """`kubectl apply` of an example, reading from another place. The DruidTask's name."""
    text = (EXAMPLES / file).read_text()
    assert text.count(old_address) == 1
    installed.kubectl("apply", "--filename", "-", stdin=text.replace(old_address, new_address))
    return druid_task(file)["metadata"]["name"]


def druid_task(file: str) -> Raw:
    (found,) = [raw for raw in yaml.safe_load_all((EXAMPLES / file).read_text()) if raw["kind"] == "DruidTask"]
    return found


def test_every_example_is_tried_here() -> None:
    tried = {"noop.yaml", "inline.yaml", "sized.yaml", "wikipedia.yaml", "secret.yaml"}
    assert {file.name for file in EXAMPLES.glob("*.yaml")} == tried


@pytest.mark.parametrize("file", ["noop.yaml", "inline.yaml", "sized.yaml"])
def test_example_that_is_applied_succeeds(installed: Installation, file: str) -> None:
    manifest = druid_task(file)
    installed.kubectl("apply", "--filename", str(EXAMPLES / file))
    name = manifest["metadata"]["name"]
    shown = installed.until_shown(name, state="SUCCESS")
    if file == "noop.yaml":
        return
    data = manifest["spec"]["task"]["spec"]["ioConfig"]["inputSource"]["data"]
    assert (shown["rowsProcessed"], shown["segmentsPublished"]) == (len(data.strip().splitlines()), 1)
    assert installed.store().size(installed.published(shown["taskId"], name)) > 0
    story = [reason for reason, _ in installed.events(name)]
    assert story[-1] == "Success", story


def test_wikipedia_is_read_over_http_with_every_column(
    installed: Installation, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    # The data of its address has these fields and more, on another day, the time under another name.
    with gzip.open(EDITS) as lines:
        edits = [orjson.loads(line) for line in lines]
    for edit in edits:
        edit["timestamp"] = f"2016-06-27{edit.pop('time')[10:]}"
        edit |= {"flags": "NB", "diffUrl": "https://example.com/?diff=1", "commentLength": 9, "deltaBucket": 0}
    elsewhere.files["/data/wikipedia.json.gz"] = gzip.compress(b"\n".join(map(orjson.dumps, edits)), 1)
    name = apply(installed, "wikipedia.yaml", "https://druid.apache.org", elsewhere.url)
    shown = installed.until_shown(name, state="SUCCESS")
    assert (shown["rowsProcessed"], shown["segmentsPublished"]) == (len(edits), 1)
    folder = installed.fetch_segment(installed.published(shown["taskId"], "wikipedia"), tmp_path / "segment")
    with SegmentReader(folder) as reader:
        assert reader.row_count == len(edits)
        for column in ("channel", "cityName", "namespace", "page", "user"):
            assert sorted(reader.column(column).to_pylist(), key=str) == sorted((e[column] for e in edits), key=str)
        for column in ("added", "deleted", "delta"):
            assert sum(reader.column(column).to_pylist()) == sum(edit[column] for edit in edits)


def test_secret_is_known_to_the_peon_and_to_nobody_else(installed: Installation, elsewhere: Elsewhere) -> None:
    path, rows = "/2026-01-31.json", [{"time": "2026-01-31T10:00:00Z", "city": city} for city in ("Vienna", "Lima")]
    elsewhere.files[path] = b"\n".join(map(orjson.dumps, rows))
    elsewhere.credentials[path] = "reader:replace-me"
    name = apply(installed, "secret.yaml", "https://landing-zone.example.com", elsewhere.url)
    shown = installed.until_shown(name, state="SUCCESS")
    assert (shown["rowsProcessed"], shown["segmentsPublished"]) == (2, 1)
    log = until(lambda: installed.log(shown["taskId"]), "there is a log")
    with urllib.request.urlopen(
        f"http://{installed.address('overlord')}/druid/indexer/v1/task/{shown['taskId']}", timeout=30
    ) as answer:
        payload = answer.read()
    assert b"LANDING_ZONE_PASSWORD" in payload
    for told in (log, payload, orjson.dumps(installed.object(name)), orjson.dumps(installed.pods_of(shown["taskId"]))):
        assert b"replace-me" not in told


def test_secret_with_another_password_fails_with_the_servers_answer(
    installed: Installation, elsewhere: Elsewhere
) -> None:
    path = "/2026-01-31.json"
    elsewhere.files[path] = b"{}"
    elsewhere.credentials[path] = "reader:another"
    manifests = list(yaml.safe_load_all((EXAMPLES / "secret.yaml").read_text()))
    manifests[1]["metadata"]["name"] = "secret-wrong"
    manifests[1]["spec"]["task"]["spec"]["ioConfig"]["inputSource"]["uris"] = [f"{elsewhere.url}{path}"]
    installed.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(manifests))
    shown = installed.until_shown("secret-wrong", state="FAILED")
    assert f"Cannot read [{elsewhere.url}{path}]: it answered 401" in shown["errorMsg"]
