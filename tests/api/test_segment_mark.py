"""Marking segments used and unused, and killing what is unused: the way of a segment out of the cluster."""

from typing import Any

import pytest
from httpx import AsyncClient, Response

from overlord.db.pool import Pool, transaction
from overlord.segment import store
from tests.support.actions import Peon, segment, start

DATA_SOURCES = "/druid/indexer/v1/datasources"
JAN, FEB, YEAR = "2026-01-01/2026-02-01", "2026-02-01/2026-03-01", "2026-01-01/2027-01-01"
OLD, NEW = "2026-03-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z"


@pytest.fixture
async def segments(pool: Pool) -> dict[str, str]:
    """January in two versions, February in one; name to id."""
    given = {"old": segment(JAN, OLD), "new": segment(JAN, NEW), "feb": segment(FEB, OLD)}
    async with transaction(pool) as tx:
        await store.insert(tx, "t0", list(given.values()), {each.id for each in given.values()}, 0)
    return {name: each.id for name, each in given.items()}


async def used(pool: Pool) -> set[str]:
    return {row["id"] for row in await pool.fetch("SELECT id FROM druid_segments WHERE used")}


def changed(response: Response) -> int:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body == {
        "numChangedSegments": body["numChangedSegments"],
        "segmentStateChanged": body["numChangedSegments"] > 0,
    }
    return body["numChangedSegments"]


async def mark(overlord: AsyncClient, what: str, body: Any, data_source: str = "web") -> Response:
    return await overlord.post(f"{DATA_SOURCES}/{data_source}/{what}", json=body)


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}", "same")
@pytest.mark.route("DELETE /druid/indexer/v1/datasources/{data_source}", "same")
async def test_a_whole_datasource_goes_and_comes_back_without_what_is_overshadowed(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    assert changed(await overlord.delete(f"{DATA_SOURCES}/web")) == 3
    assert changed(await overlord.delete(f"{DATA_SOURCES}/web")) == 0
    assert changed(await overlord.post(f"{DATA_SOURCES}/web", json={})) == 2
    assert await used(pool) == {segments["new"], segments["feb"]}
    assert changed(await overlord.delete(f"{DATA_SOURCES}/none")) == 0


@pytest.mark.route("DELETE /druid/indexer/v1/datasources/{data_source}/segments/{segment_id}", "same")
async def test_every_change_is_dated(overlord: AsyncClient, pool: Pool, segments: dict[str, str]) -> None:
    await overlord.delete(f"{DATA_SOURCES}/web/segments/{segments['feb']}")
    dates = {r["id"]: r["used_status_last_updated"] for r in await pool.fetch("SELECT * FROM druid_segments")}
    assert dates[segments["old"]] == "1970-01-01T00:00:00.000Z"
    assert dates[segments["feb"]] > "2026"


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUnused", "same")
async def test_only_what_lies_wholly_inside_the_interval_is_marked_unused(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    assert changed(await mark(overlord, "markUnused", {"interval": "2026-01-15/2026-03-01"})) == 1
    assert await used(pool) == {segments["old"], segments["new"]}


@pytest.mark.parametrize(("versions", "count"), [([OLD], 2), ([], 0), (None, 3), (["x"], 0)])
async def test_versions_narrow_the_interval(
    overlord: AsyncClient, segments: dict[str, str], versions: list[str] | None, count: int
) -> None:
    assert changed(await mark(overlord, "markUnused", {"interval": YEAR, "versions": versions})) == count


async def test_ids_are_marked_and_foreign_ones_ignored(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    ids = [segments["old"], segments["new"], "nonsense"]
    assert changed(await mark(overlord, "markUnused", {"segmentIds": ids})) == 2
    assert changed(await mark(overlord, "markUnused", {"segmentIds": [segments["feb"]]}, "other")) == 0
    assert changed(await mark(overlord, "markUsed", {"segmentIds": ids[:2]})) == 1
    assert await used(pool) == {segments["new"], segments["feb"]}


async def test_a_mark_without_a_body_needs_no_content_type_and_takes_none_but_json(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    """Druid's own client sends none."""
    everything, one = f"{DATA_SOURCES}/web", f"{DATA_SOURCES}/web/segments/{segments['old']}"
    await overlord.delete(everything)
    for path in (everything, one):
        refused = await overlord.post(path, content="", headers={"Content-Type": "text/plain"})
        assert (refused.status_code, refused.content) == (415, b"")
    assert await used(pool) == set()
    assert changed(await overlord.post(everything)) == 2
    assert changed(await overlord.post(one)) == 1


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUsed", "same")
async def test_ids_that_are_none_are_refused_for_marking_used(overlord: AsyncClient, segments: dict[str, str]) -> None:
    response = await mark(overlord, "markUsed", {"segmentIds": ["nonsense", segments["old"]]})
    assert response.status_code == 400
    assert response.json()["errorCode"] == "invalidInput"
    assert "[nonsense]" in response.json()["errorMessage"]


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/segments/{segment_id}", "same")
async def test_one_segment_is_marked_used_whatever_lies_over_it(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    path = f"{DATA_SOURCES}/web/segments/{segments['old']}"
    assert [changed(await overlord.delete(path)) for _ in range(2)] == [1, 0]
    assert [changed(await overlord.post(path)) for _ in range(2)] == [1, 0]
    assert segments["old"] in await used(pool)
    assert (await overlord.post(f"{DATA_SOURCES}/web/segments/nonsense")).status_code == 400


@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUsed", "same")
@pytest.mark.route("POST /druid/indexer/v1/datasources/{data_source}/markUnused", "same")
@pytest.mark.parametrize(
    "body", [{}, 1, [], {"interval": YEAR, "segmentIds": ["a"]}, {"segmentIds": ["a"], "versions": ["v"]}]
)
@pytest.mark.parametrize("what", ["markUsed", "markUnused"])
async def test_a_filter_names_an_interval_or_ids_and_not_both(overlord: AsyncClient, what: str, body: Any) -> None:
    response = await mark(overlord, what, body)
    assert response.status_code == 400
    assert "Specify either 'interval' or 'segmentIds'" in response.text


async def kill(overlord: AsyncClient, pool: Pool, interval: str) -> Peon:
    """A kill task, released: it holds its lock."""
    task = {"type": "kill", "id": "kill", "dataSource": "web", "interval": interval}
    assert (await overlord.post("/druid/indexer/v1/task", json=task)).status_code == 200
    peon = Peon(overlord, task)
    assert await peon.lock(interval) is not None
    return peon


async def test_a_kill_deletes_unused_segments_and_never_a_used_one(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    await mark(overlord, "markUnused", {"segmentIds": [segments["old"]]})
    peon = await kill(overlord, pool, YEAR)
    question = {"dataSource": "web", "interval": YEAR, "versions": None, "limit": 100}
    doomed = await peon.perform("segmentListUnused", **question)
    assert [each["identifier"] for each in doomed] == [segments["old"]]
    for _ in range(2):
        everything = [segment(JAN, OLD).to_wire(), segment(JAN, NEW).to_wire()]
        assert await peon.perform("segmentNuke", segments=everything) is None
    left = {row["id"] for row in await pool.fetch("SELECT id FROM druid_segments")}
    assert left == {segments["new"], segments["feb"]}
    assert await peon.perform("segmentListUnused", **question) == []


async def test_a_kill_deletes_nothing_outside_its_lock(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    await overlord.delete(f"{DATA_SOURCES}/web")
    peon = await kill(overlord, pool, JAN)
    response = await peon.send("segmentNuke", segments=[segment(FEB, OLD).to_wire()])
    assert response.status_code == 500
    assert "are not covered by locks" in response.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 3


async def test_unused_segments_are_listed_by_version_limit_and_age(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    await pool.execute("UPDATE druid_segments SET used = FALSE")
    await pool.execute(
        "UPDATE druid_segments SET used_status_last_updated = '2026-05-01T00:00:00.000Z' WHERE id = $1", segments["new"]
    )
    peon = await start(overlord, "t1")

    async def listed(**fields: Any) -> list[str]:
        found = await peon.perform("segmentListUnused", dataSource="web", interval=YEAR, **fields)
        return [each["identifier"] for each in found]

    assert await listed() == [segments["old"], segments["new"], segments["feb"]]
    assert await listed(limit=1) == [segments["old"]]
    assert await listed(versions=[NEW]) == [segments["new"]]
    assert await listed(versions=[]) == []
    assert await listed(maxUsedStatusLastUpdatedTime="2026-04-30T00:00:00.000Z") == [segments["old"], segments["feb"]]


async def test_segments_are_found_by_id_used_or_not(overlord: AsyncClient, segments: dict[str, str]) -> None:
    await mark(overlord, "markUnused", {"segmentIds": [segments["feb"]]})
    peon = await start(overlord, "t1")
    found = await peon.perform("retrieveSegmentsById", dataSource="web", segmentIds=[*segments.values(), "x"])
    assert {each["identifier"] for each in found} == set(segments.values())


async def test_copies_under_a_newer_version_know_their_origin(
    overlord: AsyncClient, pool: Pool, segments: dict[str, str]
) -> None:
    old, new = segments["old"], segments["new"]
    await pool.execute("UPDATE druid_segments SET upgraded_from_segment_id = $1 WHERE id = $2", old, new)
    peon = await start(overlord, "t1")
    question = {"dataSource": "web", "segmentIds": [old, new, "x"]}
    assert await peon.perform("retrieveUpgradedFromSegmentIds", **question) == {"upgradedFromSegmentIds": {new: old}}
    assert await peon.perform("retrieveUpgradedToSegmentIds", **question) == {
        "upgradedToSegmentIds": {old: sorted([old, new]), new: [new]}
    }
