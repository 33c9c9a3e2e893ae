"""The history of one datasource's compaction, out of the audit of the whole configuration."""

from typing import Any

import orjson

from overlord.compaction.history import history_of


def entry(number: int, configs: list[dict[str, Any]], **cluster: Any) -> bytes:
    payload = orjson.dumps({"compactionConfigs": configs, **cluster}).decode()
    return orjson.dumps({"payload": payload, "auditInfo": {"author": f"a{number}"}, "auditTime": f"t{number}"})


WEB, WEB_AGAIN, APP = {"dataSource": "web"}, {"dataSource": "web", "taskPriority": 1}, {"dataSource": "app"}


def authors(*oldest_first: bytes) -> list[str]:
    return [each["auditInfo"]["author"] for each in history_of("web", oldest_first)]


def test_only_what_changed_for_the_datasource_is_told() -> None:
    assert authors(entry(1, [APP]), entry(2, [WEB]), entry(3, [WEB, APP]), entry(4, [WEB_AGAIN, APP])) == ["a2", "a4"]


def test_a_change_of_the_clusters_part_is_told_where_the_datasource_has_its_own() -> None:
    assert authors(
        entry(1, [], maxCompactionTaskSlots=1), entry(2, [WEB]), entry(3, [WEB], maxCompactionTaskSlots=3)
    ) == ["a2", "a3"]


def test_a_deletion_is_told_once_and_has_no_configuration() -> None:
    told = history_of("web", [entry(1, [WEB]), entry(2, []), entry(3, [], maxCompactionTaskSlots=9)])
    assert [each["compactionConfig"] for each in told] == [WEB, None]
    assert told[1]["auditTime"] == "t2"


def test_an_entry_that_a_person_broke_is_one_without_datasources() -> None:
    broken = orjson.dumps({"payload": "{", "auditInfo": {}, "auditTime": "t"})
    assert len(history_of("web", [broken, entry(2, [WEB])])) == 1
