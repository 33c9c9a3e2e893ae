"""
schemathesis calls every operation as `/openapi.json` describes it, and as it does not: whatever it sends, the answer is
one that is described. A 500 is described where Druid answers one to a request that it cannot read, and by a body that
tells such a one from a failure of ours.

`--cases N` makes at least so many calls; without it a short form is run.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from httpx import AsyncClient

from tests.api.test_overlord_process import ready, serving
from tests.support.actions import segment, start
from tests.support.callers import basic, made_caller, permission
from tests.support.clients.fuzzing import Fuzzed, fuzz
from tests.support.fake_runner import FakeRunner
from tests.support.ports import free_port

SHORT = 1000
"""Calls, without `--cases`."""
EXAMPLES_OF_ALL = 40
"""An operation and phase, where all phases are run: some 20,000 calls in all."""
V1 = "/druid/indexer/v1"


@asynccontextmanager
async def furnished(database_url: str, folder: Path, **more: str) -> AsyncGenerator[tuple[str, dict[str, str], Path]]:
    """An Overlord's URL, something of every kind that is there, and where it logs."""
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "overlord.log"
    settings = {
        "NEMETON_TASK_LOGS": (folder / "task-logs").as_uri(),
        "NEMETON_LOG_WAIT_MS": "10",
        "NEMETON_WRONG_PASSWORDS_PER_MINUTE": "1000000",
        **more,
    }
    async with serving(database_url, port, **settings) as process:
        drain = asyncio.create_task(_drain(process, log))
        headers = basic("admin", more.get("NEMETON_INITIAL_ADMIN_PASSWORD", ""))
        try:
            async with AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                await ready(client)
                yield url, await _furnish(client), log
                assert process.returncode is None, "it lived through all of it"
        finally:
            drain.cancel()
            await asyncio.wait([drain])


async def _furnish(client: AsyncClient) -> dict[str, str]:
    """By the name of a path parameter."""
    await made_caller(client, "ana", permission("DATASOURCE", "web", "READ"))
    supervisor = {"type": "NoopSupervisorSpec", "id": "idle", "dataSources": ["web"]}
    for path, body in (
        ("/supervisor", supervisor),
        ("/compaction/config/datasources/web", {"dataSource": "web"}),
    ):
        answer = await client.post(f"{V1}{path}", json=body)
        assert answer.status_code == 200, answer.text
    peon = await start(client, "there")
    lock = await peon.lock("2026-01-01/2026-01-02")
    published = segment("2026-01-01/2026-01-02", lock["version"])
    await peon.publish(published)
    return {
        "task_id": "there",
        "data_source": "web",
        "segment_id": published.id,
        "spec_id": "idle",
        "user": "ana",
        "role": "role of ana",
    }


async def _drain(process: asyncio.subprocess.Process, log: Path) -> None:
    assert process.stderr is not None
    with log.open("wb") as file:
        while piece := await process.stderr.read(1 << 16):
            file.write(piece)
            file.flush()


def _said(fuzzed: Fuzzed) -> str:
    return "\n".join([*fuzzed.complaints, fuzzed.output[-20_000:]])


@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("schemathesis")
async def test_whatever_is_sent_the_answer_is_described(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> None:
    wanted = request.config.getoption("--cases", default=None) or SHORT
    phases, examples = (
        ("examples,fuzzing", 3) if wanted <= SHORT else ("examples,coverage,fuzzing,stateful", EXAMPLES_OF_ALL)
    )
    made, seed = 0, 0
    async with furnished(database_url, tmp_path) as (url, there, log):
        async with AsyncClient(base_url=url) as client:
            runner = FakeRunner(client, capacity=0)
            await runner.announce()
        there["host"] = runner.runner_id
        while made < wanted:
            seed += 1
            fuzzed = await asyncio.to_thread(
                fuzz, url, tmp_path, phases=phases, examples=examples, seed=seed, there=there
            )
            assert fuzzed.complaints == [], _said(fuzzed)
            assert fuzzed.cases > 0, _said(fuzzed)
            made += fuzzed.cases
        failures = [line for line in log.read_text(errors="replace").splitlines() if "a call failed" in line]
    assert failures == [], "what is unexpected is logged as such"
    print(f"{made} calls, every answer described")


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("schemathesis")
async def test_no_operation_that_says_it_asks_lets_strangers_in(database_url: str, tmp_path: Path) -> None:
    secret = "the first password"
    settings = {"NEMETON_AUTHENTICATORS": "basic", "NEMETON_INITIAL_ADMIN_PASSWORD": secret}
    async with furnished(database_url, tmp_path, **settings) as (url, there, _):
        fuzzed = await asyncio.to_thread(
            lambda: fuzz(
                *(url, tmp_path),
                phases="examples,fuzzing",
                examples=1,
                seed=1,
                there=there,
                checks=("ignored_auth",),
                user=f"admin:{secret}",
            )
        )
    assert fuzzed.complaints == [], _said(fuzzed)
    assert fuzzed.cases > 100, _said(fuzzed)
