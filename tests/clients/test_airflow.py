"""Airflow's Druid provider against `nemeton up`, as a user who may do little."""

from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import pytest
from httpx import AsyncClient

from nemeton.client.overlord import Overlord
from tests.support.callers import ADMIN_PASSWORD, made_caller, permission
from tests.support.clients.airflow import ingest
from tests.support.house import House, until
from tests.support.task_specs import index_parallel, noop

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("airflow")]

USER, PASSWORD = "airflow", "password of airflow"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    asking = {"NEMETON_AUTHENTICATORS": "basic", "NEMETON_INITIAL_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with House(tmp_path_factory.mktemp("house") / "data", environment=asking) as house:
        yield house


@pytest.fixture
async def overlord(house: House) -> Overlord:
    """As the administrator sees it; there is a user for Airflow by then."""
    async with AsyncClient(base_url=f"http://127.0.0.1:{house.port}") as client:
        path = f"/druid-ext/basic-security/authorization/db/basic/users/{USER}"
        if (await client.get(path, auth=("admin", ADMIN_PASSWORD))).status_code != 200:
            own = (permission("DATASOURCE", "web", action) for action in ("READ", "WRITE"))
            await made_caller(client, USER, *own)
    return Overlord(f"http://admin:{quote(ADMIN_PASSWORD)}@127.0.0.1:{house.port}")


def test_an_ingestion_is_followed_to_its_success(house: House, overlord: Overlord, tmp_path: Path) -> None:
    task = index_parallel("of-airflow", data_source="web")
    answer = ingest(house.port, task, tmp_path, user=USER, password=PASSWORD)
    assert answer.returncode == 0, answer.stderr + house.words()
    assert "Druid indexing task-id: of-airflow" in answer.stdout + answer.stderr
    assert overlord.status("of-airflow")["statusCode"] == "SUCCESS"
    assert len(overlord.segments("of-airflow")) == 1


def test_a_failed_ingestion_fails_the_task_of_airflow(house: House, overlord: Overlord, tmp_path: Path) -> None:
    task = index_parallel("broken", data_source="web", data='{"time":"no time"}')
    task["spec"]["tuningConfig"]["maxParseExceptions"] = 0
    answer = ingest(house.port, task, tmp_path, user=USER, password=PASSWORD)
    assert answer.returncode != 0
    assert "Druid indexing job failed" in answer.stderr
    assert overlord.status("broken")["statusCode"] == "FAILED"


def test_an_ingestion_that_takes_too_long_is_shut_down(house: House, overlord: Overlord, tmp_path: Path) -> None:
    task = noop("endless", dataSource="web", runTime=600_000)
    answer = ingest(house.port, task, tmp_path, user=USER, password=PASSWORD, at_most_seconds=1)
    assert answer.returncode != 0
    assert "took more than 1 seconds" in answer.stderr
    status = overlord.status("endless")
    assert status["statusCode"] == "FAILED"
    assert "shut" in status["errorMsg"].lower()
    until(lambda: not house.peons(), "its peon is gone")


@pytest.mark.parametrize(("data_source", "password", "status"), [("web", "wrong", 401), ("other", PASSWORD, 403)])
def test_whoever_may_not_is_refused_and_nothing_is_handed_in(
    house: House, overlord: Overlord, tmp_path: Path, data_source: str, password: str, status: int
) -> None:
    task = index_parallel(f"refused-{status}", data_source=data_source)
    answer = ingest(house.port, task, tmp_path, user=USER, password=password)
    assert answer.returncode != 0
    assert f"({status})" in answer.stdout + answer.stderr
    assert f"refused-{status}" not in [each["id"] for each in overlord.tasks()]
