"""Rules of tasks that a recorded answer does not show."""

import subprocess
import sys
from typing import Any

import pytest

from druid_core.errors import InvalidTask
from druid_core.interval import Interval
from druid_core.spec.ingestion import IngestionMode
from druid_core.task import (
    IndexParallelTask,
    IndexTask,
    KillTask,
    NoopTask,
    Task,
    inject_context,
    load_task,
    parse_task,
    redacted,
)

NOW_MS = 1_767_225_600_000


def ingestion(kind: str = "index_parallel", **parts: Any) -> dict[str, Any]:
    """A small task; `schema`, `granularity`, `io`, `tuning` add to its parts, `task` to the task itself."""
    return {
        "type": kind,
        "spec": {
            "dataSchema": {
                "dataSource": "wiki",
                "timestampSpec": {"column": "ts"},
                "dimensionsSpec": {"dimensions": ["page", {"type": "long", "name": "n"}]},
                "metricsSpec": [{"type": "count", "name": "cnt"}, {"type": "longSum", "name": "s", "fieldName": "v"}],
                "granularitySpec": {"segmentGranularity": "day", **parts.get("granularity", {})},
                **parts.get("schema", {}),
            },
            "ioConfig": {
                "type": kind,
                "inputSource": {"type": "inline", "data": "x"},
                "inputFormat": {"type": "json"},
                **parts.get("io", {}),
            },
            "tuningConfig": {"type": kind, **parts.get("tuning", {})},
        },
        **parts.get("task", {}),
    }


def refusal_of(raw: object) -> str:
    with pytest.raises(InvalidTask) as refused:
        parse_task(raw, NOW_MS)
    return str(refused.value)


def test_effective_payload_excludes_time_and_metrics_from_discovery() -> None:
    task = parse_task(ingestion(), NOW_MS)

    assert isinstance(task, IndexParallelTask)
    assert task.to_wire()["spec"]["dataSchema"]["dimensionsSpec"]["dimensionExclusions"] == [
        "__time",
        "s",
        "v",
        "cnt",
        "ts",
    ]
    assert task.context == {"forceTimeChunkLock": True}


def test_overwriting_without_intervals_locks_whole_chunks_whatever_the_context_says() -> None:
    posted = {"context": {"forceTimeChunkLock": False}}
    assert parse_task(ingestion(task=posted), NOW_MS).context == {"forceTimeChunkLock": True}
    named = ingestion(task=posted, granularity={"intervals": ["2026-01-01/P1D"]})
    assert parse_task(named, NOW_MS).context == {"forceTimeChunkLock": False}
    appending = ingestion(task=posted, io={"appendToExisting": True})
    assert parse_task(appending, NOW_MS).context == {"forceTimeChunkLock": False}


def test_context_is_filled_only_where_the_task_says_nothing() -> None:
    task = parse_task({"type": "noop", "context": {"forceTimeChunkLock": False, "tags": {"a": 1}}}, NOW_MS)

    stored = inject_context(task, {"tags": {"b": 2}, "storeEmptyColumns": False})

    assert stored.context == {
        "forceTimeChunkLock": False,
        "tags": {"a": 1},
        "storeEmptyColumns": False,
        "useLineageBasedSegmentAllocation": True,
    }
    assert inject_context(stored, {"tags": {"c": 3}}) is stored
    assert task.context == {"forceTimeChunkLock": False, "tags": {"a": 1}}


def test_overlord_may_leave_chunk_locks_to_the_task() -> None:
    stored = inject_context(parse_task({"type": "noop"}, NOW_MS), {}, force_time_chunk_lock=False)
    assert stored.context["forceTimeChunkLock"] is False


@pytest.mark.parametrize(
    ("raw", "priority"),
    [
        ({"type": "noop"}, 50),
        ({"type": "kill", "dataSource": "a", "interval": "2026/2027"}, 0),
        (ingestion(), 50),
        (ingestion("index"), 50),
        ({"type": "noop", "context": {"priority": 7}}, 7),
        ({"type": "noop", "context": {"priority": "8"}}, 8),
        ({"type": "noop", "context": {"priority": None}}, 50),
    ],
)
def test_priority_is_the_contexts_or_the_types(raw: dict[str, Any], priority: int) -> None:
    assert parse_task(raw, NOW_MS).priority == priority


def test_priority_that_is_no_number_is_refused_at_submission() -> None:
    assert refusal_of({"type": "noop", "context": {"priority": "high"}}) == (
        'Cannot deserialize value of type `int` from String "high": not a valid `int` value'
    )


def test_types_are_told_apart() -> None:
    tasks: list[Task] = [
        parse_task(raw, NOW_MS)
        for raw in ({"type": "noop"}, {"type": "kill", "dataSource": "a", "interval": "2026/2027"}, ingestion("index"))
    ]
    assert [type(task) for task in tasks] == [NoopTask, KillTask, IndexTask]
    assert [task.data_source for task in tasks] == ["none", "a", "wiki"]


@pytest.mark.parametrize(
    "kind", ["compact", "index_kafka", "query_controller", "single_phase_sub_task", "index_hadoop"]
)
def test_type_that_is_not_here_yet_is_named_with_those_that_are(kind: str) -> None:
    assert refusal_of({"type": kind}) == (
        f"Task type [{kind}] is known to Druid but not supported yet by this Overlord; "
        "supported are: index, index_parallel, kill, noop"
    )


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (ingestion(tuning={"forceGuaranteedRollup": True}), "partitionsSpec type [hashed]"),
        (
            ingestion(
                tuning={
                    "forceGuaranteedRollup": True,
                    "partitionsSpec": {"type": "range", "partitionDimensions": ["page"], "maxRowsPerSegment": 5},
                }
            ),
            "partitionsSpec type [range]",
        ),
        (ingestion(tuning={"awaitSegmentAvailabilityTimeoutMillis": 5}), "awaitSegmentAvailabilityTimeoutMillis"),
        (ingestion(tuning={"indexSpec": {"complexMetricCompression": "lz4"}}), "CompressionStrategy [lz4]"),
        (
            ingestion(
                schema={
                    "metricsSpec": [{"type": "hyperUnique", "name": "u", "fieldName": "x", "isInputHyperUnique": True}]
                }
            ),
            "isInputHyperUnique [true]",
        ),
    ],
)
def test_what_no_peon_can_do_yet_is_refused_and_not_done_otherwise(raw: dict[str, Any], what: str) -> None:
    assert refusal_of(raw).startswith(what)
    assert "is known to Druid but not supported yet by this Overlord" in refusal_of(raw)


def test_noop_without_run_time_runs_as_long_as_druids() -> None:
    for raw in ({"type": "noop"}, {"type": "noop", "runTime": 0}, {"type": "noop", "runTime": None}):
        task = parse_task(raw, NOW_MS)
        assert isinstance(task, NoopTask)
        assert task.run_time == 2500


def test_appending_index_tasks_share_a_group() -> None:
    task = parse_task(ingestion("index", io={"appendToExisting": True}), NOW_MS)
    assert task.group_id == "index_append_wiki"
    assert parse_task(ingestion("index"), NOW_MS).group_id.startswith("index_wiki_")


def test_index_parallel_keeps_the_group_it_was_given() -> None:
    task = parse_task(ingestion(task={"groupId": "g", "id": "i"}), NOW_MS)
    assert (task.id, task.group_id) == ("i", "g")


def test_kill_reads_all_its_fields() -> None:
    raw = {
        "type": "kill",
        "dataSource": "a",
        "interval": "2026-01-01/P1D",
        "versions": ["v1"],
        "batchSize": "5",
        "limit": 10,
        "maxUsedStatusLastUpdatedTime": "2026-01-01T00:00:00.000Z",
        "markAsUnused": True,
    }

    task = parse_task(raw, NOW_MS)

    assert isinstance(task, KillTask)
    assert task.interval == Interval.parse("2026-01-01/2026-01-02")
    assert (task.versions, task.batch_size, task.limit) == (["v1"], 5, 10)
    assert task.max_used_status_last_updated_time == "2026-01-01T00:00:00.000Z"
    assert "markAsUnused" not in task.to_wire()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batchSize": 0}, "batchSize[0] must be a positive integer."),
        ({"limit": 0}, "limit[0] must be a positive integer."),
        ({"interval": "2026/2026"}, "interval empty"),
    ],
)
def test_kill_of_nothing_is_refused(fields: dict[str, Any], problem: str) -> None:
    refusal = refusal_of({"type": "kill", "dataSource": "a", "interval": "2026/2027", **fields})
    assert refusal == (
        "Cannot construct instance of `org.apache.druid.indexing.common.task.KillUnusedSegmentsTask`, "
        f"problem: {problem}"
    )


TASK = "org.apache.druid.indexing.common.task"
PARALLEL_TASK = f"{TASK}.batch.parallel.ParallelIndexSupervisorTask"
PARALLEL_TUNING = f"{TASK}.batch.parallel.ParallelIndexTuningConfig"
INDEX_TASK = f"{TASK}.IndexTask"
PARTITIONS = "org.apache.druid.indexer.partitions"
GUARANTEED = {"forceGuaranteedRollup": True}

REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "append and drop together",
        ingestion(io={"appendToExisting": True, "dropExisting": True}),
        PARALLEL_TASK,
        (
            "Cannot simultaneously replace and append to existing segments. "
            "Either dropExisting or appendToExisting should be set to false"
        ),
    ),
    (
        "replace without intervals",
        ingestion(io={"dropExisting": True}),
        PARALLEL_TASK,
        "GranularitySpec's intervals cannot be empty when using replace.",
    ),
    (
        "replace without intervals, index",
        ingestion("index", io={"dropExisting": True}),
        INDEX_TASK,
        "GranularitySpec's intervals cannot be empty for replace.",
    ),
    (
        "perfect rollup and append",
        ingestion(io={"appendToExisting": True}, tuning=GUARANTEED),
        PARALLEL_TASK,
        "Perfect rollup cannot be guaranteed when appending to existing dataSources",
    ),
    (
        "dynamic with perfect rollup",
        ingestion(tuning={**GUARANTEED, "partitionsSpec": {"type": "dynamic"}}),
        PARALLEL_TUNING,
        "DynamicPartitionsSpec cannot be used for perfect rollup",
    ),
    (
        "a partitionsSpec without type is hashed",
        ingestion(tuning={"partitionsSpec": {}}),
        PARALLEL_TUNING,
        "DynamicPartitionsSpec must be used for best-effort rollup",
    ),
    (
        "range without a size",
        ingestion(tuning={**GUARANTEED, "partitionsSpec": {"type": "range", "partitionDimensions": ["page"]}}),
        f"{PARTITIONS}.DimensionRangePartitionsSpec",
        "Exactly one of targetRowsPerSegment or maxRowsPerSegment must be present",
    ),
    (
        "range without dimensions",
        ingestion(tuning={**GUARANTEED, "partitionsSpec": {"type": "range", "maxRowsPerSegment": 5}}),
        f"{PARTITIONS}.DimensionRangePartitionsSpec",
        "partitionDimensions must be specified",
    ),
    (
        "range over no dimension",
        ingestion(
            tuning={
                **GUARANTEED,
                "partitionsSpec": {"type": "range", "maxRowsPerSegment": 5, "partitionDimensions": []},
            }
        ),
        PARALLEL_TUNING,
        "partitionDimensions must be specified",
    ),
    (
        "hashed with shards and a size",
        ingestion(
            tuning={**GUARANTEED, "partitionsSpec": {"type": "hashed", "numShards": 2, "targetRowsPerSegment": 9}}
        ),
        f"{PARTITIONS}.HashedPartitionsSpec",
        "At most one of [targetRowsPerSegment] or [numShards] must be present",
    ),
    (
        "no sub-tasks at all",
        ingestion(tuning={"maxNumConcurrentSubTasks": 0}),
        PARALLEL_TUNING,
        "maxNumConcurrentSubTasks must be positive",
    ),
    (
        "both spellings of the sub-tasks",
        ingestion(tuning={"maxNumConcurrentSubTasks": 1, "maxNumSubTasks": 1}),
        PARALLEL_TUNING,
        "Can't use both maxNumSubTasks and maxNumConcurrentSubTasks. Use maxNumConcurrentSubTasks instead",
    ),
    (
        "index by range",
        ingestion(
            "index",
            tuning={
                **GUARANTEED,
                "partitionsSpec": {"type": "range", "maxRowsPerSegment": 5, "partitionDimensions": ["page"]},
            },
        ),
        INDEX_TASK,
        f"partitionsSpec[{PARTITIONS}.DimensionRangePartitionsSpec] is not supported",
    ),
    (
        "no compression of that name",
        ingestion(tuning={"indexSpec": {"dimensionCompression": "zip"}}),
        "org.apache.druid.segment.data.CompressionStrategy",
        "No enum constant org.apache.druid.segment.data.CompressionStrategy.ZIP",
    ),
]


@pytest.mark.parametrize(
    ("raw", "java_class", "problem"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_parts_that_do_not_go_together_are_refused(raw: dict[str, Any], java_class: str, problem: str) -> None:
    assert refusal_of(raw) == f"Cannot construct instance of `{java_class}`, problem: {problem}"


def test_config_of_another_task_type_is_refused() -> None:
    raw = ingestion()
    raw["spec"]["ioConfig"]["type"] = "index"
    assert refusal_of(raw).endswith(
        "Could not resolve type id 'index' as a subtype of `org.apache.druid.indexing.common.task.batch.parallel."
        "ParallelIndexIOConfig` known type ids = [index_parallel] (for POJO property 'ioConfig')"
    )
    raw = ingestion()
    del raw["spec"]["tuningConfig"]["type"]
    assert refusal_of(raw).endswith("missing type id property 'type' (for POJO property 'tuningConfig')")


def test_bad_interval_of_an_index_task_names_the_way_to_it() -> None:
    assert refusal_of(ingestion("index", granularity={"intervals": ["2026/2027", "nope"]})) == (
        "Invalid interval[nope]: [Format requires a '/' separator: nope] (through reference chain: "
        'org.apache.druid.indexing.common.task.IndexTask["spec"]->'
        'org.apache.druid.indexing.common.task.IndexTask$IndexIngestionSpec["dataSchema"]->'
        'org.apache.druid.segment.indexing.DataSchema["granularitySpec"]->'
        'org.apache.druid.indexer.granularity.UniformGranularitySpec["intervals"]->java.util.ArrayList[1])'
    )


@pytest.mark.parametrize(
    ("io", "mode"),
    [
        ({}, IngestionMode.REPLACE_LEGACY),
        ({"appendToExisting": True}, IngestionMode.APPEND),
        ({"dropExisting": "true"}, IngestionMode.REPLACE),
    ],
)
def test_mode_follows_append_and_drop(io: dict[str, Any], mode: IngestionMode) -> None:
    task = parse_task(ingestion(io=io, granularity={"intervals": ["2026/2027"]}), NOW_MS)
    assert isinstance(task, IndexParallelTask)
    assert task.mode is mode


def test_secrets_are_covered_for_all_but_the_peon() -> None:
    raw = ingestion(
        io={
            "inputSource": {
                "type": "http",
                "uris": ["https://example.org/a.json"],
                "httpAuthenticationUsername": "me",
                "httpAuthenticationPassword": {"type": "default", "password": "hunter2"},
                "requestHeaders": {"X-Token": "hunter2"},
            }
        }
    )
    whole = parse_task(raw, NOW_MS, allowed_http_headers=frozenset({"x-token"})).to_wire()

    shown = redacted(whole)

    assert "hunter2" not in str(shown)
    assert shown["spec"]["ioConfig"]["inputSource"]["httpAuthenticationUsername"] == "me"
    assert str(whole).count("hunter2") == 2  # what is stored is not touched
    assert load_task(whole).to_wire() == whole


def test_payload_without_secrets_is_not_copied() -> None:
    wire = parse_task(ingestion(), NOW_MS).to_wire()
    assert redacted(wire) is wire


def test_request_header_that_is_not_allowed_is_refused() -> None:
    source = {"type": "http", "uris": ["http://example.org/"], "requestHeaders": {"Metadata-Flavor": "Google"}}
    assert "Got forbidden header [Metadata-Flavor]" in refusal_of(ingestion(io={"inputSource": source}))


def test_peon_of_a_noop_pays_for_no_numpy() -> None:
    code = "import druid_core.task, sys; print('numpy' in sys.modules, 'pyarrow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        ({"type": "maxSize", "maxSplitSize": "lots"}, "Invalid format of number: lots"),
        ({"type": "maxSize", "maxNumFiles": 0}, "maxNumFiles should be larger than 0"),
        ({"type": "maxSize", "maxSplitSize": []}, "maxSplitSize"),
        ({"type": "nope"}, "known type ids = [maxSize, segments] (for POJO property 'splitHintSpec')"),
        ("maxSize", "missing type id property 'type' (for POJO property 'splitHintSpec')"),
        ([], "splitHintSpec"),
    ],
)
def test_wrong_split_hint_is_refused_with_its_place(hint: object, words: str) -> None:
    refusal = refusal_of(ingestion(tuning={"splitHintSpec": hint}))
    assert words in refusal
    assert "spec.tuningConfig.splitHintSpec" in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "hint", [None, {"maxSplitSize": "1GiB"}, {"type": "segments"}, {"type": "maxSize", "maxNumFiles": None}]
)
def test_split_hint_that_druid_takes_is_kept(hint: dict[str, Any] | None) -> None:
    task = parse_task(ingestion(tuning={"splitHintSpec": hint}), NOW_MS)
    again = load_task(task.to_wire())
    kept = again.to_wire()["spec"]["tuningConfig"]["splitHintSpec"]
    assert (kept or {}).get("type") == (None if hint is None else hint.get("type", "maxSize"))
