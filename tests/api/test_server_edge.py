"""The server at its edge, over real sockets: TLS, heads without an end, bodies that hang, callers in haste."""

import asyncio
import ssl
from pathlib import Path

import pytest
from httpx import AsyncClient

from overlord.settings import OverlordSettings
from tests.api.test_overlord_process import ready, serving  # pyright: ignore[reportPrivateUsage]
from tests.support.certificates import write_certificate
from tests.support.overlord_calls import V1, replica
from tests.support.ports import free_port


async def test_a_server_speaks_tls_and_takes_a_renewed_certificate(database_url: str, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    tls = {"NEMETON_TLS_CERTIFICATE": str(certificate), "NEMETON_TLS_KEY": str(key)}
    async with serving(database_url, port, **tls):
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with AsyncClient(base_url=f"https://localhost:{port}", verify=trusting) as client:
            await ready(client)
            assert (await client.get(f"{V1}/leader")).text == f"https://127.0.0.1:{port}"
        write_certificate(tmp_path)
        renewed = ssl.create_default_context(cafile=str(certificate))
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("localhost", port, ssl=renewed)
                    writer.close()
                    return
                except ssl.SSLError:
                    await asyncio.sleep(0.5)


@pytest.mark.parametrize("piece", [b"X-Long: " + b"x" * 200_000, b"".join(b"X-%d: y\r\n" % n for n in range(20_000))])
async def test_a_head_without_an_end_is_431_and_the_line_is_cut(database_url: str, piece: bytes) -> None:
    port = free_port()
    async with serving(database_url, port), AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await ready(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /status/health HTTP/1.1\r\nHost: x\r\n" + piece)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert (await client.get("/status/health", headers={"X-Long": "x" * 30_000})).status_code == 200


async def test_a_body_that_hangs_is_408(database_url: str) -> None:
    port = free_port()
    hurry = {"NEMETON_BODY_PATIENCE_SECONDS": "0.3"}
    async with serving(database_url, port, **hurry), AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await ready(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {V1}/task HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{{"
        writer.write(head.encode())
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")


async def test_who_comes_too_often_is_told_when_to_come_again(settings: OverlordSettings) -> None:
    slow = settings.model_copy(update={"rate_limit_per_second": 0.5, "rate_limit_burst": 3})
    async with replica(slow) as (_, client):
        answers = [await client.get(f"{V1}/tasks") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 2
        assert answers[3].json()["category"] == "CAPACITY_EXCEEDED"
        assert (await client.get("/status/health")).status_code == 200, "probes are never too many"


async def test_a_header_does_not_say_where_a_call_comes_from(database_url: str) -> None:
    port = free_port()
    elsewhere = {"NEMETON_TRUSTED_NETWORKS": "10.0.0.0/8"}
    async with serving(database_url, port, **elsewhere), AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await ready(client)
        for claimed in ({}, {"X-Forwarded-For": "10.1.2.3"}, {"Forwarded": "for=10.1.2.3"}, {"X-Real-IP": "10.1.2.3"}):
            answer = await client.get(f"{V1}/tasks", headers=claimed)
            assert answer.status_code == 401, claimed
            assert "[127.0.0.1] is in none of the trusted networks" in answer.json()["errorMessage"]
