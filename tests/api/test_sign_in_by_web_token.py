"""OIDC end to end: an issuer on this machine, its discovery document and keys, and a caller with its token."""

import json
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from httpx import AsyncClient
from jwt.algorithms import ECAlgorithm

from overlord.settings import OverlordSettings
from overlord.task.token import TASK_USER
from tests.support.callers import ADMIN, ADMIN_PASSWORD, RUNNER_TOKEN, basic, bearer, made_role, permission
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, replica
from tests.support.task_specs import noop

KEY = generate_private_key(SECP256R1())


@pytest.fixture
def issuer() -> Generator[str]:
    """The address of an issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys = [ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "k", "alg": "ES256"}]
            about = {"issuer": address, "jwks_uri": f"{address}/keys"}
            body = json.dumps({"keys": keys} if self.path == "/keys" else about).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(settings: OverlordSettings, issuer: str) -> OverlordSettings:
    return settings.model_copy(
        update={
            "authenticators": ("basic", "jwt"),
            "initial_admin_password": ADMIN_PASSWORD,
            "runner_token": RUNNER_TOKEN,
            "jwt_issuer": issuer,
            "jwt_audience": "nemeton",
        }
    )


def token(issuer: str, user: str, *roles: str, audience: str = "nemeton") -> str:
    claims = {"iss": issuer, "aud": audience, "sub": user, "exp": int(time.time()) + 60, "roles": list(roles)}
    return jwt.encode(claims, KEY, "ES256", headers={"kid": "k"})


async def test_a_token_gives_the_rights_of_the_roles_that_it_names(overlord: AsyncClient, issuer: str) -> None:
    await made_role(overlord, "looker", permission("STATE", "STATE", "READ"))
    ana = bearer(token(issuer, "ana", "looker", "no such role"))
    assert (await overlord.get(f"{V1}/workers", headers=ana)).status_code == 200
    refused = await overlord.get("/status/properties", headers=ana)
    assert refused.json() == {"Access-Check-Result": "ana has no READ on CONFIG [CONFIG]"}
    assert (await overlord.get("/status/properties", headers=bearer(token(issuer, "bea", "admin")))).status_code == 200


async def test_the_name_of_a_user_here_gives_a_token_none_of_his_rights(overlord: AsyncClient, issuer: str) -> None:
    assert (await overlord.get(f"{V1}/workers", headers=ADMIN)).status_code == 200
    assert (await overlord.get(f"{V1}/workers", headers=bearer(token(issuer, "admin")))).status_code == 403


async def test_a_token_for_another_service_is_401_and_says_why(overlord: AsyncClient, issuer: str) -> None:
    foreign = token(issuer, "ana", "admin", audience="shop")
    answer = await overlord.get(f"{V1}/workers", headers=bearer(foreign))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="druid", error="invalid_token"'
    assert "udience" in answer.json()["errorMessage"]
    assert foreign not in answer.text


async def test_a_peon_of_druid_has_its_token_for_a_password_where_nobody_else_has_one(
    settings: OverlordSettings,
) -> None:
    async with replica(settings.model_copy(update={"authenticators": ("jwt",)})) as (_, client):
        client.headers.update(bearer(RUNNER_TOKEN))
        assert (await client.post(f"{V1}/task", json=noop("mine"))).status_code == 200
        taken = await FakeRunner(client, "r").take()
        path = f"{V1}/task/mine/status"
        assert (await client.get(path, headers=basic(TASK_USER, taken.token))).status_code == 200
        assert (await client.get(path, headers=basic("admin", taken.token))).status_code == 401
        assert (await client.get(path, headers=ADMIN)).status_code == 401
