"""Houses that ask callers who they are, and callers who say it: by password, or by the token of an issuer made here."""

import base64
import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

_PASSWORD = "a password of the benchmark"
_AUDIENCE = "nemeton"
_TOKEN_S = 3600


@dataclass(frozen=True, slots=True)
class Guard:
    """How a house recognises callers, and what one sends who may do everything."""

    environment: Mapping[str, str]
    headers: Mapping[str, str]


def by_password() -> Guard:
    """The first administrator's."""
    credentials = base64.b64encode(f"admin:{_PASSWORD}".encode()).decode()
    return Guard(
        {"NEMETON_AUTHENTICATORS": "basic", "NEMETON_INITIAL_ADMIN_PASSWORD": _PASSWORD},
        {"Authorization": f"Basic {credentials}"},
    )


@contextmanager
def by_web_token() -> Generator[Guard]:
    """A token of a role that may do everything, signed with ES256; its issuer answers as long as the block lasts."""
    key = generate_private_key(SECP256R1())
    keys = {"keys": [ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "bench", "alg": "ES256"}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(keys if self.path == "/keys" else {"issuer": issuer, "jwks_uri": f"{issuer}/keys"})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    claims = {"iss": issuer, "aud": _AUDIENCE, "sub": "bench", "roles": ["admin"], "exp": time.time() + _TOKEN_S}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "bench"})
    try:
        yield Guard(
            {
                "NEMETON_AUTHENTICATORS": "jwt",
                "NEMETON_JWT_ISSUER": issuer,
                "NEMETON_JWT_AUDIENCE": _AUDIENCE,
            },
            {"Authorization": f"Bearer {token}"},
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
