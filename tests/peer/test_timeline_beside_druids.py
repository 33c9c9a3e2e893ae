"""
Druid's own timeline and ours are given the same segments: what is seen, what is seen with unfinished chunks, and what
is overshadowed, after every step. `--steps 100000` makes it long, `--seed` makes it other.
"""

import json
from collections import Counter
from typing import Any

import pytest

from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.timeline import chunks, overshadowed
from tests.peer.timeline_steps import episodes
from tests.support.druid.workshop import Workshop

STEPS, SEED = 3000, 1


def _holders(segments: list[DataSegment], interval: Interval, *, incomplete_ok: bool) -> list[dict[str, Any]]:
    return [
        {
            "interval": str(chunk.interval),
            "trueInterval": str(chunk.true_interval),
            "version": chunk.version,
            "segments": sorted(segment.id for segment in chunk.segments),
        }
        for chunk in chunks(segments, interval, incomplete_ok=incomplete_ok)
    ]


def _sorted(holders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [holder | {"segments": sorted(holder["segments"])} for holder in holders]


def test_after_every_step_the_same_is_seen_and_the_same_is_hidden(
    workshop: Workshop, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: int = request.config.getoption("--steps", default=None) or STEPS
    seed: int = request.config.getoption("--seed", default=None) or SEED
    counts = Counter[str]()
    for episode in episodes(seed, steps):
        judged = workshop.judge_timeline([step.to_wire() for step in episode])
        there: dict[str, DataSegment] = {}
        for number, (step, theirs) in enumerate(zip(episode, judged, strict=True)):
            for segment in step.segments:
                if step.adds:
                    there[segment.id] = segment
                else:
                    del there[segment.id]
            segments = list(there.values())
            story = "\n".join(json.dumps(each.to_wire()) for each in episode[: number + 1])
            seen = _holders(segments, step.interval, incomplete_ok=False)
            assert seen == _sorted(theirs["complete"]), story
            assert _holders(segments, step.interval, incomplete_ok=True) == _sorted(theirs["all"]), story
            hidden = sorted(segment.id for segment in overshadowed(segments))
            assert hidden == theirs["overshadowed"], story
            counts["steps"] += 1
            counts["chunks seen"] += len(seen)
            counts["segments overshadowed"] += len(hidden)
    with capsys.disabled():
        print(f"\ntimeline steps beside Druid's, seed {seed}: {dict(counts)}")
    assert counts["steps"] >= steps
    assert counts["chunks seen"] > steps
    assert counts["segments overshadowed"] > steps
