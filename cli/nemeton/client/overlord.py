"""An Overlord as the client commands see it: Druid's own API, and every failure in words."""

import os
import re
import ssl
from typing import Any
from urllib.parse import quote, unquote

import orjson
import urllib3
from urllib3.util import parse_url

from druid_core.errors import InvalidInput, NemetonError, NotFound, Unavailable
from nemeton.client.sign_in import HOW, asked_of_a_person, authorization, basic
from nemeton.invocation import as_started

DEFAULT_URL = "http://127.0.0.1:8090"
API = "/druid/indexer/v1"


class Refused(NemetonError):
    """The Overlord understood and said no. The text is its own."""


class Overlord:
    """
    One Overlord, ours or Java Druid's. A URL may carry `user:password@`; else `sign_in` says who calls.

    NEMETON_CA_FILE names authorities, as PEM, that are trusted in place of the machine's.
    """

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for what is no URL of a server, and for a sign-in or an authority that is none."""
        try:
            parsed = parse_url(url if "://" in url else f"http://{url}")
        except urllib3.exceptions.HTTPError as error:
            raise InvalidInput(_no_url(url)) from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidInput(_no_url(url))
        self.url = f"{parsed.scheme}://{parsed.netloc}{(parsed.path or '').rstrip('/')}"
        if parsed.auth:
            user, _, password = parsed.auth.partition(":")
            self._authorization = basic(unquote(user), unquote(password))
        else:
            self._authorization = authorization(parsed.host)
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            retries=urllib3.Retry(connect=0, read=0, redirect=3),
            ca_certs=_authorities(),
        )

    def submit(self, payload: bytes) -> str:
        """The id of the accepted task. Raises Refused with the Overlord's message."""
        return str(self._json("POST", "/task", body=payload)["task"])

    def status(self, task_id: str) -> dict[str, Any]:
        """Druid: TaskStatusPlus. Raises NotFound for an unknown task."""
        return self._json("GET", f"/task/{quote(task_id, safe='')}/status")["status"]

    def report(self, task_id: str) -> dict[str, Any]:
        """
        The live report of a running task, the stored one of a finished. Raises NotFound where there is none (yet).
        """
        return self._json("GET", f"/task/{quote(task_id, safe='')}/reports")

    def log(self, task_id: str, offset: int = 0) -> bytes:
        """
        The log from `offset` on: bytes from its start, or, negative, the last so many. Raises NotFound where none is.
        """
        query = f"?offset={offset}" if offset else ""
        return self._ask("GET", f"/task/{quote(task_id, safe='')}/log{query}")

    def tasks(self, **filters: str | int | None) -> list[dict[str, Any]]:
        """Druid's list: finished ones first, the newest of them first."""
        fields = {name: value for name, value in filters.items() if value is not None}
        return self._json("GET", "/tasks", fields=fields)

    def shutdown(self, task_id: str) -> None:
        """Asks for the end of a task. Does nothing to a finished one. Raises NotFound for an unknown task."""
        self._json("POST", f"/task/{quote(task_id, safe='')}/shutdown", body=b"{}")

    def segments(self, task_id: str) -> list[str]:
        """Ids of the segments that a task published. Java Druid does not keep them: NotFound there."""
        return self._json("GET", f"/task/{quote(task_id, safe='')}/segments")

    def _json(self, method: str, path: str, body: bytes | None = None, fields: dict[str, Any] | None = None) -> Any:
        answer = self._ask(method, path, body, fields)
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise Unavailable(
                f"{self.url} answers {path} with something that is not JSON: is it an Overlord?"
            ) from error

    def _ask(self, method: str, path: str, body: bytes | None = None, fields: dict[str, Any] | None = None) -> bytes:
        return self.ask(method, f"{API}{path}", body, fields)

    def ask(self, method: str, path: str, body: bytes | None = None, fields: dict[str, Any] | None = None) -> bytes:
        """
        The answer to any call; `path` is the whole path, quoted.

        Raises NotFound, Refused with the Overlord's words, Unavailable.
        """
        answer = self._send(method, path, body, fields)
        if answer.status == 401 and self._authorization is None:
            self._authorization = asked_of_a_person(self.url)
            if self._authorization is None:
                raise Refused(f"{_message(answer.data) or 'the Overlord asks who you are'}: {HOW}")
            answer = self._send(method, path, body, fields)
        if answer.status == 404:
            raise NotFound(_message(answer.data) or f"{self.url} knows nothing at {path}: is it an Overlord?")
        if answer.status in (502, 503, 504):
            raise Unavailable(f"the Overlord at {self.url} is not ready (HTTP {answer.status})")
        if answer.status >= 400:
            raise Refused(
                _message(answer.data) or f"the Overlord answers HTTP {answer.status} {answer.reason or ''}".strip()
            )
        return answer.data

    def _send(
        self, method: str, path: str, body: bytes | None, fields: dict[str, Any] | None
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "*/*"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._pool.request(method, f"{self.url}{path}", body=body, fields=fields, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(self._why_unreachable(error)) from error

    def _why_unreachable(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(reason):
            return (
                f"the certificate of {self.url} is of nobody who is trusted here: name a PEM file of its authority in "
                "NEMETON_CA_FILE"
            )
        if isinstance(reason, urllib3.exceptions.NewConnectionError) and "refused" in str(reason):
            start = f"{as_started()} up"
            return f"nobody listens at {self.url}: start the Overlord with `{start}`, or name another with --overlord"
        if isinstance(reason, urllib3.exceptions.NameResolutionError):
            return f"no machine has the name in {self.url}: see --overlord"
        if isinstance(reason, urllib3.exceptions.NewConnectionError) and isinstance(reason.__cause__, OSError):
            return f"cannot reach {self.url}: {reason.__cause__.strerror or reason.__cause__}"
        if isinstance(reason, urllib3.exceptions.TimeoutError):
            return f"the Overlord at {self.url} does not answer in time"
        return f"cannot speak to {self.url}: {reason}"


def _authorities() -> str | None:
    """Raises InvalidInput for a file that has no certificate."""
    file = os.environ.get("NEMETON_CA_FILE")
    if not file:
        return None
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise InvalidInput(f"NEMETON_CA_FILE [{file}] cannot be used: {why}") from error
    return file


def _no_url(url: str) -> str:
    """What is wrong with it, without its password."""
    shown = re.sub(r"//[^/]*@", "//", url)
    return f"--overlord [{shown}] is no Overlord's address: expected a URL such as {DEFAULT_URL}"


def _message(answer: bytes) -> str:
    """What an error answer says: Druid's two JSON shapes, plain text, or an HTML page's first words."""
    try:
        raw = orjson.loads(answer)
    except orjson.JSONDecodeError:
        text = re.sub(r"<style.*?</style>|<[^>]+>", " ", answer.decode(errors="replace"), flags=re.DOTALL)
        return " ".join(text.split())[:400]
    if isinstance(raw, dict):
        # the third is Druid's, of whoever may not
        return str(raw.get("errorMessage") or raw.get("error") or raw.get("Access-Check-Result") or raw)
    return str(raw)
