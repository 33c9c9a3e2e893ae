"""Who may see and change which supervisors and compaction configs: lists are filtered, the rest is refused."""

import pytest
from httpx import AsyncClient

from overlord.settings import OverlordSettings
from tests.support.callers import ADMIN, ADMIN_PASSWORD, Headers, made_caller, permission
from tests.support.overlord_calls import V1


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(update={"authenticators": ("basic",), "initial_admin_password": ADMIN_PASSWORD})


@pytest.fixture
async def ana(overlord: AsyncClient) -> Headers:
    """She may write and read `web`; there is a supervisor and a config of `web` and of `shop`, and one of both."""
    for name, sources in (("web", ["web"]), ("shop", ["shop"]), ("both", ["web", "shop"])):
        spec = {"type": "NoopSupervisorSpec", "id": name, "dataSources": sources}
        assert (await overlord.post(f"{V1}/supervisor", json=spec, headers=ADMIN)).status_code == 200
    for name in ("web", "shop"):
        path = f"{V1}/compaction/config/datasources/{name}"
        assert (await overlord.post(path, json={"dataSource": name}, headers=ADMIN)).status_code == 200
    rights = (permission("DATASOURCE", "web", action) for action in ("READ", "WRITE"))
    return await made_caller(overlord, "ana", *rights)


async def test_lists_show_what_one_may_see(overlord: AsyncClient, ana: Headers) -> None:
    assert (await overlord.get(f"{V1}/supervisor", headers=ana)).json() == ["web"]
    assert list((await overlord.get(f"{V1}/supervisor/history", headers=ana)).json()) == ["web"]
    configs = (await overlord.get(f"{V1}/compaction/config/datasources", headers=ana)).json()["compactionConfigs"]
    assert [config["dataSource"] for config in configs] == ["web"]
    statuses = (await overlord.get(f"{V1}/compaction/status/datasources", headers=ana)).json()["latestStatus"]
    assert [status["dataSource"] for status in statuses] == ["web"]


async def test_a_history_that_one_may_not_see_is_none(overlord: AsyncClient, ana: Headers) -> None:
    assert len((await overlord.get(f"{V1}/supervisor/web/history", headers=ana)).json()) == 1
    hidden = await overlord.get(f"{V1}/supervisor/both/history", headers=ana)
    assert (hidden.status_code, hidden.json()) == (404, {"error": "No history for [both]."})


async def test_all_means_all_that_one_may_change(overlord: AsyncClient, ana: Headers) -> None:
    assert (await overlord.post(f"{V1}/supervisor/terminateAll", headers=ana)).status_code == 200
    assert (await overlord.get(f"{V1}/supervisor", headers=ADMIN)).json() == ["both", "shop"]


@pytest.mark.parametrize("sources", [["shop"], ["web", "shop"]])
async def test_a_spec_needs_the_right_to_write_each_of_its_datasources(
    overlord: AsyncClient, ana: Headers, sources: list[str]
) -> None:
    spec = {"type": "NoopSupervisorSpec", "id": "mine", "dataSources": sources}
    refused = await overlord.post(f"{V1}/supervisor", json=spec, headers=ana)
    assert refused.status_code == 403
    assert list(refused.json()) == ["Access-Check-Result"]
    assert (await overlord.get(f"{V1}/supervisor/mine", headers=ADMIN)).status_code == 404
    spec["dataSources"] = ["web"]
    assert (await overlord.post(f"{V1}/supervisor", json=spec, headers=ana)).status_code == 200


@pytest.mark.parametrize("theirs", ["shop", "both"])
async def test_nobody_takes_over_a_supervisor_of_a_datasource_that_is_not_his(
    overlord: AsyncClient, ana: Headers, theirs: str
) -> None:
    before = (await overlord.get(f"{V1}/supervisor/{theirs}", headers=ADMIN)).json()
    spec = {"type": "NoopSupervisorSpec", "id": theirs, "dataSources": ["web"]}
    refused = await overlord.post(f"{V1}/supervisor", json=spec, headers=ana)
    assert refused.status_code == 403
    assert f"all datasources of supervisor [{theirs}]" in refused.json()["Access-Check-Result"]
    assert (await overlord.get(f"{V1}/supervisor/{theirs}", headers=ADMIN)).json() == before


async def test_the_rest_of_another_datasource_is_refused(overlord: AsyncClient, ana: Headers) -> None:
    for method, path in (
        ("GET", "supervisor/shop"),
        ("POST", "supervisor/both/suspend"),
        ("GET", "compaction/config/datasources/shop"),
        ("DELETE", "compaction/config/datasources/shop"),
        ("GET", "compaction/config/cluster"),
    ):
        assert (await overlord.request(method, f"{V1}/{path}", headers=ana)).status_code == 403, path
    assert (await overlord.get(f"{V1}/supervisor/nosuch", headers=ana)).status_code == 404
