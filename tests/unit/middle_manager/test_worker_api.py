"""Whom the worker API serves: its own machine, and whoever shows the runners' secret."""

from pathlib import Path
from typing import cast

import pytest
from httpx import ASGITransport, AsyncClient

from middle_manager.runner import MiddleManager
from middle_manager.worker_api import worker_api

HOST = "worker:8091"
SECRET = "the runners' own secret"
ROUTES = [
    *(("POST", "/enable"), ("POST", "/disable"), ("GET", "/enabled"), ("GET", "/tasks")),
    *(("POST", "/task/n/shutdown"), ("GET", "/task/n/log")),
]


class Worker:
    """A MiddleManager that runs one task, and remembers what it was told."""

    def __init__(self, log: Path) -> None:
        self.told: list[str] = []
        self.is_enabled = True
        self.running_task_ids = ["n"]
        self._log = log

    def enable(self, enabled: bool) -> None:
        self.told.append(f"enable {enabled}")

    def shut_down(self, task_id: str) -> bool:
        self.told.append(f"shut down {task_id}")
        return True

    def log_file(self, task_id: str) -> Path:
        self.told.append(f"log of {task_id}")
        return self._log


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    (tmp_path / "log").write_bytes(b"canary\n")
    return Worker(tmp_path / "log")


def caller(worker: Worker, address: str, token: str | None, *, trusting: bool = True) -> AsyncClient:
    api = worker_api(cast("MiddleManager", worker), HOST, token, trusts_this_machine=trusting)
    return AsyncClient(transport=ASGITransport(api, client=(address, 4711)), base_url=f"http://{HOST}")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_is_served(worker: Worker, address: str) -> None:
    async with caller(worker, address, SECRET) as client:
        for method, path in ROUTES:
            assert (await client.request(method, f"/druid/worker/v1{path}")).status_code == 200
    assert worker.told == ["enable True", "enable False", "shut down n", "log of n"]


async def test_a_peon_of_this_machine_sees_nothing_where_it_is_not_trusted(worker: Worker) -> None:
    async with caller(worker, "127.0.0.1", SECRET, trusting=False) as client:
        for method, path in ROUTES:
            assert (await client.request(method, f"/druid/worker/v1{path}")).status_code == 401
            headers = {"Authorization": f"Bearer {SECRET}"}
            assert (await client.request(method, f"/druid/worker/v1{path}", headers=headers)).status_code == 200


async def test_what_changes_something_is_posted(worker: Worker) -> None:
    async with caller(worker, "127.0.0.1", SECRET) as client:
        for path in ("/enable", "/disable", "/task/n/shutdown"):
            assert (await client.get(f"/druid/worker/v1{path}")).status_code == 405
    assert worker.told == []


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.9", "fe80::1%eth0", "::ffff:10.1.2.3"])
@pytest.mark.parametrize("token", [None, SECRET])
async def test_elsewhere_is_not_served_and_nothing_is_done(worker: Worker, address: str, token: str | None) -> None:
    guesses = [{}, *({"Authorization": each} for each in ("Bearer", "Bearer ", "Bearer None", "Bearer x", SECRET))]
    async with caller(worker, address, token) as client:
        for method, path in ROUTES:
            for headers in guesses:
                answer = await client.request(method, f"/druid/worker/v1{path}", headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "NEMETON_RUNNER_TOKEN" in answer.json()["error"]
        assert (await client.get("/status/health")).json() is True
    assert worker.told == []


async def test_elsewhere_is_served_with_the_runners_secret(worker: Worker) -> None:
    async with caller(worker, "10.1.2.3", SECRET) as client:
        for method, path in ROUTES:
            headers = {"Authorization": f"Bearer {SECRET}"}
            assert (await client.request(method, f"/druid/worker/v1{path}", headers=headers)).status_code == 200


async def test_a_header_does_not_say_where_a_call_comes_from(worker: Worker) -> None:
    async with caller(worker, "10.1.2.3", None) as client:
        answer = await client.get("/druid/worker/v1/tasks", headers={"X-Forwarded-For": "127.0.0.1"})
        assert answer.status_code == 401
