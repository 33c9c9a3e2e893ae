"""
What each route asks of its caller: one table, read from top to bottom, the first that fits counts.

A path that no rule names is for whoever may do everything: a new route is closed until it has its rule. Druid:
DatasourceResourceFilter, TaskResourceFilter, SupervisorResourceFilter, StateResourceFilter, ConfigResourceFilter
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from overlord.access import CONFIG, SECURITY, STATE, Resource


class Asks(Enum):
    """What a route asks, where it is not one and the same resource for all calls."""

    NOTHING = auto()  # open: who calls is not even looked at
    SIGNED_IN = auto()  # whoever is known
    DATA_SOURCE = auto()  # the datasource that the path names
    TASK = auto()  # the datasource of the task that the path names
    SUPERVISOR = auto()  # all datasources of the supervisor that the path names
    ROUTE = auto()  # the route decides: the body names the resource, or a list is filtered
    RUNNER = auto()  # the runners' secret
    PEON = auto()  # the token of an attempt, and the route sees to its bounds; of all others STATE, as in Druid
    TOKEN = auto()  # the route reads the token of an attempt itself
    EVERYTHING = auto()  # all of Druid's rights together


Need = Resource | Asks

ANY_METHOD = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Of the calls of a method whose whole path fits."""

    method: str
    path: re.Pattern[str]
    need: Need
    also_read: bool = False
    """Besides what the method means, the right to read."""


def _rule(method: str, path: str, need: Need, *, also_read: bool = False) -> Rule:
    """`{name}` in `path` is one segment, and what the rule is about; `*` is whatever follows."""
    pattern = re.escape(path).replace(r"\{name\}", "(?P<name>[^/]+)").replace(r"\{\}", "[^/]+").replace(r"\*", ".*")
    return Rule(method, re.compile(pattern, re.DOTALL), need, also_read=also_read)


_V1 = "/druid/indexer/v1"

RULES: Sequence[Rule] = (
    # open: probes, and Druid's own list of what is not secured
    _rule("GET", "/status/health", Asks.NOTHING),
    _rule("GET", "/status/ready", Asks.NOTHING),
    _rule("GET", f"{_V1}/isLeader", Asks.NOTHING),
    # tasks
    _rule("POST", f"{_V1}/task", Asks.ROUTE),
    _rule(ANY_METHOD, f"{_V1}/task/{{name}}", Asks.TASK),
    _rule(ANY_METHOD, f"{_V1}/task/{{name}}/{{}}", Asks.TASK),
    _rule("GET", f"{_V1}/tasks", Asks.ROUTE),
    _rule("GET", f"{_V1}/waitingTasks", Asks.ROUTE),
    _rule("GET", f"{_V1}/pendingTasks", Asks.ROUTE),
    _rule("GET", f"{_V1}/runningTasks", Asks.ROUTE),
    _rule("GET", f"{_V1}/completeTasks", Asks.ROUTE),
    _rule("POST", f"{_V1}/taskStatus", Asks.PEON),
    _rule("POST", f"{_V1}/action", Asks.PEON),
    _rule("POST", f"{_V1}/lockedIntervals/v2", STATE),
    _rule("POST", f"{_V1}/lockedIntervals", STATE),
    _rule("POST", f"{_V1}/activeLocks", STATE),
    # segments
    _rule("DELETE", f"{_V1}/pendingSegments/{{name}}", Asks.DATA_SOURCE, also_read=True),
    _rule(ANY_METHOD, f"{_V1}/datasources/{{name}}", Asks.DATA_SOURCE),
    _rule(ANY_METHOD, f"{_V1}/datasources/{{name}}/*", Asks.DATA_SOURCE),
    # workers
    _rule("GET", f"{_V1}/leader", STATE),
    _rule("GET", f"{_V1}/workers", STATE),
    _rule("GET", f"{_V1}/scaling", STATE),
    _rule("POST", f"{_V1}/worker/{{}}/enable", STATE),
    _rule("POST", f"{_V1}/worker/{{}}/disable", STATE),
    _rule(ANY_METHOD, f"{_V1}/worker", CONFIG),
    _rule("GET", f"{_V1}/worker/history", CONFIG),
    _rule("GET", f"{_V1}/totalWorkerCapacity", CONFIG),
    _rule(ANY_METHOD, f"{_V1}/k8s/taskrunner/executionconfig", CONFIG),
    _rule("GET", f"{_V1}/k8s/taskrunner/executionconfig/history", CONFIG),
    # supervisors and compaction
    _rule("GET", f"{_V1}/supervisor", Asks.ROUTE),
    _rule("POST", f"{_V1}/supervisor", Asks.ROUTE),
    _rule("GET", f"{_V1}/supervisor/history", Asks.ROUTE),
    _rule("GET", f"{_V1}/supervisor/{{}}/history", Asks.ROUTE),
    _rule("POST", f"{_V1}/supervisor/suspendAll", Asks.ROUTE),
    _rule("POST", f"{_V1}/supervisor/resumeAll", Asks.ROUTE),
    _rule("POST", f"{_V1}/supervisor/terminateAll", Asks.ROUTE),
    _rule(ANY_METHOD, f"{_V1}/supervisor/{{name}}/*", Asks.SUPERVISOR),
    _rule("GET", f"{_V1}/supervisor/{{name}}", Asks.SUPERVISOR),
    _rule("POST", f"{_V1}/sampler", STATE),
    _rule("GET", f"{_V1}/compaction/isSupervisorEnabled", CONFIG),
    _rule(ANY_METHOD, f"{_V1}/compaction/config/cluster", CONFIG),
    _rule("POST", f"{_V1}/compaction/simulate", CONFIG),
    _rule("GET", f"{_V1}/compaction/config/datasources", Asks.ROUTE),
    _rule("GET", f"{_V1}/compaction/status/datasources", Asks.ROUTE),
    _rule(ANY_METHOD, f"{_V1}/compaction/config/datasources/{{name}}", Asks.DATA_SOURCE),
    _rule("GET", f"{_V1}/compaction/config/datasources/{{name}}/history", Asks.DATA_SOURCE),
    _rule("GET", f"{_V1}/compaction/status/datasources/{{name}}", Asks.DATA_SOURCE),
    # the node
    _rule("GET", "/status/properties", CONFIG),
    _rule("GET", "/status", STATE),
    _rule("GET", "/status/*", STATE),
    _rule("GET", "/metrics", STATE),
    _rule("GET", "/druid-internal/*", STATE),
    _rule("GET", "/", Asks.SIGNED_IN),
    _rule("GET", "/docs", Asks.SIGNED_IN),
    _rule("GET", "/openapi.json", Asks.SIGNED_IN),
    # users and roles
    _rule(ANY_METHOD, "/druid-ext/basic-security/*", SECURITY),
    # ours
    _rule(ANY_METHOD, "/nemeton/v1/queue/config", CONFIG),
    _rule(ANY_METHOD, "/nemeton/v1/queue/config/*", CONFIG),
    _rule("POST", "/nemeton/v1/runner/*", Asks.RUNNER),
    _rule("GET", "/nemeton/v1/task/{}/payload", Asks.TOKEN),
)

_CLOSED = Rule(ANY_METHOD, re.compile(""), Asks.EVERYTHING)


def rule_of(method: str, path: str) -> tuple[Rule, str]:
    """The rule for a call, and what its `{name}` stands for."""
    for rule in RULES:
        if rule.method in (ANY_METHOD, method) and (found := rule.path.fullmatch(path)) is not None:
            return rule, found.groupdict().get("name") or ""
    return _CLOSED, ""


def is_open(method: str, path: str) -> bool:
    """Whether anybody may call this, known or not."""
    return rule_of(method, path)[0].need is Asks.NOTHING
