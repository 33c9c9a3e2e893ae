"""
The gate: every call passes it before its body is read. Who calls is found, and whether the route is open to him.

What a route asks stands in `rules`. Where that hangs on a task or a supervisor, its datasources are looked up here.
"""

from collections.abc import Mapping
from typing import Any, assert_never, cast

import orjson
from starlette.types import Scope

from overlord.access import (
    CONFIG,
    STATE,
    UNASKED,
    Action,
    Caller,
    CallerKind,
    Resource,
    data_source,
    introduce,
    submitter_of,
)
from overlord.auth.authenticate import Authenticators
from overlord.auth.pace import Pace
from overlord.auth.rules import Asks, rule_of
from overlord.db.pool import Pool, connection
from overlord.problems import AccessDenied, NotSignedIn, TooManyRequests, UnknownThing


class Gate:
    """Lets calls in, or raises. One a replica."""

    def __init__(self, authenticators: Authenticators, pace: Pace | None) -> None:
        self._authenticators = authenticators
        self._pace = pace

    async def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """
        Put the caller of this call into its scope; `scope["path"]` is decoded.

        Raises NotSignedIn, AccessDenied, TooManyRequests, UnknownThing for a task or supervisor that is none, Forbidden
        for a void token, Unavailable.
        """
        method, path = scope["method"], scope["path"]
        client = scope.get("client")
        address: str = client[0] if client else ""
        rule, name = rule_of(method, path)
        if rule.need is Asks.NOTHING:
            introduce(scope, UNASKED)
            return
        state = scope["app"].state
        caller = await self._authenticators.caller(headers, address, state)
        introduce(scope, caller)
        self._keep_pace(caller, address)
        if caller.may_all:
            if rule.need is Asks.RUNNER and self._authenticators.runner_token is not None:
                raise NotSignedIn(
                    "Runners show their secret here: NEMETON_RUNNER_TOKEN", self._authenticators.challenges
                )
            return
        pool: Pool = state.pool
        actions = [Action.READ if method == "GET" else Action.WRITE, *([Action.READ] if rule.also_read else [])]
        match rule.need:
            case Resource() as resource:
                _require(caller, actions, [resource])
            case Asks.SIGNED_IN | Asks.ROUTE:
                pass
            case Asks.DATA_SOURCE:
                _require(caller, actions, [data_source(name)])
            case Asks.TASK:
                await _check_task(pool, caller, actions, name)
            case Asks.SUPERVISOR:
                _require(caller, actions, await _of_supervisor(pool, name))
            case Asks.RUNNER:
                if caller.kind is not CallerKind.RUNNER:
                    raise AccessDenied(f"{caller.name} is no runner")
            case Asks.PEON:
                if caller.kind is not CallerKind.PEON:
                    _require(caller, actions, [STATE])
            case Asks.TOKEN:
                if caller.kind is not CallerKind.PEON:
                    raise AccessDenied(f"{caller.name} is no peon: a task's own token is needed")
            case Asks.EVERYTHING:
                _require(caller, [Action.READ, Action.WRITE], [STATE, CONFIG])
            case _:
                assert_never(rule.need)

    def _keep_pace(self, caller: Caller, address: str) -> None:
        """Peons and runners carry the work: to slow them down would be to slow down every task."""
        if self._pace is None or caller.kind in (CallerKind.PEON, CallerKind.RUNNER):
            return
        who = address if caller.may_all else f"user {caller.name}"
        wait = self._pace.wait_seconds(who)
        if wait > 0:
            raise TooManyRequests(f"[{who}] sends more requests than rate_limit_per_second allows", wait)
        self._pace.take(who)


def _require(caller: Caller, actions: list[Action], resources: list[Resource]) -> None:
    for resource in resources:
        for action in actions:
            caller.require(action, resource)


async def _check_task(pool: Pool, caller: Caller, actions: list[Action], task_id: str) -> None:
    async with connection(pool) as tx:
        row = await tx.fetchrow(
            "SELECT task.datasource, task.group_id, first.submitter FROM druid_tasks AS task "
            "LEFT JOIN nemeton_attempts AS first ON first.task_id = task.id AND first.attempt = 1 WHERE task.id = $1",
            task_id,
        )
    if row is None:
        raise UnknownThing(f"Cannot find any task with id: [{task_id}]")
    if caller.task is None:
        _require(caller, actions, [data_source(row["datasource"])])
        return
    # A peon looks at the tasks of its group, and ends those that it handed in. Whoever submits a task may give it any
    # group, so only those of its own datasource count.
    own = caller.task
    watched = task_id == own.task_id or (row["group_id"], row["datasource"]) == (own.group_id, own.data_source)
    ended = row["submitter"] == submitter_of(own.task_id)
    if not (ended if Action.WRITE in actions else watched):
        raise AccessDenied(f"{caller.name} has nothing to do with task [{task_id}]")


async def _of_supervisor(pool: Pool, supervisor_id: str) -> list[Resource]:
    async with connection(pool) as tx:
        payload = await tx.fetchval(
            "SELECT payload FROM druid_supervisors WHERE spec_id = $1 ORDER BY id DESC LIMIT 1", supervisor_id
        )
    if payload is None:
        raise UnknownThing(f"Cannot find any supervisor with id: [{supervisor_id}]")
    names = data_sources_of(orjson.loads(payload))
    # whose datasources nobody can tell is for those who may do everything
    return [data_source(name) for name in names] or [STATE, CONFIG]


def data_sources_of(raw_spec: Any) -> list[str]:
    """The datasources of a stored supervisor, whatever its type. Druid: SupervisorSpec.getDataSources"""
    if not isinstance(raw_spec, Mapping):
        return []
    fields = cast("Mapping[str, Any]", raw_spec)
    listed = fields.get("dataSources")
    if isinstance(listed, list):
        return [str(each) for each in cast("list[Any]", listed)]
    for holder in (fields, fields.get("dataSchema"), fields.get("spec")):
        if isinstance(holder, Mapping) and isinstance(name := cast("Mapping[str, Any]", holder).get("dataSource"), str):
            return [name]
    inner = fields.get("spec")
    return data_sources_of(inner) if isinstance(inner, Mapping) else []
