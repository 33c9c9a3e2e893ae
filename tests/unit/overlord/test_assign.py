"""Which runner a task gets."""

import pytest

from overlord.task.assign import Bounds, RunnerLoad, admit
from overlord.task.line import Place, SlotUse


@pytest.mark.parametrize(
    ("why", "loads", "wishes", "chosen"),
    [
        ("the least loaded first", [("a", 4, 2), ("b", 4, 1)], [None, None], ["b", "a"]),
        ("by share, not by number", [("a", 10, 2), ("b", 2, 1)], [None], ["a"]),
        ("until no slot is left", [("a", 1, 0)], [None, None], ["a", None]),
        ("a wish is kept", [("a", 4, 0), ("b", 4, 3)], ["b"], ["b"]),
        ("and waits rather than go elsewhere", [("a", 4, 0), ("b", 1, 1)], ["b"], [None]),
        ("without being in the way of others", [("a", 4, 0), ("b", 1, 0)], ["b", "b", None], ["b", None, "a"]),
        ("who is first takes the slot", [("a", 1, 0)], [None, "a"], ["a", None]),
        ("more used than there are slots is full", [("a", 1, 3)], [None], [None]),
        ("nobody there", [], [None, "a"], [None, None]),
    ],
)
def test_a_runner_for_each_in_line(
    why: str, loads: list[tuple[str, int, int]], wishes: list[str | None], chosen: list[str | None]
) -> None:
    line = [Place(f"task-{number}", 1, "noop", wish) for number, wish in enumerate(wishes)]
    runners = [RunnerLoad(*load) for load in loads]
    assert admit(line, runners, Bounds(100), SlotUse()) == chosen, why


@pytest.mark.parametrize(
    ("why", "types", "line", "chosen"),
    [
        ("who does not say runs everything", [None], [("compact", None)], ["runner-0"]),
        (
            "only who runs the type, however loaded",
            [{"noop"}, None],
            [("compact", None), ("compact", None)],
            ["runner-1"] * 2,
        ),
        ("nobody runs it", [{"noop"}, {"kill"}], [("compact", None), ("kill", None)], [None, "runner-1"]),
        ("a wish does not make a runner run it", [{"noop"}, None], [("compact", "runner-0")], [None]),
        ("none of any type", [set[str]()], [("noop", None)], [None]),
    ],
)
def test_a_task_goes_to_who_runs_its_type(
    why: str, types: list[set[str] | None], line: list[tuple[str, str | None]], chosen: list[str | None]
) -> None:
    places = [Place(f"task-{number}", 1, kind, wish) for number, (kind, wish) in enumerate(line)]
    runners = [
        RunnerLoad(f"runner-{number}", 2, 0, None if each is None else frozenset(each))
        for number, each in enumerate(types)
    ]
    assert admit(places, runners, Bounds(100), SlotUse()) == chosen, why
