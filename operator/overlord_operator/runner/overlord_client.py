"""The operator's line to the Overlord: the runner protocol, and the one door for tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import ValidationError

from druid_core.errors import CapacityExceeded, InvalidTask, Unavailable
from druid_core.runner import (
    RUNNER_HEADER,
    SUBMITTER_HEADER,
    AttemptReport,
    Explanation,
    RunnerAnnouncement,
    RunnerOrders,
)

_ANSWER_TIMEOUT_SECONDS = 30.0
_RUNNER = "/nemeton/v1/runner"
_TASK = "/druid/indexer/v1/task"


class OverlordClient:
    """
    Every method raises Unavailable where no usable answer comes.

    A refusal of the runner protocol counts as unavailable too: an Overlord that does not speak it may be replaced by
    one that does.
    """

    def __init__(self, url: str, runner_token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if runner_token is not None:
            self._headers["Authorization"] = f"Bearer {runner_token}"
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def announce(self, announcement: RunnerAnnouncement, attempts: Sequence[Mapping[str, Any]]) -> RunnerOrders:
        """`attempts`: wire forms of AttemptRef, apart because there may be thousands, made once."""
        return _orders(await self._post(f"{_RUNNER}/announce", _with_attempts(announcement, attempts)))

    async def next_orders(
        self, announcement: RunnerAnnouncement, attempts: Sequence[Mapping[str, Any]], wait_seconds: int
    ) -> RunnerOrders:
        """Answers when there is news, after `wait_seconds` at the latest."""
        body = _with_attempts(announcement, attempts)
        path = f"{_RUNNER}/assignments?wait={wait_seconds}"
        return _orders(await self._post(path, body, timeout_seconds=wait_seconds + _ANSWER_TIMEOUT_SECONDS))

    async def report(self, reports: Sequence[AttemptReport]) -> None:
        await self._post(f"{_RUNNER}/report", orjson.dumps([report.to_wire() for report in reports]))

    async def explain(self, task_ids: Iterable[str]) -> dict[str, Explanation]:
        """Why tasks stand where they stand; ids that the Overlord does not know are absent."""
        answer = await self._post(f"{_RUNNER}/explain", orjson.dumps(list(task_ids)))
        try:
            return {task_id: Explanation.model_validate(raw) for task_id, raw in answer.items()}
        except (ValidationError, AttributeError) as error:
            raise Unavailable(f"The Overlord's explanations make no sense: {error}") from error

    async def submit(self, raw_task: Mapping[str, Any], submitter: str, runner_id: str) -> str:
        """
        Hand in a task; its id. The same one of the same submitter again is the same task: twice is once.

        Raises InvalidTask with the Overlord's message where it refuses the task for good, CapacityExceeded where it has
        no room for it now.
        """
        headers = {SUBMITTER_HEADER: submitter, RUNNER_HEADER: runner_id}
        status, answer = await self._call("POST", _TASK, orjson.dumps(raw_task), headers)
        if status == 200 and isinstance(answer, dict) and isinstance(answer.get("task"), str):
            return answer["task"]
        message = _message(answer, f"status {status}")
        if status == 429:
            raise CapacityExceeded(message)
        if status in (400, 409, 413, 415, 422):
            raise InvalidTask(message)
        raise Unavailable(f"The Overlord at {self._url} answered {status} to a task: {message}")

    async def payload(self, task_id: str, token: str) -> bytes:
        """The task's JSON, whole; `token` is that of an attempt which is not over."""
        path = f"/nemeton/v1/task/{quote(task_id, safe='')}/payload"
        status, text = await self._exchange("GET", path, None, {"Authorization": f"Bearer {token}"})
        if status != 200:
            message = _message(_json(text), "no reason given")
            raise Unavailable(f"The Overlord at {self._url} answered {status} to the question for a payload: {message}")
        return text

    async def shut_down(self, task_id: str) -> None:
        """Ask that a task end. One that is finished, or unknown, stays as it is. Calling twice is calling once."""
        status, answer = await self._call("POST", f"{_TASK}/{quote(task_id, safe='')}/shutdown", b"{}")
        if status not in (200, 404):
            raise Unavailable(
                f"The Overlord at {self._url} answered {status} to a shutdown: {_message(answer, 'no reason given')}"
            )

    async def _post(self, path: str, body: bytes, timeout_seconds: float = _ANSWER_TIMEOUT_SECONDS) -> Any:
        status, answer = await self._call("POST", path, body, timeout_seconds=timeout_seconds)
        if status != 200:
            raise Unavailable(f"The Overlord at {self._url} answered {status}: {_message(answer, 'no reason given')}")
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = _ANSWER_TIMEOUT_SECONDS,
    ) -> tuple[int, Any]:
        status, text = await self._exchange(method, path, body, headers, timeout_seconds)
        return status, _json(text)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = _ANSWER_TIMEOUT_SECONDS,
    ) -> tuple[int, bytes]:
        if self._http is None:
            # Another machine's proxy has no place between a runner and its Overlord.
            self._http = aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(limit=64))
        try:
            async with self._http.request(
                method,
                self._url + path,
                data=body,
                headers={**self._headers, **(headers or {})},
                timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=5),
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"The Overlord at {self._url} does not answer: {error or type(error).__name__}"
            ) from error


def _with_attempts(announcement: RunnerAnnouncement, attempts: Sequence[Mapping[str, Any]]) -> bytes:
    return orjson.dumps({**announcement.to_wire(), "attempts": list(attempts)})


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {"error": text[:300].decode(errors="replace")}


def _message(answer: Any, otherwise: str) -> str:
    """Druid's two shapes of an error, the text of either."""
    if isinstance(answer, dict):
        text = answer.get("errorMessage") or answer.get("error")
        if text:
            return str(text)
    return otherwise


def _orders(raw_orders: Any) -> RunnerOrders:
    try:
        return RunnerOrders.model_validate(raw_orders)
    except ValidationError as error:
        raise Unavailable(f"The Overlord's orders make no sense: {error}") from error
