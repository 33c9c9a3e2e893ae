"""
Stock Java peons of Apache Druid 37 where our Overlord asks who calls. Druid's own escalator signs them in: as a user
whose rights they all have, or each with the token of its attempt for a password.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from overlord.task.token import TASK_USER
from tests.support.callers import ADMIN_PASSWORD, RUNNER_TOKEN, basic, made_caller, permission
from tests.support.druid.install import DruidInstall
from tests.support.druid.peon_world import DAY, OTHER_DAY, PeonWorld, ingest, line, peon_world, succeed
from tests.support.druid.peons import V1, Hand, java_peons
from tests.support.postgres import TestPostgres

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

SETTINGS = {"authenticators": "basic", "initial_admin_password": ADMIN_PASSWORD}
USER = "druid_system"
RIGHTS = [permission("STATE", "STATE", "WRITE"), *(permission("DATASOURCE", ".*", each) for each in ("READ", "WRITE"))]
TOKEN = orjson.dumps({"type": "environment", "variable": "NEMETON_TASK_TOKEN"}).decode()


def signed_in(extensions: Path, user: str, password: str) -> dict[str, str]:
    """The properties of a peon. Druid: BasicHTTPEscalator, PasswordProvider"""
    return {
        "druid.extensions.directory": str(extensions),
        "druid.extensions.loadList": '["druid-basic-security"]',
        "druid.escalator.type": "basic",
        "druid.escalator.authorizerName": "allowAll",
        "druid.escalator.internalClientUsername": user,
        "druid.escalator.internalClientPassword": password,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def user_world(
    druid: DruidInstall, basic_security: Path, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[PeonWorld]:
    """Peons are one user."""
    java = signed_in(basic_security, USER, f"password of {USER}")
    folder = tmp_path_factory.mktemp("java-peons-of-a-user")
    async with peon_world(druid, database, folder, runner_token=RUNNER_TOKEN, java=java, **SETTINGS) as made:
        await made_caller(made.client, USER, *RIGHTS)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token_world(
    druid: DruidInstall, basic_security: Path, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[PeonWorld]:
    """Each peon is its task."""
    java = signed_in(basic_security, TASK_USER, TOKEN)
    folder = tmp_path_factory.mktemp("java-peons-with-tokens")
    async with peon_world(druid, database, folder, runner_token=RUNNER_TOKEN, java=java, **SETTINGS) as made:
        yield made


async def test_peons_of_one_user_ingest_in_parallel_compact_and_kill(user_world: PeonWorld) -> None:
    await ingest_compact_and_kill(user_world)
    assert await submitters(user_world) == {None}


async def test_peons_with_their_tokens_ingest_in_parallel_compact_and_kill(token_world: PeonWorld) -> None:
    head = await ingest_compact_and_kill(token_world)
    assert await submitters(token_world) == {None, f"task {head}"}
    late = basic(TASK_USER, next(each.token for each in token_world.java.started if each.task_id == head))
    locks = {"task": {"id": head}, "action": {"type": "lockList"}}
    assert (await token_world.client.post(f"{V1}/action", json=locks, headers=late)).status_code == 403


async def test_a_peon_whose_token_is_none_gives_up_at_once(
    token_world: PeonWorld, druid: DruidInstall, basic_security: Path, tmp_path: Path
) -> None:
    (tmp_path / "task-logs").mkdir()
    start = java_peons(druid, tmp_path, signed_in(basic_security, TASK_USER, "no token"))
    async with Hand(token_world.client, "lost:8091", start, tmp_path / "tasks").at_work() as lost:
        status = await lost.run({"type": "noop", "id": "lost", "runTime": 1})
    assert status["statusCode"] == "FAILED"
    assert "403 Forbidden" in lost.log("lost")
    assert "This token belongs to no attempt of a task" in lost.log("lost")


async def ingest_compact_and_kill(world: PeonWorld) -> str:
    """With two sub-tasks; the id of the ingestion."""
    world.write("trees/a.json", line("oak", 1))
    folder = world.write("trees/b.json", line("elm", 2), line("ash", 3, OTHER_DAY))
    task = ingest("trees", folder)
    task["spec"]["tuningConfig"] |= {
        "maxNumConcurrentSubTasks": 2,
        "splitHintSpec": {"type": "maxSize", "maxNumFiles": 1},
    }
    head = await succeed(world.java, task)
    assert await world.rows("trees") == [("ash", 3), ("elm", 2), ("oak", 1)]
    compact: dict[str, Any] = {
        "type": "compact",
        "dataSource": "trees",
        "ioConfig": {"type": "compact", "inputSpec": {"type": "interval", "interval": DAY}},
    }
    await succeed(world.java, compact)
    await world.client.post(f"{V1}/datasources/trees/markUnused", json={"interval": OTHER_DAY})
    await succeed(world.java, {"type": "kill", "dataSource": "trees", "interval": OTHER_DAY})
    assert await world.rows("trees") == [("elm", 2), ("oak", 1)]
    left = "SELECT count(*) FROM druid_segments WHERE NOT used"
    assert await world.tables.fetchval(left) == 0
    kinds = Counter(each.type for each in world.java.started)
    assert kinds == {"index_parallel": 1, "single_phase_sub_task": 2, "compact": 1, "kill": 1}
    return head


async def submitters(world: PeonWorld) -> set[str | None]:
    """Under which names tasks were handed in; a peon's own is told by its token alone."""
    return {row["submitter"] for row in await world.tables.fetch("SELECT DISTINCT submitter FROM nemeton_attempts")}
