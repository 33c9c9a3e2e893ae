"""A client of the API server for tests: raw JSON in, raw JSON out, no library of Kubernetes between."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3

Raw = dict[str, Any]


class Refused(Exception):
    """The API server's own answer: `status` is HTTP's, `reason` and `message` are Kubernetes'."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Client:
    """One user's. Paths are the API's own, such as `/api/v1/namespaces/default/pods`."""

    def __init__(self, server: str, authority: Path, token: str) -> None:
        self.server = server
        self.token = token
        self._pool = urllib3.PoolManager(
            ca_certs=str(authority),
            maxsize=32,
            headers={"Authorization": f"Bearer {token}"},
            retries=False,
        )

    def get(self, path: str, **query: str) -> Raw:
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Raw | None:
        """None where there is none."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[Raw]:
        return self.get(path, **query)["items"]

    def create(self, path: str, body: Mapping[str, Any], **query: str) -> Raw:
        return self.request("POST", path, body, query=query)

    def replace(self, path: str, body: Mapping[str, Any]) -> Raw:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Raw:
        """A merge patch. End `path` in `/status` for a status."""
        return self.request("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, path: str, **query: str) -> Raw:
        return self.request("DELETE", path, query=query)

    def text(self, path: str, **query: str) -> str:
        """What is no JSON: a pod's log, `/readyz`, `/metrics`."""
        return self._answer("GET", path, None, query, "").decode(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_s: float = 60,
    ) -> Raw:
        """Raises Refused for everything that is no success, urllib3's HTTPError where nobody answers in time."""
        return orjson.loads(self._answer(method, path, body, query or {}, content_type, timeout_s))

    def close(self) -> None:
        self._pool.clear()

    def _answer(
        self, method: str, path: str, body: Any, query: Mapping[str, str], content_type: str, timeout_s: float = 60
    ) -> bytes:
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": content_type} if body is not None else {}
        answer = self._pool.request(
            method,
            url,
            body=None if body is None else orjson.dumps(body),
            headers={**self._pool.headers, **headers},
            timeout=timeout_s,
        )
        if answer.status >= 400:
            raise _refusal(answer.status, answer.data)
        return answer.data


def _refusal(status: int, data: bytes) -> Refused:
    try:
        raw = orjson.loads(data)
        return Refused(status, raw.get("reason", ""), raw.get("message", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return Refused(status, "", data.decode(errors="replace")[:500])
