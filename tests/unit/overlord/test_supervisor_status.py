"""What is said of a supervisor, by its type and whether it is suspended."""

from typing import Any

import orjson
import pytest

from druid_core.supervisor import load_supervisor
from overlord.supervisor.status import is_healthy, listed, report

NOOP: dict[str, Any] = {"type": "NoopSupervisorSpec", "id": "oak", "dataSources": ["web", "app"]}
COMPACT: dict[str, Any] = {"type": "autocompact", "spec": {"dataSource": "web"}}
KAFKA: dict[str, Any] = {
    "type": "kafka",
    "spec": {"dataSchema": {"dataSource": "web"}, "ioConfig": {"topic": "clicks", "password": "canary"}},
}


@pytest.mark.parametrize(
    ("wire", "state", "healthy"),
    [
        (NOOP, "RUNNING", True),
        ({**NOOP, "suspended": True}, "SUSPENDED", True),
        (COMPACT, "SCHEDULER_STOPPED", True),
        (KAFKA, "UNHEALTHY_SUPERVISOR", False),
        ({**KAFKA, "suspended": True}, "SUSPENDED", True),
    ],
)
def test_the_state_follows_from_the_spec(wire: dict[str, Any], state: str, healthy: bool) -> None:
    spec = load_supervisor("oak", wire)
    assert spec is not None
    shown = listed(spec, full=False, system=False)
    assert (shown["state"], shown["healthy"], is_healthy(spec)) == (state, healthy, healthy)
    assert shown["suspended"] is (wire.get("suspended") is True)


def test_more_is_shown_where_more_is_asked_for_and_never_a_secret() -> None:
    spec = load_supervisor("oak", KAFKA)
    assert spec is not None
    plain = listed(spec, full=False, system=False)
    whole = listed(spec, full=True, system=True)
    assert whole.keys() - plain.keys() == {"spec", "specString", "type", "source"}
    assert orjson.loads(whole["specString"]) == whole["spec"]
    assert (whole["type"], whole["source"]) == ("kafka", "clicks")
    assert b"canary" not in orjson.dumps(whole)


def test_a_stream_says_why_nothing_runs() -> None:
    spec = load_supervisor("web", KAFKA)
    assert spec is not None
    said = (report(spec, 0) or {})["payload"]
    assert "[kafka] are not supported yet" in said["recentErrors"][0]["message"]


def test_the_status_of_a_compaction_supervisor_is_its_datasources_snapshot() -> None:
    spec = load_supervisor("autocompact__web", COMPACT)
    assert spec is not None
    said = report(spec, 0) or {}
    assert (said["id"], said["generationTime"]) == ("autocompact__web", "1970-01-01T00:00:00.000Z")
    assert (said["payload"]["dataSource"], said["payload"]["scheduleStatus"]) == ("web", "NOT_ENABLED")


def test_a_noop_has_nothing_to_say() -> None:
    spec = load_supervisor("oak", NOOP)
    assert spec is not None
    assert report(spec, 0) is None
