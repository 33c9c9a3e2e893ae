"""
How pods are made, set while the Overlord runs: how many at most, and which template a task gets.

Druid: KubernetesTaskExecutionConfigResource, KubernetesTaskRunnerDynamicConfig
"""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.wire import WireModel, what_is_wrong
from overlord import configuration
from overlord.audit import author_of
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.replica import replica_of
from overlord.web import empty_answer, is_json, json_body, raw_json_answer

router = APIRouter(prefix="/druid/indexer/v1/k8s/taskrunner/executionconfig", tags=["Workers"])

CONFIG_KEY = "k8s.taskrunner.config"
"""In `druid_config` and `druid_audit`; the view `nemeton_slots` reads the capacity from there."""


class ByTaskType(WireModel):
    """The template that is named like the task's type. Druid: TaskTypePodTemplateSelectStrategy"""

    type: Literal["taskType"] = "taskType"


class Selector(WireModel):
    """A template and the tasks that get it: all conditions must hold, an absent one always does. Druid: Selector"""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=False)

    selection_key: str
    context_tags: dict[str, list[str]] | None = Field(default=None, alias="context.tags")
    type: list[str] | None = None
    data_source: list[str] | None = None


class BySelectors(WireModel):
    """The template of the first selector that fits. Druid: SelectorBasedPodTemplateSelectStrategy"""

    type: Literal["selectorBased"]
    selectors: list[Selector]


class ExecutionConfig(WireModel):
    """Druid: DefaultKubernetesTaskRunnerDynamicConfig"""

    type: Literal["default"] = "default"
    pod_template_select_strategy: Annotated[ByTaskType | BySelectors, Field(discriminator="type")] | None = None
    capacity: int | None = Field(default=None, ge=0, le=2_147_483_647, strict=True)
    """Pods at once; None: as many as the operator's own setting says."""

    def over(self, before: "ExecutionConfig") -> "ExecutionConfig":
        """This one, where it says something, and else what was set before."""
        return ExecutionConfig(
            pod_template_select_strategy=self.pod_template_select_strategy or before.pod_template_select_strategy,
            capacity=before.capacity if self.capacity is None else self.capacity,
        )


_CONFIG = TypeAdapter(ExecutionConfig)


async def stored(tx: Connection) -> dict[str, Any] | None:
    """The configuration as runners are given it; None where it was never set, or is no JSON object."""
    payload = await configuration.read(tx, CONFIG_KEY)
    try:
        config: Any = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return None
    return config if isinstance(config, dict) else None


@router.get("", summary="How pods are made; empty while it was never set")
async def get_config(request: Request) -> Response:
    async with connection(replica_of(request).pool) as tx:
        return raw_json_answer(await configuration.read(tx, CONFIG_KEY) or b"")


@router.post("", summary="Set how pods are made")
async def set_config(request: Request) -> Response:
    """What is null or absent stays as it was set before. Running pods are left alone."""
    if not is_json(request):
        return empty_answer(415)
    wanted = _parse(await json_body(request))
    replica = replica_of(request)
    async with transaction(replica.pool) as tx:
        # two who set it at once: the second merges into what the first set
        await configuration.lock(tx, CONFIG_KEY)
        config = wanted.over(_readable(await stored(tx)))
        await configuration.write(
            tx, CONFIG_KEY, orjson.dumps(config.to_wire()), author_of(request), replica.clock_ms()
        )
        await hints.send(tx, hints.QUEUE)
    return empty_answer(200)


@router.get("/history", summary="Changes of how pods are made, by time or by count")
async def config_history(request: Request) -> Response:
    """The newest `count`, newest first; or those of `interval`, by default the last week's, oldest first."""
    return await configuration.history_answer(request, CONFIG_KEY)


def _parse(raw: Any) -> ExecutionConfig:
    """Raises InvalidTask, whose answer has the shape of Druid's for what cannot be mapped."""
    try:
        return _CONFIG.validate_python(raw)
    except ValidationError as error:
        where, words = what_is_wrong(error, raw)
        raise InvalidTask(f"Cannot read {where or 'the body'} of the execution config: {words}") from error


def _readable(config: dict[str, Any] | None) -> ExecutionConfig:
    """What was stored, by whomever; where it cannot be read there is nothing to keep."""
    try:
        return _parse(config or {})
    except InvalidInput:
        return ExecutionConfig()
