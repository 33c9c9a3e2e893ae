"""How the task comes to Apache Druid's own peon, and that it stays away from ours."""

import base64
import gzip
import random
from typing import Any

import orjson
import pytest

from overlord_operator.cluster.client import PODS
from tests.support.operator_world import World

DRUIDS = {
    "metadata": {"annotations": {"druid.nemeton.dev/peon": "druid"}},
    "template": {"spec": {"containers": [{"name": "main", "image": "apache/druid:37.0.0"}]}},
}
LONG = base64.b64encode(random.Random(1).randbytes(200_000)).decode()
"""What gzip makes no shorter than an annotation may be."""


def world_of(task_logs: str | None = "s3://bucket/logs", **task: Any) -> World:
    world = World(task_logs=task_logs)
    world.templates = {"base": DRUIDS}
    world.overlord.rest_task("one")
    world.overlord.tasks["one"] |= task
    return world


def env_of(world: World) -> dict[str, Any]:
    return {item["name"]: item for item in world.pod()["spec"]["containers"][0]["env"]}


async def test_the_whole_task_is_in_the_pod_where_druids_peon_looks_for_it():
    world = world_of(password="not hidden")
    await world.turn()
    annotation = world.pod()["metadata"]["annotations"]["task"]
    assert orjson.loads(gzip.decompress(base64.b64decode(annotation))) == world.overlord.tasks["one"]
    assert env_of(world)["TASK_JSON"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.annotations['task']"
    assert world.payloads.kept == {}


@pytest.mark.parametrize("task_logs", ["s3://bucket/logs", "gs://bucket/logs", "az://container/logs"])
async def test_a_long_task_is_in_log_storage_before_the_pod_is_made(task_logs: str):
    world = world_of(task_logs, noise=LONG)
    await world.turn()
    assert orjson.loads(world.payloads.kept["one"]) == world.overlord.tasks["one"]
    assert "task" not in world.pod()["metadata"]["annotations"]
    assert "TASK_JSON" not in env_of(world)
    assert env_of(world)["TASK_ID"]["value"] == "one", "by which the peon finds it"


@pytest.mark.parametrize("task_logs", ["file:///logs", None])
async def test_a_long_task_that_nothing_can_hand_over_fails_and_names_the_limit(task_logs: str | None):
    world = world_of(task_logs, noise=LONG)
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "InvalidTemplate")
    assert "130048 characters" in world.status()["message"]
    assert "S3" in world.status()["message"]
    assert world.cluster.of(PODS) == []


async def test_a_task_of_our_own_peon_is_never_asked_for():
    world = world_of()
    world.templates = {}
    await world.turn()
    assert "task" not in world.pod()["metadata"]["annotations"]
    assert "TASK_JSON" not in env_of(world)
