"""
In a Coordinator's place for Java peons: where a segment lies, which is all that they ask one without broadcast
datasources and lookups. Druid: MetadataResource.getSegment
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import asyncpg


@asynccontextmanager
async def segment_directory(database_url: str, asked: list[str]) -> AsyncGenerator[str]:
    """Its `host:port` until the block ends; `asked` gets the method and path of every call."""
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = request.split(" ", 2)
        path = unquote(urlsplit(target).path)
        asked.append(f"{method} {path}")
        payload = await pool.fetchval(
            "SELECT payload FROM druid_segments WHERE id = $1 AND $2 = "
            "'GET /druid/coordinator/v1/metadata/datasources/' || datasource || '/segments/' || id",
            path.rpartition("/")[2],
            asked[-1],
        )
        head = "404 Not Found" if payload is None else "200 OK\r\nContent-Type: application/json"
        body = payload or b""
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()
        await pool.close()
