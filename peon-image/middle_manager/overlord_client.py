"""The Overlord's runner protocol, over HTTP."""

import ssl
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
from pydantic import ValidationError

from druid_core.errors import Unavailable
from druid_core.runner import AttemptReport, RunnerAnnouncement, RunnerOrders

_ANSWER_TIMEOUT_SECONDS = 15.0


class OverlordClient:
    """
    One runner's line to the Overlord. Every method raises Unavailable where no usable answer comes.

    A refusal counts as unavailable too: an Overlord that does not speak this protocol may be replaced by one that does.
    """

    def __init__(self, url: str, runner_token: str | None = None) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if runner_token is not None:
            self._headers["Authorization"] = f"Bearer {runner_token}"
        # Another machine's proxy has no place between a runner and its Overlord.
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=_ANSWER_TIMEOUT_SECONDS,
            trust_env=False,
            # with the machine's own authorities, and those of SSL_CERT_FILE
            verify=ssl.create_default_context(),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def announce(self, announcement: RunnerAnnouncement) -> RunnerOrders:
        return _orders(await self._post("/announce", announcement.to_json()))

    async def next_orders(self, announcement: RunnerAnnouncement, wait_seconds: int) -> RunnerOrders:
        """Answers when there is news, after `wait_seconds` at the latest."""
        return _orders(
            await self._post(
                f"/assignments?wait={wait_seconds}",
                announcement.to_json(),
                timeout_seconds=wait_seconds + _ANSWER_TIMEOUT_SECONDS,
            )
        )

    async def report(self, reports: Sequence[AttemptReport]) -> None:
        await self._post("/report", orjson.dumps([report.to_wire() for report in reports]))

    async def _post(self, path: str, body: bytes, timeout_seconds: float = _ANSWER_TIMEOUT_SECONDS) -> Any:
        try:
            response = await self._http.post(
                f"/nemeton/v1/runner{path}",
                content=body,
                headers=self._headers,
                timeout=timeout_seconds,
            )
            response.raise_for_status()
            return orjson.loads(response.content)
        except httpx.HTTPStatusError as error:
            raise Unavailable(
                f"The Overlord at {self._url} answered {error.response.status_code}: {error.response.text[:300]}"
            ) from error
        except (httpx.HTTPError, orjson.JSONDecodeError) as error:
            raise Unavailable(
                f"The Overlord at {self._url} does not answer: {error or type(error).__name__}"
            ) from error


def _orders(raw_orders: Any) -> RunnerOrders:
    try:
        return RunnerOrders.model_validate(raw_orders)
    except ValidationError as error:
        raise Unavailable(f"The Overlord's orders make no sense: {error}") from error
