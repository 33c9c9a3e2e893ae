"""Compaction configurations: defaults, refusals, and what is understood of a stored one."""

from typing import Any

import pytest

from druid_core.compaction import ClusterCompactionConfig, parse_cluster_config, parse_datasource_config
from druid_core.compaction import stored_cluster_config as stored
from druid_core.errors import InvalidTask


def test_a_null_is_as_good_as_nothing() -> None:
    assert parse_datasource_config({"dataSource": "web", "taskPriority": None, "engine": None}) == (
        parse_datasource_config({"dataSource": "web"})
    )


def test_parts_that_are_given_are_filled_with_the_fields_that_druid_prints() -> None:
    config = parse_datasource_config(
        {"dataSource": "web", "granularitySpec": {"segmentGranularity": "DAY", "nosuch": 1}, "engine": "NATIVE"}
    )
    wire = config.to_wire()
    assert wire["granularitySpec"] == {"segmentGranularity": "DAY"}
    assert wire["engine"] == "native"
    assert wire["tuningConfig"] is None
    tuning = parse_datasource_config({"dataSource": "web", "tuningConfig": {"maxRowsInMemory": 5}}).to_wire()
    assert tuning["tuningConfig"]["maxRowsInMemory"] == 5
    assert tuning["tuningConfig"]["type"] == "index_parallel"
    assert parse_datasource_config(wire) == config


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dataSource": None}, "dataSource"),
        ({"dataSource": "a/b"}, "dataSource"),
        ({"taskPriority": "many"}, "taskPriority"),
        ({"inputSegmentSizeBytes": []}, "inputSegmentSizeBytes"),
        ({"skipOffsetFromLatest": "a day"}, "skipOffsetFromLatest"),
        ({"tuningConfig": []}, "tuningConfig"),
        ({"granularitySpec": {"segmentGranularity": "OFTEN"}}, "granularitySpec"),
        ({"metricsSpec": {}}, "metricsSpec"),
        ({"engine": "steam"}, "engine"),
    ],
)
def test_a_datasource_config_that_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        parse_datasource_config({"dataSource": "web", **fields})
    assert named in str(refused.value)
    assert "org.apache" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"compactionTaskSlotRatio": "many"}, "compactionTaskSlotRatio"),
        ({"compactionTaskSlotRatio": -1}, "compactionTaskSlotRatio"),
        ({"maxCompactionTaskSlots": -1}, "maxCompactionTaskSlots"),
        ({"compactionPolicy": {"type": "nosuch"}}, "compactionPolicy"),
        ({"useSupervisors": True}, "useSupervisors"),
        ({"engine": "msq"}, "engine"),
    ],
)
def test_a_cluster_config_that_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidTask, match=named):
        parse_cluster_config(fields)


@pytest.mark.parametrize(
    "raw", [{}, {"useSupervisors": True}, {"engine": "msq"}, {"compactionTaskSlotRatio": "many"}, {"other": 1}]
)
def test_what_cannot_be_read_of_a_stored_config_counts_as_not_set(raw: dict[str, Any]) -> None:
    assert stored(raw) == ClusterCompactionConfig()


def test_what_can_be_read_of_a_stored_config_counts() -> None:
    raw = {"maxCompactionTaskSlots": 3, "useSupervisors": True, "compactionPolicy": {"type": "fixedIntervalOrder"}}
    config = stored(raw)
    assert (config.max_compaction_task_slots, config.use_supervisors) == (3, False)
    assert config.compaction_policy == {"type": "fixedIntervalOrder"}
