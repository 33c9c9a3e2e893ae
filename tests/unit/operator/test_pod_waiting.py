"""A pod that does not start says why, within seconds, in the words of whoever holds it up."""

from typing import Any

import pytest

from overlord_operator.pod.cause import Cause
from overlord_operator.pod.events import with_events
from overlord_operator.pod.phase import (
    PodPhase,
    launch_deadline_ms,
    overdue,
    overdue_words,
    read_pod,
)
from tests.support.pods import CREATED_MS, NOW_MS, condition, raw_pod, running, terminated, unscheduled, waiting

JsonObject = dict[str, Any]

SCHEDULED = [condition("PodScheduled", "True", "")]


def stuck(reason: str, message: str) -> JsonObject:
    return raw_pod(phase="Pending", main=waiting(reason, message), conditions=SCHEDULED)


WAITS: list[tuple[str, JsonObject, Cause, str]] = [
    (
        "no node has so much memory",
        unscheduled(
            "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption "
            "victims found for incoming pod."
        ),
        Cause.INSUFFICIENT_RESOURCES,
        "The scheduler says: 0/3 nodes are available: 3 Insufficient memory.",
    ),
    (
        "every node is full of pods",
        unscheduled("0/1 nodes are available: 1 Too many pods."),
        Cause.INSUFFICIENT_RESOURCES,
        "Too many pods",
    ),
    (
        "no node has the label",
        unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        Cause.UNSCHEDULABLE,
        "see the nodeSelector",
    ),
    (
        "a taint on every node",
        unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: gpu}."),
        Cause.UNSCHEDULABLE,
        "untolerated taint {dedicated: gpu}",
    ),
    (
        "a claim that is not there",
        unscheduled('0/1 nodes are available: persistentvolumeclaim "data" not found.'),
        Cause.VOLUME_UNBOUND,
        'persistentvolumeclaim "data" not found',
    ),
    (
        "a claim without a volume",
        unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        Cause.VOLUME_UNBOUND,
        "unbound immediate",
    ),
    (
        "held back by a queue",
        unscheduled("Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated"),
        Cause.SCHEDULING_GATED,
        "until its queue admits it",
    ),
    (
        "no scheduler at all",
        raw_pod(phase="Pending", node=None),
        Cause.UNSCHEDULABLE,
        "No scheduler has looked at the pod",
    ),
    (
        "a tag that does not exist",
        stuck(
            "ErrImagePull",
            'rpc error: code = NotFound desc = failed to pull and unpack image "example.com/peon:9": failed to resolve '
            'reference "example.com/peon:9": example.com/peon:9: not found',
        ),
        Cause.IMAGE_NOT_FOUND,
        "correct its name or tag",
    ),
    (
        "a registry that wants a password",
        stuck(
            "ErrImagePull",
            'failed to pull and unpack image "example.com/peon:1": failed to authorize: failed to fetch anonymous '
            "token: unexpected status from GET request: 401 Unauthorized",
        ),
        Cause.IMAGE_DENIED,
        "imagePullSecrets",
    ),
    (
        "a registry that does not answer",
        stuck(
            "ErrImagePull", 'failed to do request: Head "https://example.com/v2/": dial tcp 192.0.2.1:443: i/o timeout'
        ),
        Cause.IMAGE_PULL,
        "i/o timeout",
    ),
    (
        "between two pulls, where nothing more is said",
        stuck("ImagePullBackOff", 'Back-off pulling image "example.com/peon:9"'),
        Cause.IMAGE_PULL,
        "tried again and again.",
    ),
    (
        "a name that no image can have",
        stuck("InvalidImageName", 'Failed to apply default image tag "UPPER//x": couldn\'t parse image name'),
        Cause.IMAGE_NAME,
        "correct it",
    ),
    (
        "an image that may not be pulled",
        stuck("ErrImageNeverPull", 'Container image "peon:1" is not present with pull policy of Never'),
        Cause.IMAGE_NEVER_PULLED,
        "its imagePullPolicy is Never",
    ),
    (
        "a Secret that is not there",
        stuck("CreateContainerConfigError", 'secret "landing-zone" not found'),
        Cause.MISSING_SECRET,
        'secret "landing-zone" not found',
    ),
    (
        "a Secret without the key",
        stuck("CreateContainerConfigError", "couldn't find key password in Secret tasks/landing-zone"),
        Cause.MISSING_SECRET,
        "lacks a key",
    ),
    (
        "a ConfigMap that is not there",
        stuck("CreateContainerConfigError", 'configmap "settings" not found'),
        Cause.MISSING_CONFIG_MAP,
        'configmap "settings" not found',
    ),
    (
        "an image whose user is root",
        stuck(
            "CreateContainerConfigError",
            'container has runAsNonRoot and image will run as root (pod: "x_tasks(uid)", container: main)',
        ),
        Cause.RUNS_AS_ROOT,
        "give it a numeric user",
    ),
    (
        "a pod that asks for root itself",
        stuck("CreateContainerConfigError", "container's runAsUser breaks non-root policy (container: main)"),
        Cause.RUNS_AS_ROOT,
        "breaks non-root policy",
    ),
    (
        "settings that make no container",
        stuck("CreateContainerConfigError", 'failed to prepare subPath for volumeMount "work" of container "main"'),
        Cause.CONTAINER_CONFIG,
        "subPath",
    ),
    (
        "a runtime that cannot make the container",
        stuck("CreateContainerError", 'failed to reserve container name "main_x": name is reserved'),
        Cause.CONTAINER_CREATE,
        "name is reserved",
    ),
    (
        "a command that cannot be started",
        stuck("RunContainerError", 'exec: "peon": executable file not found in $PATH: unknown'),
        Cause.CONTAINER_START,
        "executable file not found",
    ),
    (
        "a word of a later version",
        stuck("NewTrouble", "the moon is full"),
        Cause.CONTAINER_CREATE,
        "NewTrouble: the moon is full",
    ),
    (
        "a sidecar before it that ends again and again",
        raw_pod(
            phase="Pending",
            main=waiting("PodInitializing"),
            inits={"proxy": waiting("CrashLoopBackOff", "back-off 10s restarting failed container=proxy")},
            conditions=SCHEDULED,
        ),
        Cause.INIT_FAILED,
        "Container proxy, which the peon needs",
    ),
    (
        "an image of a container before it",
        raw_pod(
            phase="Pending",
            main=waiting("PodInitializing"),
            inits={"fetch": waiting("ImagePullBackOff", 'Back-off pulling image "f:1": ErrImagePull: f:1: not found')},
            conditions=SCHEDULED,
        ),
        Cause.IMAGE_NOT_FOUND,
        "of container fetch",
    ),
]


@pytest.mark.parametrize(("raw", "cause", "words"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS])
def test_pod_that_does_not_start_says_why(raw: JsonObject, cause: Cause, words: str) -> None:
    reading = read_pod(raw, CREATED_MS + 9_000)
    assert reading.phase is PodPhase.PENDING
    assert reading.cause is cause
    assert words in reading.message
    assert reading.message.endswith(".")
    assert "\n" not in reading.message


@pytest.mark.parametrize(
    "raw",
    [
        raw_pod(phase="Pending", node=None),  # the scheduler has it
        raw_pod(phase="Pending", conditions=SCHEDULED),  # the kubelet has it
        raw_pod(phase="Pending", main=waiting("ContainerCreating"), conditions=SCHEDULED),
    ],
)
def test_pod_that_just_starts_has_no_cause_and_is_looked_at_again(raw: JsonObject) -> None:
    reading = read_pod(raw, CREATED_MS + 2_000)
    assert (reading.phase, reading.cause) == (PodPhase.PENDING, None)
    assert reading.wakes_at_ms is not None
    assert reading.wakes_at_ms <= CREATED_MS + 10_000
    later = read_pod(raw, reading.wakes_at_ms)
    assert later.cause is not None or later.asks_events


def test_a_pod_is_called_slow_only_after_the_time_that_an_image_takes() -> None:
    raw = raw_pod(phase="Pending", main=waiting("ContainerCreating"), conditions=SCHEDULED)
    early = read_pod(raw, CREATED_MS + 4_000)
    silent = read_pod(raw, CREATED_MS + 9_000)
    slow = read_pod(raw, CREATED_MS + 32_000)
    assert [(each.cause, each.asks_events) for each in (early, silent, slow)] == [
        *((None, False), (None, True), (Cause.SLOW_START, True)),
    ]
    assert silent.message == early.message, "its status is not written anew for that"
    assert "its Events say more" in slow.message
    assert silent.wakes_at_ms == CREATED_MS + 31_000, "the kubelet has it for a second less than it exists"
    assert read_pod(raw, CREATED_MS + 32_000, slow_start_ms=60_000).cause is None
    assert slow.message == read_pod(raw, NOW_MS).message


def test_init_container_that_runs_is_named_and_is_no_cause() -> None:
    raw = raw_pod(phase="Pending", main=waiting("PodInitializing"), inits={"fetch": running()}, conditions=SCHEDULED)
    reading = read_pod(raw, NOW_MS)
    assert (reading.cause, reading.message) == (None, "Container fetch runs first on node node-1.")


def test_two_states_of_a_failing_pull_read_alike_so_that_status_does_not_flap() -> None:
    pull = 'failed to pull image "p:9": p:9: not found'
    error = f"rpc error: code = NotFound desc = {pull}"
    first = read_pod(stuck("ErrImagePull", error), NOW_MS)
    second = read_pod(stuck("ImagePullBackOff", f'Back-off pulling image "p:9": ErrImagePull: {error}'), NOW_MS)
    assert (first.cause, first.message) == (second.cause, second.message)


def test_sentence_of_a_wait_does_not_change_by_itself() -> None:
    for _, raw, *_ in WAITS:
        assert read_pod(raw, CREATED_MS + 9_000).message == read_pod(raw, NOW_MS).message


def test_running_pod_has_its_address() -> None:
    reading = read_pod(raw_pod(main=running()), NOW_MS)
    assert (reading.phase, reading.pod_ip, reading.node) == (PodPhase.RUNNING, "10.88.1.7", "node-1")
    assert reading.message == "The peon runs on node node-1."


def test_silence_of_the_node_is_seen_before_its_pods_are_given_up() -> None:
    reading = read_pod(raw_pod(main=running(), conditions=[condition("Ready", "False", "")]), NOW_MS)
    assert (reading.phase, reading.message) == (PodPhase.RUNNING, "The peon's node node-1 does not answer at present.")


def test_launch_is_overdue_at_its_timeout_and_keeps_the_cause() -> None:
    reading = read_pod(stuck("CreateContainerConfigError", 'secret "x" not found'), CREATED_MS + 9_000)
    assert not overdue(reading, 60_000, CREATED_MS + 59_999)
    assert overdue(reading, 60_000, CREATED_MS + 60_000)
    assert launch_deadline_ms(reading, 60_000) == CREATED_MS + 60_000
    cause, message = overdue_words(reading, 60_000)
    assert cause is Cause.MISSING_SECRET
    assert message.startswith("The pod did not start within 60 s (launchTimeoutSeconds). A Secret that the pod needs")


def test_launch_without_a_known_reason_has_a_cause_of_its_own() -> None:
    reading = read_pod(raw_pod(phase="Pending", node=None), CREATED_MS + 1_000)
    assert overdue_words(reading, 1_000)[0] is Cause.LAUNCH_TIMEOUT


def test_pod_that_has_started_is_never_overdue() -> None:
    for main in (running(), terminated(1)):
        assert not overdue(read_pod(raw_pod(main=main), NOW_MS), 1, NOW_MS)


def event(reason: str, message: str, last: str = "2026-01-31T10:00:05Z", kind: str = "Warning") -> JsonObject:
    return {"type": kind, "reason": reason, "message": message, "lastTimestamp": last}


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "k" : secret "keys" not found', Cause.MISSING_SECRET),
        ("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "c" not found', Cause.MISSING_CONFIG_MAP),
        ("FailedMount", "MountVolume.MountDevice failed: timed out waiting for the condition", Cause.VOLUME_MOUNT),
        ("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"', Cause.VOLUME_MOUNT),
        ("FailedCreatePodSandBox", "failed to set up sandbox: plugin type bridge failed", Cause.SANDBOX),
    ],
)
def test_events_tell_what_the_status_does_not(reason: str, message: str, cause: Cause) -> None:
    slow = read_pod(raw_pod(phase="Pending", main=waiting("ContainerCreating"), conditions=SCHEDULED), NOW_MS)
    told = with_events(slow, [event("Pulling", "Pulling image", kind="Normal"), event(reason, message)])
    assert told.cause is cause
    assert message in told.message


def test_newest_event_counts() -> None:
    slow = read_pod(raw_pod(phase="Pending", main=waiting("ContainerCreating"), conditions=SCHEDULED), NOW_MS)
    old = event("FailedMount", 'secret "keys" not found', "2026-01-31T10:00:02Z")
    new = event("FailedCreatePodSandBox", "no address left", "2026-01-31T10:00:09Z")
    assert with_events(slow, [new, old]).cause is Cause.SANDBOX
    assert with_events(slow, [old, new]).cause is Cause.SANDBOX


def test_events_change_nothing_where_the_status_speaks() -> None:
    reading = read_pod(stuck("CreateContainerConfigError", 'secret "x" not found'), NOW_MS)
    assert with_events(reading, [event("FailedMount", "anything")]) is reading
    slow = read_pod(raw_pod(phase="Pending", main=waiting("ContainerCreating"), conditions=SCHEDULED), NOW_MS)
    assert with_events(slow, [event("Pulled", "Pulled image", kind="Normal")]) is slow
