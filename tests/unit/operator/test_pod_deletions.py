"""A pod that is deleted: what it died of before counts, and it runs on until its grace is over."""

import pytest

from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import PodPhase, read_pod
from tests.support.pods import CREATED_MS, NOW_MS, raw_pod, running, terminated, waiting


def test_death_before_the_deletion_is_the_death() -> None:
    raw = raw_pod(phase="Failed", main=terminated(1, finished="2026-01-31T10:04:00Z"), deleted="2026-01-31T10:09:00Z")
    assert read_pod(raw, NOW_MS).cause is Cause.EXIT_CODE


def test_init_container_that_failed_before_the_deletion_is_the_death() -> None:
    raw = raw_pod(
        phase="Failed",
        main=waiting("PodInitializing"),
        inits={"ready": terminated(0, "Completed"), "fetch": terminated(2)},
        deleted="2026-01-31T10:09:00Z",
    )
    assert read_pod(raw, NOW_MS).cause is Cause.INIT_FAILED


def test_pod_deleted_after_its_first_init_container_is_deleted() -> None:
    raw = raw_pod(
        phase="Failed",
        main=waiting("PodInitializing"),
        inits={"ready": terminated(0, "Completed"), "fetch": terminated(137, finished="2026-01-31T10:08:45Z")},
        deleted="2026-01-31T10:09:00Z",
    )
    reading = read_pod(raw, NOW_MS)
    assert (reading.cause, reading.message) == (Cause.DELETED, "The pod was deleted before its peon had started.")


def test_finished_pod_that_is_then_removed_stays_what_it_was() -> None:
    raw = raw_pod(
        phase="Succeeded",
        main=terminated(0, "Completed"),
        deleted="2026-01-31T10:05:00Z",
        grace_seconds=0,
    )
    assert read_pod(raw, NOW_MS).cause is Cause.COMPLETED


def test_deleted_pod_runs_on_until_its_grace_is_over_and_is_looked_at_again() -> None:
    raw = raw_pod(main=running(), deleted="2026-01-31T10:05:20Z")
    reading = read_pod(raw, CREATED_MS + 300_000)
    assert (reading.phase, reading.is_deleting) == (PodPhase.RUNNING, True)
    assert reading.wakes_at_ms is not None
    assert read_pod(raw, reading.wakes_at_ms).phase is PodPhase.ENDED


@pytest.mark.parametrize(
    ("exit_code", "finished", "cause"),
    [
        # the kubelet deletes once more when the containers have ended: without grace, and later than they ended
        (137, "2026-01-31T10:04:37Z", Cause.DELETED),
        (143, "2026-01-31T10:04:37Z", Cause.DELETED),
        # a signal of somebody else, long before the pod was removed
        (143, "2026-01-31T10:00:00Z", Cause.SIGNAL),
        # a failure of its own, right before
        (1, "2026-01-31T10:04:37Z", Cause.EXIT_CODE),
    ],
)
def test_deletion_of_which_only_its_end_is_seen_is_known_by_the_signal_before_it(
    exit_code: int, finished: str, cause: Cause
) -> None:
    main = terminated(exit_code, finished=finished)
    raw = raw_pod(phase="Failed", main=main, deleted="2026-01-31T10:04:42Z", grace_seconds=0)
    assert read_pod(raw, NOW_MS).cause is cause
