"""Where tasks may read from: said by the Overlord, refused at submission where that can be known, told to the peon."""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.errors import InvalidInput
from druid_core.input_policy import METADATA_NETWORKS, InputPolicy
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1
from tests.support.task_specs import index_parallel, noop


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(update={"local_input_paths": ("/data/in",), "input_protocols": ("https",)})


def reading(**source: Any) -> dict[str, Any]:
    task = index_parallel("t")
    task["spec"]["ioConfig"]["inputSource"] = source
    return task


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "local", "baseDir": "/etc", "filter": "*"}, "[/etc]"),
        ({"type": "local", "baseDir": "/data/in/../../etc", "filter": "*"}, "local_input_paths"),
        ({"type": "local", "baseDir": "/data/input", "filter": "*"}, "[/data/input]"),
        ({"type": "local", "baseDir": "data/in", "filter": "*"}, "[data/in]"),
        ({"type": "local", "files": ["/data/in/a", "/etc/passwd"]}, "[/etc/passwd]"),
        ({"type": "http", "uris": ["http://example.org/a"]}, "Only [https] protocols"),
        ({"type": "http", "uris": ["https://169.254.169.254/latest"]}, "denied"),
        ({"type": "http", "uris": ["https://[fe80::1]/"]}, "denied"),
        ({"type": "http", "uris": ["https://[::ffff:169.254.169.254]/"]}, "denied"),
    ],
)
async def test_what_may_not_be_read_is_refused_at_submission(
    overlord: AsyncClient, pool: Pool, source: dict[str, Any], message: str
) -> None:
    answer = await overlord.post(f"{V1}/task", json=reading(**source))
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_tasks") == 0


@pytest.mark.parametrize(
    "source",
    [
        {"type": "local", "baseDir": "/data/in", "filter": "*"},
        {"type": "local", "files": ["/data/in/deep/a.json"]},
        {"type": "http", "uris": ["https://example.org/a", "https://10.0.0.7/a"]},
        {"type": "inline", "data": "x"},
    ],
)
async def test_what_may_be_read_is_accepted(overlord: AsyncClient, source: dict[str, Any]) -> None:
    answer = await overlord.post(f"{V1}/task", json=reading(**source))
    assert answer.status_code == 200, answer.text


async def test_a_peon_is_told_where_its_task_may_read_from(overlord: AsyncClient) -> None:
    await overlord.post(f"{V1}/task", json=noop("t"))
    token = (await FakeRunner(overlord).take()).token
    answer = await overlord.get("/nemeton/v1/task/t/payload", headers={"Authorization": f"Bearer {token}"})
    told = InputPolicy.model_validate(orjson.loads(answer.headers["x-nemeton-input-policy"]))
    assert told == InputPolicy(protocols=("https",), local_paths=("/data/in",), denied_networks=METADATA_NETWORKS)


def test_by_default_no_file_of_a_peon_can_be_read() -> None:
    assert OverlordSettings(database_url="postgresql://none/none").input_policy.local_paths == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LOCAL_INPUT_PATHS", "relative"),
        ("DENIED_INPUT_NETWORKS", "nowhere"),
        ("TRUSTED_NETWORKS", "300.0.0.0/8"),
        ("AUTHENTICATORS", "none,basic"),
        ("AUTHENTICATORS", "kerberos"),
        ("AUTHENTICATORS", ""),
        ("AUTHENTICATORS", "jwt"),
        ("RUNNER_TOKEN", "short"),
        ("TLS_CERTIFICATE", "/a.pem"),
    ],
)
def test_settings_that_make_no_sense_end_the_start(name: str, text: str) -> None:
    environment = {"NEMETON_DATABASE_URL": "postgresql://none/none", f"NEMETON_{name}": text}
    with pytest.raises(InvalidInput) as refusal:
        OverlordSettings.from_environment(environment)
    assert "short" not in str(refusal.value)
