"""
The operator by numbers: tasks to pods, what each costs, a restart among ten thousand, a takeover.

One story, told once: many tasks are applied and get their pods, whose peons run; the operator is killed and starts
anew; another replica takes over; the peons end. Then a smaller crowd comes whose peons end as soon as they may, and
another one in the midst of which the operator is killed.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.pod_players import Players, TooSlow
from tests.bench.pod_stage import Operator, Spent, Stage
from tests.bench.results import Line, Target

MIB = 1024 * 1024
SETTLE_S = 10.0
STEADY_S = 2.0
"""An operator that had nothing to do for so long is steady."""

TARGETS = {
    "DruidTask to pod, all": Target(200),
    "DruidTask to pod": Target(50, at_least=True),
    "writes a task, to its pod": Target(6),
    "writes a task, to its end": Target(6),
    "operator, peak RSS": Target(400),
    "operator at rest, RSS": Target(120),
    "restart among all, steady": Target(30),
    "takeover": Target(15),
    "pods doubled by kill -9": Target(0),
    "tasks lost by kill -9": Target(0),
}


@dataclass(frozen=True, slots=True)
class PodPlan:
    """How many, and how long anything may take. `crowd` is the size of the smaller crowds."""

    tasks: int
    crowd: int
    limit_s: float


class _Story:
    """What is under way, and what was found so far."""

    def __init__(
        self, plan: PodPlan, stage: Stage, players: Players, lines: list[Line], say: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.stage = stage
        self.players = players
        self._lines = lines
        self._say = say
        self._writes: Counter[tuple[str, str]] = Counter()
        self._spent = stage.spent()
        self._at = time.monotonic()

    def say(self, text: str) -> None:
        self._say(text)

    def note(self, name: str, unit: str, *values: float) -> None:
        self._say(f"  {name}: {', '.join(f'{value:.4g}' for value in values)} {unit}")
        self._lines.append(Line(name, unit, ours=values, target=TARGETS.get(name)))

    def mark(self) -> None:
        """What is spent and written from here on is counted by `cost`."""
        self._writes = self.stage.writes() - self.players.own_writes
        self._spent = self.stage.spent()
        self._at = time.monotonic()

    def writes(self) -> Counter[tuple[str, str]]:
        """The operator's since the mark: all but the players', Leases and what the control plane writes for itself."""
        resources = ("druidtasks", "pods", "secrets", "events")
        now = self.stage.writes() - self.players.own_writes - self._writes
        return Counter({key: count for key, count in now.items() if key[1].partition("/")[0] in resources})

    def cost(self, what: str, tasks: int) -> None:
        """Note CPU a task since the mark."""
        spent = self.stage.spent().since(self._spent)
        self._say(f"    CPU in {time.monotonic() - self._at:.0f} s: {_words(spent)}")
        for name, seconds in (
            ("operator", spent.operator),
            ("Overlord", spent.overlord),
            ("PostgreSQL", spent.postgres),
            ("API server and etcd", spent.api_server + spent.etcd),
        ):
            self.note(f"{what}: CPU a task, {name}", "ms", 1000 * seconds / tasks)

    def written(self, name: str, tasks: int) -> None:
        """
        Note writes a task since the mark.

        Events stand apart, for these have a budget by the second, and so do removals of finished pods: they come a
        minute later, and may be of pods of an earlier part of the story.
        """
        writes = self.writes()
        for (verb, resource), count in sorted(writes.items()):
            self._say(f"    {verb} {resource}: {count}")
        events = writes.pop(("POST", "events"), 0)
        writes.pop(("DELETE", "pods"), 0)
        self.note(name, "writes", writes.total() / tasks)
        self.note(f"{name}, Events", "writes", events / tasks)


def measure_pods(plan: PodPlan, folder: Path, lines: list[Line], say: Callable[[str], None]) -> None:
    """Takes every measure; the lines get what was found. Raises TooSlow where something takes longer than it may."""
    say(f"pods: {plan.tasks:,} tasks, then twice {plan.crowd:,}")
    # a dozen processes on two cores: as servers are often run, without a switch at every wake-up. Inherited by all.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with Stage(folder, capacity=plan.tasks + 2 * plan.crowd) as stage:
        asyncio.run(_tell(plan, stage, lines, say))


async def _tell(plan: PodPlan, stage: Stage, lines: list[Line], say: Callable[[str], None]) -> None:
    async with Players(stage, say) as players:
        story = _Story(plan, stage, players, lines, say)
        operator = stage.operator("operator-0")
        await _leads(story, operator)
        await asyncio.sleep(SETTLE_S)
        story.note("operator at rest, RSS", "MiB", operator.rss_bytes / MIB)
        await _tasks_to_pods(story)
        await _restart(story, operator)
        await _takeover(story, operator)
        await _ends(story)
        await _short_lives(story)
        await _killed_in_the_midst(story)
        story.note("operator, peak RSS", "MiB", max(each.peak_bytes() for each in stage.operators) / MIB)
        story.note("Overlord, peak RSS", "MiB", stage.overlord_peak_bytes() / MIB)


async def _tasks_to_pods(story: _Story) -> None:
    """
    All at once. Their peons start when the last pod is there, and do not end: nodes are other machines, which would
    take the two cores of this one from those that are measured.
    """
    plan, players, world = story.plan, story.players, story.players.world
    story.say("tasks to pods")
    wanted = [f"many-{number:05d}" for number in range(plan.tasks)]
    story.mark()
    began = time.monotonic()
    applying = asyncio.create_task(players.apply(wanted))
    try:
        await players.wait("pods", lambda: len(world.pods), plan.tasks, plan.limit_s, (applying,))
        await applying
    except BaseException:
        applying.cancel()
        raise
    made = sorted(pod.made_at - began for pod in world.pods.values())
    story.note("DruidTask to pod, all", "s", made[-1])
    story.note("DruidTask to pod", "tasks/s", plan.tasks / made[-1])
    story.note("DruidTask to pod, half of them", "s", made[len(made) // 2])
    story.cost("to its pod", plan.tasks)
    story.written("writes a task, to its pod", plan.tasks)
    began = time.monotonic()
    await players.run_as_made(plan.tasks, plan.limit_s)
    await players.wait("tasks shown RUNNING", lambda: world.count("RUNNING"), plan.tasks, plan.limit_s)
    story.note("pod to RUNNING shown, all", "s", time.monotonic() - began)
    story.cost("to RUNNING", plan.tasks)
    story.written("writes a task, to RUNNING", plan.tasks)


async def _restart(story: _Story, operator: Operator) -> None:
    """kill -9 of the only replica, and a new start of it, with everything there."""
    story.say("restart among all")
    operator.kill()
    story.mark()
    calls, seconds = await _until_steady(story, operator, started=False)
    story.note("restart among all, steady", "s", seconds)
    story.note("restart among all, calls", "calls", calls)
    story.note("restart among all, writes", "writes", sum(story.writes().values()))


async def _takeover(story: _Story, leader: Operator) -> None:
    """kill -9 of the leader while another replica follows."""
    story.say("takeover")
    follower = story.stage.operator("operator-1")
    await _reaches(story, follower, "tasks", len(story.players.world.states))
    await asyncio.sleep(5.0)
    leader.kill()
    began = time.monotonic()
    await _reaches(story, follower, "leader", 1)
    story.note("takeover", "s", time.monotonic() - began)
    await _until_steady(story, follower, started=True)
    story.note("takeover, steady", "s", time.monotonic() - began - STEADY_S)


async def _ends(story: _Story) -> None:
    """All peons say SUCCESS and end, as fast as they are played."""
    story.say("ends")
    players, world = story.players, story.players.world
    count = story.plan.tasks
    story.mark()
    began = time.monotonic()
    await players.succeed(list(world.pods.values()))
    story.note("ends played", "s", time.monotonic() - began)
    await players.wait("tasks shown SUCCESS", lambda: world.count("SUCCESS"), count, story.plan.limit_s)
    await players.wait("pods let go", lambda: world.released, count, story.plan.limit_s)
    story.note("last word to SUCCESS shown and pod let go, all", "s", time.monotonic() - began)
    story.cost("to SUCCESS", count)
    story.written("writes a task, from RUNNING to its end", count)


async def _short_lives(story: _Story) -> None:
    """Fewer tasks, whose peons start at once and end right after: what a short task costs from apply to its end."""
    story.say("short lives")
    await _nothing_to_do(story)
    story.mark()
    began = time.monotonic()
    await _crowd(story, "short", lambda: None)
    story.note("apply to SUCCESS shown, everything at once", "tasks/s", story.plan.crowd / (time.monotonic() - began))
    await _nothing_to_do(story)
    story.written("writes a task, to its end", story.plan.crowd)
    story.cost("from apply to its end", story.plan.crowd)


async def _killed_in_the_midst(story: _Story) -> None:
    """As before; the operator is killed when half of the pods are made."""
    story.say("killed in the midst")
    leader = story.stage.operators[-1]

    def kill() -> None:
        leader.kill()
        leader.start()

    await _crowd(story, "killed", kill)
    world = story.players.world
    story.note("pods doubled by kill -9", "pods", world.doubled)
    lost = sum(state != "SUCCESS" for name, state in world.states.items() if name.startswith("killed-"))
    story.note("tasks lost by kill -9", "tasks", lost)


async def _crowd(story: _Story, prefix: str, at_half: Callable[[], None]) -> None:
    plan, players, world = story.plan, story.players, story.players.world
    before, succeeded = len(world.pods), world.count("SUCCESS")
    wanted = [f"{prefix}-{number:05d}" for number in range(plan.crowd)]
    running = asyncio.create_task(players.run_as_made(plan.crowd, plan.limit_s))
    applying = asyncio.create_task(players.apply(wanted))
    try:
        await players.wait("pods", lambda: len(world.pods) - before, plan.crowd // 2, plan.limit_s, (applying, running))
        at_half()
        await players.wait("pods", lambda: len(world.pods) - before, plan.crowd, plan.limit_s, (applying, running))
        await asyncio.gather(applying, running)
    except BaseException:
        applying.cancel()
        running.cancel()
        raise
    await players.succeed([pod for pod in world.pods.values() if pod.task_id.startswith(prefix)])
    await players.wait("tasks shown SUCCESS", lambda: world.count("SUCCESS") - succeeded, plan.crowd, plan.limit_s)
    await players.wait("pods let go", lambda: world.released, len(world.pods), plan.limit_s)


async def _leads(story: _Story, operator: Operator) -> None:
    await _reaches(story, operator, "leader", 1)


async def _reaches(story: _Story, operator: Operator, metric: str, wanted: float) -> None:
    await _poll(story, lambda: operator.metrics().get(metric, 0) >= wanted, f"{metric} of an operator is {wanted:g}")


async def _until_steady(story: _Story, operator: Operator, *, started: bool) -> tuple[float, float]:
    """
    Until it leads, has looked at every task and has had nothing to do for STEADY_S; its calls, and the seconds until
    that began.
    """
    began = time.monotonic()
    if not started:
        operator.start()
    count = len(story.players.world.states)
    quiet_since: float | None = None
    calls = 0.0
    while quiet_since is None or time.monotonic() - quiet_since < STEADY_S:
        if time.monotonic() - began > story.plan.limit_s:
            raise TooSlow(f"the operator is not steady after {story.plan.limit_s:.0f} s")
        await asyncio.sleep(0.25)
        found = await asyncio.to_thread(operator.metrics)
        has_looked = found.get("leader") == 1 and found.get("reconciles_total", 0) >= count
        is_idle = has_looked and found["queue_length"] == 0 and found["storage_work"] == 0
        if not is_idle:
            quiet_since = None
        elif quiet_since is None:
            quiet_since, calls = time.monotonic(), found["api_calls_total"]
    return calls, quiet_since - began


async def _nothing_to_do(story: _Story) -> None:
    leader = story.stage.operators[-1]
    await _poll(story, lambda: leader.metrics().get("queue_length", 1) == 0, "the operator's queue is empty")
    await asyncio.sleep(STEADY_S)


async def _poll(story: _Story, holds: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    while not await asyncio.to_thread(holds):
        if time.monotonic() - began > story.plan.limit_s:
            raise TooSlow(f"{what}: not within {story.plan.limit_s:.0f} s")
        await asyncio.sleep(0.1)


def _words(spent: Spent) -> str:
    parts: Sequence[tuple[str, float]] = (
        ("operator", spent.operator),
        ("Overlord", spent.overlord),
        ("PostgreSQL", spent.postgres),
        ("API server", spent.api_server),
        ("etcd", spent.etcd),
    )
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts)
