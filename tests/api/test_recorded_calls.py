"""
Calls that were made to Apache Druid, made to us in the same order: each finds what those before it left behind.

Where we answer otherwise on purpose, the call is named below with the reason; all others must be the same.
"""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.support.replay import expected, is_page, names_java, recorded, replay

A_NOOP_CAN_BE_SUSPENDED = "In Druid the suspension of a noop succeeds and changes nothing"
NOTHING_IS_COMPACTED = (
    "Compaction is not scheduled here, and the status says so of every datasource with a configuration"
)
CLEARER = "Druid answers 500 for what the caller got wrong"
NO_STREAM = "Druid answers 500, or 400 for the body of a call that could not succeed anyway; here it is 501"

DIFFERENT: dict[str, dict[str, tuple[int, str]]] = {
    "supervisors": {
        **dict.fromkeys(("noop no ds", "noop empty ds", "noop no id", "auto bad"), (400, CLEARER)),
        "noop type noop": (200, "The short name, which Druid prints and does not read"),
        **dict.fromkeys(("suspend", "suspended", "resume"), (200, A_NOOP_CAN_BE_SUSPENDED)),
        "suspend again": (400, A_NOOP_CAN_BE_SUSPENDED),
        **dict.fromkeys(
            ("history same", "history changed", "after suspendAll", "history after", "history end"),
            (200, A_NOOP_CAN_BE_SUSPENDED),
        ),
        "auto list susp": (200, "Druid says of a suspended one that it is not, unless `system` is asked for"),
        **dict.fromkeys(("reset", "handoff", "auto reset", "auto handoff"), (501, NO_STREAM)),
        **dict.fromkeys(("resetOffsets", "resetOffsets {}"), (501, NO_STREAM)),
    },
    "compaction": {
        **dict.fromkeys(("status two", "status oak"), (200, NOTHING_IS_COMPACTED)),
        "history 0": (400, CLEARER),
        "history after": (200, "Druid cannot read the audit after a config was deleted"),
        "cluster null": (500, "In the words of every body that is missing"),
    },
    "worker-config": {},
    "segments": {},
}


async def make_all(overlord: AsyncClient, recording: str) -> None:
    different = DIFFERENT[recording]
    calls = recorded(recording)
    assert different.keys() <= {call["name"] for call in calls}
    for call in calls:
        if call["name"] == "noop two ds":
            call["requestBody"].pop("suspended")  # Druid ignores it: a noop would be suspended here
        status, media_type, body = await replay(overlord, call)
        name = call["name"]
        if name in different:
            assert status == different[name][0], name
        elif is_page(call):
            assert (status, body["error"]) == (call["status"], "druidException"), name
        elif names_java(call):
            assert (status, list(body)) == (call["status"], list(call["body"])), name
            assert "org.apache" not in str(body), name
            assert call["body"]["error"].partition("problem: ")[2] in ("", body["error"].partition("problem: ")[2]) or (
                "No enum constant" in call["body"]["error"]
            ), name
        else:
            assert (status, media_type, as_druid(body)) == (*expected(call)[:2], as_druid(expected(call)[2])), name


def as_druid(value: Any) -> Any:
    """
    Without what is ours on purpose, in any answer: the type of a noop printed once, the stopped scheduler and its
    message, and parts of a compaction config that are kept as they were given.
    """
    if isinstance(value, dict):
        return {
            name: "$AS_GIVEN" if name in ("dimensionsSpec", "partitionsSpec") and each else as_druid(each)
            for name, each in value.items()  # pyright: ignore[reportUnknownVariableType]
            if name != "message"
        }
    if isinstance(value, list):
        return [as_druid(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return {"NoopSupervisorSpec": "noop", "SCHEDULER_STOPPED": "RUNNING"}.get(value, value) if value else value


@pytest.mark.route(
    "POST /druid/indexer/v1/supervisor",
    "differs",
    "`NoopSupervisorSpec` (or `noop`) and `autocompact` are taken, streams and `scheduled_batch` refused with "
    "a sentence. A spec without datasources or id is 400, where Druid answers 500. Whoever replaces a spec needs the "
    "right to write what the one before was for, too",
)
@pytest.mark.route(
    "GET /druid/indexer/v1/supervisor",
    "differs",
    "A noop prints its type once. An `autocompact` supervisor is `SCHEDULER_STOPPED`: compaction is left to a "
    "Coordinator. Streams that Druid left in the database are `UNHEALTHY_SUPERVISOR`. `suspended` is told in every "
    "list: without `?system` Druid says false",
)
@pytest.mark.route("GET /druid/indexer/v1/supervisor/history", "same")
@pytest.mark.route("POST /druid/indexer/v1/supervisor/suspendAll", "same")
@pytest.mark.route("POST /druid/indexer/v1/supervisor/resumeAll", "same")
@pytest.mark.route("POST /druid/indexer/v1/supervisor/terminateAll", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}/status", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}/health", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}/stats", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}/parseErrors", "same")
@pytest.mark.route("GET /druid/indexer/v1/supervisor/{spec_id}/history", "same")
@pytest.mark.route(
    "POST /druid/indexer/v1/supervisor/{spec_id}/suspend",
    "differs",
    "A noop can be suspended: in Druid that succeeds and changes nothing",
)
@pytest.mark.route("POST /druid/indexer/v1/supervisor/{spec_id}/resume", "same")
@pytest.mark.route("POST /druid/indexer/v1/supervisor/{spec_id}/terminate", "same")
@pytest.mark.route("POST /druid/indexer/v1/supervisor/{spec_id}/shutdown", "same")
@pytest.mark.route(
    "POST /druid/indexer/v1/supervisor/{spec_id}/reset",
    "differs",
    "No supervisor here reads a stream: 501 with Druid's words, where Druid answers 500",
)
@pytest.mark.route(
    "POST /druid/indexer/v1/supervisor/{spec_id}/resetOffsets",
    "differs",
    "No supervisor here reads a stream: 501 with Druid's words, where Druid answers 500",
)
@pytest.mark.route(
    "POST /druid/indexer/v1/supervisor/{spec_id}/taskGroups/handoff",
    "differs",
    "No supervisor here reads a stream: 501 with Druid's words, where Druid answers 500",
)
async def test_calls_about_supervisors_are_answered_as_by_druid(overlord: AsyncClient) -> None:
    await make_all(overlord, "supervisors")


@pytest.mark.route(
    "GET /druid/indexer/v1/compaction/isSupervisorEnabled",
    "differs",
    "`false`, since compaction is left to a Coordinator; `true` is Druid's default",
)
@pytest.mark.route("GET /druid/indexer/v1/compaction/config/cluster", "differs", "`useSupervisors` is always false")
@pytest.mark.route(
    "POST /druid/indexer/v1/compaction/config/cluster",
    "differs",
    "`useSupervisors: true` is refused with a sentence",
)
@pytest.mark.route("GET /druid/indexer/v1/compaction/config/datasources", "same")
@pytest.mark.route(
    "GET /druid/indexer/v1/compaction/config/datasources/{data_source}",
    "differs",
    "`dimensionsSpec`, `partitionsSpec` and the like are shown as they were given, without defaults filled in",
)
@pytest.mark.route("POST /druid/indexer/v1/compaction/config/datasources/{data_source}", "same")
@pytest.mark.route("DELETE /druid/indexer/v1/compaction/config/datasources/{data_source}", "same")
@pytest.mark.route(
    "GET /druid/indexer/v1/compaction/config/datasources/{data_source}/history",
    "differs",
    "It tells of a deletion: Druid answers 500 once a configuration was deleted",
)
@pytest.mark.route(
    "GET /druid/indexer/v1/compaction/status/datasources",
    "differs",
    "Every datasource with a configuration, as `NOT_ENABLED`: how far it is, is for the Coordinator to say",
)
@pytest.mark.route(
    "GET /druid/indexer/v1/compaction/status/datasources/{data_source}",
    "differs",
    "Every datasource with a configuration, as `NOT_ENABLED`: how far it is, is for the Coordinator to say",
)
@pytest.mark.route("POST /druid/indexer/v1/compaction/simulate", "same")
async def test_calls_about_compaction_are_answered_as_by_druid_that_leaves_it_to_a_coordinator(
    overlord: AsyncClient,
) -> None:
    await make_all(overlord, "compaction")


@pytest.mark.route("GET /druid/indexer/v1/worker", "same")
@pytest.mark.route("POST /druid/indexer/v1/worker", "same")
@pytest.mark.route("GET /druid/indexer/v1/worker/history", "same")
async def test_worker_configurations_are_read_and_told_of_as_by_druid(overlord: AsyncClient) -> None:
    await make_all(overlord, "worker-config")


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}", "same")
@pytest.mark.route("DELETE /druid/indexer/v1/datasources/{data_source}", "same")
@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUsed", "same")
@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUnused", "same")
@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/segments/{segment_id}", "same")
@pytest.mark.route("DELETE /druid/indexer/v1/datasources/{data_source}/segments/{segment_id}", "same")
async def test_calls_that_mark_segments_are_answered_as_by_druid(overlord: AsyncClient) -> None:
    await make_all(overlord, "segments")


@pytest.mark.route(
    "POST /druid/indexer/v1/sampler",
    "differs",
    "501 with a sentence: an Overlord that reads inputs would need the rights, the memory and the network of its peons",
)
async def test_a_sample_is_refused_in_words(overlord: AsyncClient) -> None:
    answer = await overlord.post("/druid/indexer/v1/sampler", json={"type": "index", "spec": {}})
    assert (answer.status_code, answer.json()["category"]) == (501, "UNSUPPORTED")
    assert (await overlord.post("/druid/indexer/v1/sampler", content=b"{}")).status_code == 415


@pytest.mark.route("GET /druid-internal/v1/httpRemoteTaskRunner/{view}", "same")
async def test_there_is_nothing_to_see_of_another_runner(overlord: AsyncClient) -> None:
    answer = await overlord.get("/druid-internal/v1/httpRemoteTaskRunner/knownTasks")
    assert (answer.status_code, answer.text) == (403, "HttpRemoteTaskRunner is NULL.")
