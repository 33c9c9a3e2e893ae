"""Specs of supervisors: what is taken, what is refused in words, and what is made of those that others stored."""

from typing import Any

import pytest

from druid_core.errors import InvalidTask
from druid_core.supervisor import compaction_supervisor_id, load_supervisor, parse_supervisor
from druid_core.task import parse_task

KAFKA: dict[str, Any] = {
    "type": "kafka",
    "spec": {
        "dataSchema": {"dataSource": "web"},
        "ioConfig": {"topic": "clicks", "consumerProperties": {"sasl.jaas.config": "canary"}},
    },
    "suspended": False,
}


def noop(**fields: Any) -> dict[str, Any]:
    return {"type": "NoopSupervisorSpec", "id": "oak", "dataSources": ["web"], **fields}


def test_a_noop_is_stored_as_druid_stores_it() -> None:
    spec = parse_supervisor(noop(unknown=1))
    assert (spec.id, spec.type, spec.data_sources, spec.suspended) == ("oak", "NoopSupervisorSpec", ("web",), False)
    assert spec.wire == {
        "type": "NoopSupervisorSpec",
        "id": "oak",
        "suspended": False,
        "source": "noop",
        "dataSources": ["web"],
    }
    assert load_supervisor("oak", spec.wire) == spec


def test_the_short_name_of_a_noop_is_taken_too() -> None:
    assert parse_supervisor(noop(type="noop")).type == "NoopSupervisorSpec"


def test_an_autocompact_spec_is_named_after_its_datasource_and_filled_with_defaults() -> None:
    spec = parse_supervisor({"type": "autocompact", "spec": {"dataSource": "web"}, "suspended": True})
    assert spec.id == compaction_supervisor_id("web") == "autocompact__web"
    assert spec.suspended
    assert spec.wire["spec"]["skipOffsetFromLatest"] == "P1D"
    assert load_supervisor(spec.id, spec.wire) == spec


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ([], "JSON object"),
        ({}, "type"),
        ({"type": 3}, "type"),
        ({"type": "nosuch"}, "nosuch"),
        ({"type": "kafka"}, "known to Druid but not supported yet"),
        ({"type": "kinesis"}, "known to Druid but not supported yet"),
        ({"type": "rabbit"}, "known to Druid but not supported yet"),
        ({"type": "scheduled_batch"}, "known to Druid but not supported yet"),
        (noop(id=None), "id"),
        (noop(id=""), "id"),
        (noop(id=["oak"]), "id"),
        (noop(id="a/b"), "cannot contain '/'"),
        (noop(id="o" * 256), "255"),
        (noop(id="o\0ak"), "id"),
        (noop(dataSources=None), "dataSources"),
        (noop(dataSources=[]), "dataSources"),
        (noop(dataSources="web"), "dataSources"),
        (noop(dataSources=["a/b"]), "dataSources"),
        (noop(suspended="maybe"), "suspended"),
        ({"type": "autocompact"}, "compaction config"),
        ({"type": "autocompact", "spec": {}}, "dataSource"),
        ({"type": "autocompact", "spec": {"dataSource": "../etc"}}, "cannot start with '.'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_without_a_class_of_java(raw: Any, named: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        parse_supervisor(raw)
    assert named in str(refused.value)
    assert "org.apache" not in str(refused.value)
    assert "java." not in str(refused.value)


def test_a_tombstone_is_no_supervisor_and_keeps_who_may_see_it() -> None:
    stone = parse_supervisor(noop()).tombstone()
    assert stone["dataSources"] == ["web"]
    assert load_supervisor("oak", stone) is None


def test_a_stream_that_druid_stored_is_kept_known_and_not_run() -> None:
    spec = load_supervisor("web", KAFKA)
    assert spec is not None
    assert (spec.type, spec.data_sources, spec.source, spec.is_supported) == ("kafka", ("web",), "clicks", False)
    assert spec.suspend(True).wire == {**KAFKA, "suspended": True}


@pytest.mark.parametrize(
    "raw", [None, [], "x", {}, {"spec": 3}, {"dataSchema": []}, {"type": None, "spec": {"ioConfig": 1}}]
)
def test_a_row_that_a_person_broke_is_a_supervisor_of_no_datasource(raw: Any) -> None:
    spec = load_supervisor("broken", raw)
    assert spec is not None
    assert (spec.data_sources, spec.source, spec.is_supported) == ((), "", False)


@pytest.mark.parametrize("kind", ["kafka", "NoopSupervisorSpec", "autocompact", "scheduled_batch"])
def test_a_supervisor_spec_among_tasks_is_shown_its_door(kind: str) -> None:
    with pytest.raises(InvalidTask, match="/druid/indexer/v1/supervisor"):
        parse_task({"type": kind}, 0)
