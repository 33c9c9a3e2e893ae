"""What a pod costs over a bare one, and how soon a peon reads: medians of a few, printed."""

import statistics

import pytest

from tests.bench.node import bare_pod_seconds, first_rows_seconds, ingest, noop_seconds
from tests.support.installed import Installation

ROUNDS = 5
WORST_RATIO = 1.5
LATEST_ROWS_S = 1.5


@pytest.mark.timeout(600)
def test_noop_takes_half_as_long_again_as_a_bare_pod_at_most(installed: Installation) -> None:
    bare: list[float] = []
    noop: list[float] = []
    noop_seconds(installed)  # the first finds cold files
    for number in range(ROUNDS):  # in turn, so that what else the machine does falls on both
        bare.append(bare_pod_seconds(installed, number))
        noop.append(noop_seconds(installed)[0])
    ratio = statistics.median(noop) / statistics.median(bare)
    print(
        f"bare pod {statistics.median(bare):.2f} s of {[round(took, 2) for took in bare]}, "
        f"noop {statistics.median(noop):.2f} s of {[round(took, 2) for took in noop]}, ratio {ratio:.2f}"
    )
    assert ratio <= WORST_RATIO


@pytest.mark.timeout(600)
def test_peon_reads_its_first_rows_within_a_second_and_a_half_of_its_containers_start(installed: Installation) -> None:
    seconds = [first_rows_seconds(installed, ingest(installed)[0]) for _ in range(ROUNDS)]
    print(f"first rows {statistics.median(seconds):.2f} s of {seconds}")
    # The best, for all cores are needed: whatever else the machine does makes it slower. The benchmark has the median.
    assert min(seconds) <= LATEST_ROWS_S
