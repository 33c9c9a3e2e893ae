"""The peon's last word and its address, told by task actions."""

from typing import Any

import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool
from tests.support.actions import start


async def status(overlord: AsyncClient, task_id: str = "t1") -> dict[str, Any]:
    return (await overlord.get(f"/druid/indexer/v1/task/{task_id}/status")).json()["status"]


@pytest.mark.parametrize(
    ("fields", "code", "error_msg"),
    [
        ({"status": "", "statusFull": {"id": "t1", "status": "SUCCESS", "duration": -1}}, "SUCCESS", None),
        ({"statusFull": {"id": "t1", "status": "FAILED", "duration": 5, "errorMsg": "why"}}, "FAILED", "why"),
        ({"statusFull": {"id": "somebody else", "status": "SUCCESS"}}, "SUCCESS", None),
        ({"status": "successful"}, "SUCCESS", None),
        ({"status": "anything else"}, "FAILED", None),
    ],
)
async def test_the_peons_last_word_decides(
    overlord: AsyncClient, fields: dict[str, Any], code: str, error_msg: str | None
) -> None:
    peon = await start(overlord, "t1")
    assert await peon.perform("updateStatus", **fields) is None
    now = await status(overlord)
    assert (now["statusCode"], now["errorMsg"]) == (code, error_msg)


async def test_a_final_status_never_changes(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    await peon.finish()
    assert await peon.perform("updateStatus", statusFull={"id": "t1", "status": "FAILED"}) is None
    assert (await status(overlord))["statusCode"] == "SUCCESS"


async def test_a_running_status_ends_nothing(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    await peon.perform("updateStatus", statusFull={"id": "t1", "status": "RUNNING"})
    assert (await status(overlord))["statusCode"] == "RUNNING"


async def test_a_peon_tells_its_address_and_javas_unknown_port_is_ignored(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    await pool.execute("UPDATE nemeton_attempts SET state = 'RUNNING', runner_id = 'r'")
    await peon.perform("updateLocation", location={"host": "10.0.0.7", "port": 8100, "tlsPort": -1})
    assert (await status(overlord))["location"] == {"host": "10.0.0.7", "port": 8100, "tlsPort": -1}
    for unknown in ({"host": "10.0.0.7", "port": -1, "tlsPort": -1}, {"host": None, "port": -1, "tlsPort": -1}):
        assert await peon.perform("updateLocation", location=unknown) is None
    assert (await status(overlord))["location"]["port"] == 8100
