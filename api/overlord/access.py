"""
Who calls, and what he may do: resources, actions and permissions as Druid has them. Druid: Access, ResourceAction

The gate puts a Caller into every request that it lets in. Routes whose resource stands in the body, or that list many
of them, ask that Caller themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request
from starlette.types import Scope

from druid_core.wire import WireModel
from overlord.name_pattern import NamePattern
from overlord.problems import AccessDenied

_CALLER = "nemeton.caller"


class Action(StrEnum):
    """What is done to a resource. Druid: Action"""

    READ = "READ"  # GET
    WRITE = "WRITE"  # everything else


class ResourceType(StrEnum):
    """The kinds of resource that routes here ask for; roles may name others, for other services. Druid: ResourceType"""

    DATASOURCE = "DATASOURCE"  # by its name: tasks, segments, supervisors
    STATE = "STATE"  # leader, workers, locks, task actions
    CONFIG = "CONFIG"  # what is set while it runs, and who may do what
    EXTERNAL = "EXTERNAL"  # by the type of an input source: whence a task may read


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that a permission may be about. Druid: Resource"""

    type: ResourceType
    name: str


STATE = Resource(ResourceType.STATE, "STATE")
CONFIG = Resource(ResourceType.CONFIG, "CONFIG")
SECURITY = Resource(ResourceType.CONFIG, "security")
"""Users and roles. Druid: BasicSecurityResourceFilter"""


def data_source(name: str) -> Resource:
    return Resource(ResourceType.DATASOURCE, name)


def input_source(type_id: str) -> Resource:
    """Where a task reads from. Druid: druid.auth.enableInputSourceSecurity"""
    return Resource(ResourceType.EXTERNAL, type_id)


class RawResource(WireModel):
    """A resource as roles have it: the name is a regular expression."""

    name: str
    type: str


class RawPermission(WireModel):
    """A permission as it travels and is stored. Druid: ResourceAction"""

    resource: RawResource
    action: Action


@dataclass(frozen=True, slots=True)
class Permission:
    """The right to an action on all resources of a type whose whole name fits. Druid: BasicAuthorizerPermission"""

    type: str
    name: NamePattern
    action: Action

    def covers(self, action: Action, resource: Resource) -> bool:
        same = action is self.action and resource.type == self.type
        return same and self.name.fits(resource.name)


class CallerKind(StrEnum):
    """How somebody was recognised, and with it the bounds of what he may do."""

    ANYBODY = "ANYBODY"  # nobody asks who calls: all is allowed
    USER = "USER"  # has permissions, by his roles
    RUNNER = "RUNNER"  # holds the runners' secret: their protocol, and tasks of all datasources
    PEON = "PEON"  # holds the token of a running attempt: its task and that task's sub-tasks
    UNASKED = "UNASKED"  # calls what is open to everybody, and was not asked


@dataclass(frozen=True, slots=True)
class TaskScope:
    """What the holder of an attempt's token acts for."""

    task_id: str
    group_id: str
    data_source: str


def submitter_of(task_id: str) -> str:
    """The name under which a task hands in its sub-tasks."""
    return f"task {task_id}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request."""

    kind: CallerKind
    name: str
    """As audits show it. Druid: AuthenticationResult.getIdentity"""
    permissions: tuple[Permission, ...] = ()
    """Of a USER."""
    task: TaskScope | None = None
    """Of a PEON."""

    @property
    def may_all(self) -> bool:
        return self.kind is CallerKind.ANYBODY

    def may(self, action: Action, resource: Resource) -> bool:
        """Whether this is allowed. What a PEON may do hangs on the task and is not asked here."""
        match self.kind:
            case CallerKind.ANYBODY:
                return True
            case CallerKind.USER:
                return any(permission.covers(action, resource) for permission in self.permissions)
            case CallerKind.RUNNER:
                return resource.type in (ResourceType.DATASOURCE, ResourceType.EXTERNAL)
            case _:
                return False

    def require(self, action: Action, resource: Resource) -> None:
        """Raises AccessDenied unless it is allowed."""
        if not self.may(action, resource):
            raise AccessDenied(f"{self.name} has no {action} on {resource.type} [{resource.name}]")


ANYBODY = Caller(CallerKind.ANYBODY, "allowAll")
"""Druid: AllowAllAuthenticator"""
UNASKED = Caller(CallerKind.UNASKED, "unsecured")


def introduce(scope: Scope, caller: Caller) -> None:
    """Say who sent the request of this scope."""
    scope[_CALLER] = caller


def caller_of(request: Request) -> Caller:
    """Who sent `request`: every request that reaches a route was let in as somebody."""
    caller: Caller = request.scope[_CALLER]
    return caller


def visible_data_sources(caller: Caller, action: Action = Action.READ) -> Callable[[str], bool] | None:
    """Which datasources a list may show to `caller`; None: all. Each name is decided once."""
    if caller.may_all:
        return None
    known: dict[str, bool] = {}

    def may_see(name: str) -> bool:
        seen = known.get(name)
        if seen is None:
            seen = known[name] = caller.may(action, data_source(name))
        return seen

    return may_see


def permission_of(raw: RawPermission) -> Permission:
    """Raises InvalidInput where the name is no regular expression, or one that is not taken."""
    pattern = NamePattern(raw.resource.name, f"Permission on {raw.resource.type}")
    return Permission(raw.resource.type, pattern, raw.action)
