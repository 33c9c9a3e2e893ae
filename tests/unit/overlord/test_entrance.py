"""Whoever knows only the Overlord's address finds the way from there."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from overlord.app import create_app
from overlord.settings import OverlordSettings


@pytest.fixture
def app() -> FastAPI:
    """One that never started: these answers need no database."""
    return create_app(OverlordSettings(database_url="postgresql://nowhere/none"))


@pytest.fixture
async def overlord(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://overlord") as client:
        yield client


async def test_the_bare_address_names_where_to_go_on(app: FastAPI, overlord: AsyncClient) -> None:
    answer = await overlord.get("/")
    assert answer.status_code == 200
    named = [value for value in answer.json().values() if str(value).startswith("/")]
    assert named == ["/docs", "/status", "/druid/indexer/v1/tasks"]
    assert {"/docs", *app.openapi()["paths"]}.issuperset(named)


async def test_a_browser_gets_a_page_with_links_that_work_below_any_path(overlord: AsyncClient) -> None:
    answer = await overlord.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.headers["content-type"].startswith("text/html")
    for path in ("docs", "status", "druid/indexer/v1/tasks"):
        assert f'href="{path}"' in answer.text


async def test_all_else_that_is_not_there_stays_druids_empty_404(overlord: AsyncClient) -> None:
    answer = await overlord.get("/unified-console.html")
    assert (answer.status_code, answer.content) == (404, b"")
