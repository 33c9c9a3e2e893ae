"""The pod of an attempt: what stands in it, who may change what, and what nobody may."""

import base64
import gzip
from dataclasses import replace
from typing import Any

from overlord_operator import names
from overlord_operator.druid_task.resource import PeonSpec
from overlord_operator.pod.request import PeonDefaults, PodRequest
from overlord_operator.pod.template import (
    PAYLOAD_LIMIT,
    more_memory_helps,
    payload_annotation,
    peon_pod,
    token_secret,
)

JsonObject = dict[str, Any]

TASK_ID = "noop_web_abcdefgh_2026-01-01T00:00:00.000Z"
POD = "noopwebabcdefgh20260101t000000-f59fdc2352a0146ce6e8588426bb2526"

DEFAULTS = PeonDefaults(
    image="nemeton-peon:1",
    overlord_url="http://overlord:8090",
    deep_storage="s3://bucket/segments",
    task_logs="s3://bucket/logs",
    service_account="peon",
    resources={"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    env=({"name": "AWS_REGION", "value": "eu-1"},),
    labels={"team": "platform"},
    overlord_namespace="druid",
    release="nemeton",
)
REQUEST = PodRequest(
    task_id=TASK_ID,
    attempt=1,
    type="noop",
    data_source="web",
    group_id="group-1",
    namespace="tasks",
    owner_name="my-noop",
    owner_uid="uid-1",
    defaults=DEFAULTS,
    token="t0ken",
)


def main_of(pod: JsonObject) -> JsonObject:
    return next(item for item in pod["spec"]["containers"] if item["name"] == "main")


def env_of(pod: JsonObject) -> JsonObject:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in main_of(pod)["env"]}


def with_template(template: JsonObject, **changes: Any) -> JsonObject:
    return peon_pod(replace(REQUEST, template=template, **changes))


def with_peon(**fields: Any) -> JsonObject:
    return peon_pod(replace(REQUEST, peon=PeonSpec(**fields)))


def test_pod_is_named_labelled_and_annotated_as_druids_own() -> None:
    metadata = peon_pod(REQUEST)["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (POD, "tasks")
    assert metadata["labels"] == {
        "druid.k8s.peons": "true",
        "druid.task.id": "noopwebabcdefgh20260101t000000000z",
        "druid.task.group.id": "group1",
        "druid.task.type": "noop",
        "druid.task.datasource": "web",
        "druid.overlord.namespace": "druid",
        "job-name": POD,
        "druid.nemeton.dev/attempt": "1",
        "druid.nemeton.dev/release": "nemeton",
        "team": "platform",
    }
    assert metadata["annotations"] == {
        "task.id": TASK_ID,
        "task.type": "noop",
        "task.group.id": "group-1",
        "task.datasource": "web",
        "task.jobTemplate": "base",
        "tls.enabled": "false",
        "druid.nemeton.dev/attempt": "1",
    }


def test_pod_belongs_to_its_object_and_stays_until_its_log_is_safe() -> None:
    metadata = peon_pod(REQUEST)["metadata"]
    assert metadata["finalizers"] == ["druid.nemeton.dev/log"]
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "druid.nemeton.dev/v1alpha1",
            "kind": "DruidTask",
            "name": "my-noop",
            "uid": "uid-1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_peon_is_told_its_task_and_nothing_else() -> None:
    assert env_of(peon_pod(REQUEST)) == {
        "AWS_REGION": "eu-1",
        "TASK_ID": TASK_ID,
        "TASK_DIR": "/work",
        "NEMETON_TASK_ID": TASK_ID,
        "NEMETON_ATTEMPT": "1",
        "NEMETON_OVERLORD": "http://overlord:8090",
        "NEMETON_DEEP_STORAGE": "s3://bucket/segments",
        "NEMETON_TASK_LOGS": "s3://bucket/logs",
        "NEMETON_PORT": "8100",
        "NEMETON_WORK_DIR": "/work",
        "NEMETON_TASK_TOKEN": {"secretKeyRef": {"name": POD, "key": "token"}},
        "NEMETON_HOST": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
    }


def test_token_is_in_a_secret_of_the_object_and_not_in_the_pod() -> None:
    secret = token_secret(REQUEST)
    assert secret["metadata"]["name"] == POD
    assert base64.b64decode(secret["data"]["token"]) == b"t0ken"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert "t0ken" not in str(peon_pod(REQUEST))
    assert "t0ken" not in repr(REQUEST)


def test_pod_passes_the_restricted_pod_security_standard() -> None:
    spec = peon_pod(REQUEST)["spec"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert main_of({"spec": spec})["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {next(kind for kind in volume if kind != "name") for volume in spec["volumes"]} == {"emptyDir"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


def test_volumes_are_writable_for_the_releases_group_unless_a_template_has_another() -> None:
    grouped = replace(REQUEST, defaults=replace(DEFAULTS, fs_group=65532))
    security = peon_pod(grouped)["spec"]["securityContext"]
    assert (security["fsGroup"], security["fsGroupChangePolicy"]) == (65532, "OnRootMismatch")
    assert security["runAsNonRoot"] is True
    own = {"spec": {"securityContext": {"fsGroup": 7}, "containers": [{"name": "main"}]}}
    assert peon_pod(replace(grouped, template=own))["spec"]["securityContext"]["fsGroup"] == 7


def test_pod_is_run_once_for_so_long_and_leaves_a_dead_node_soon() -> None:
    spec = peon_pod(REQUEST)["spec"]
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 14_400)
    assert spec["terminationGracePeriodSeconds"] == 30
    assert [(item["key"], item["tolerationSeconds"]) for item in spec["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 30),
        ("node.kubernetes.io/unreachable", 30),
    ]
    assert peon_pod(replace(REQUEST, deadline_seconds=60))["spec"]["activeDeadlineSeconds"] == 60


def test_second_attempt_has_a_name_of_its_own_and_the_same_job() -> None:
    metadata = peon_pod(replace(REQUEST, attempt=2))["metadata"]
    assert metadata["name"] == "noopwebabcdefgh20260101t0000-f59fdc2352a0146ce6e8588426bb2526-2"
    assert len(metadata["name"]) == 63
    assert metadata["labels"]["job-name"] == POD


def test_same_request_gives_the_same_pod_and_changes_nothing() -> None:
    template = {"template": {"spec": {"containers": [{"name": "druid", "env": [{"name": "A", "value": "1"}]}]}}}
    request = replace(REQUEST, template=template, payload=b"{}")
    assert peon_pod(request) == peon_pod(request)
    assert template["template"]["spec"]["containers"][0]["name"] == "druid"


def test_template_lies_over_the_release_and_the_object_over_the_template() -> None:
    template = {
        "metadata": {"labels": {"tier": "batch"}},
        "spec": {
            "priorityClassName": "batch",
            "nodeSelector": {"disk": "ssd"},
            "containers": [
                {
                    "name": "main",
                    "image": "other:1",
                    "env": [{"name": "AWS_REGION", "value": "us-1"}, {"name": "LEVEL", "value": "template"}],
                }
            ],
        },
    }
    peon = PeonSpec(
        image="mine:1",
        node_selector={"zone": "a"},
        priority_class_name="urgent",
        env=[{"name": "LEVEL", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    )
    pod = peon_pod(replace(REQUEST, template={"kind": "PodTemplate", "template": template}, peon=peon))
    assert main_of(pod)["image"] == "mine:1"
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "a"}
    assert pod["spec"]["priorityClassName"] == "urgent"
    assert pod["metadata"]["labels"]["tier"] == "batch"
    assert env_of(pod)["AWS_REGION"] == "us-1"
    assert env_of(pod)["LEVEL"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_template_adds_sidecars_and_its_first_container_is_the_peon() -> None:
    pod = with_template(
        {"spec": {"containers": [{"name": "druid", "image": "d:1"}, {"name": "proxy", "image": "p:1"}]}}
    )
    assert [(item["name"], item["image"]) for item in pod["spec"]["containers"]] == [("main", "d:1"), ("proxy", "p:1")]


def test_peon_stays_the_first_container() -> None:
    pod = with_template({"spec": {"containers": [{"name": "proxy", "image": "p:1"}, {"name": "main"}]}})
    assert [item["name"] for item in pod["spec"]["containers"]] == ["main", "proxy"]


def test_what_makes_it_this_attempts_pod_cannot_be_changed() -> None:
    template = {
        "metadata": {"name": "x", "labels": {"druid.k8s.peons": "no", "job-name": "x"}, "finalizers": []},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "main", "env": [{"name": "NEMETON_TASK_ID", "value": "another"}]}],
        },
    }
    peon = PeonSpec(
        labels={"druid.task.id": "x"},
        annotations={"task.id": "x"},
        env=[{"name": "NEMETON_TASK_TOKEN", "value": "stolen"}],
    )
    pod = peon_pod(replace(REQUEST, template=template, peon=peon))
    fair = peon_pod(REQUEST)
    assert pod["metadata"] == fair["metadata"]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert env_of(pod) == env_of(fair)


def test_volume_of_the_same_name_replaces_that_of_the_release() -> None:
    pod = with_peon(
        volumes=[{"name": "work", "ephemeral": {"volumeClaimTemplate": {}}}, {"name": "keys", "secret": {}}],
        volume_mounts=[{"name": "keys", "mountPath": "/keys", "readOnly": True}],
    )
    assert pod["spec"]["volumes"] == [
        {"name": "work", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "keys", "secret": {}},
    ]
    assert [item["mountPath"] for item in main_of(pod)["volumeMounts"]] == ["/work", "/tmp", "/keys"]


def test_toleration_of_the_same_taint_replaces_that_of_the_release() -> None:
    patient = {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 600,
    }
    gpu = {"key": "gpu", "operator": "Exists"}
    tolerations = with_peon(tolerations=[patient, gpu])["spec"]["tolerations"]
    assert [item.get("tolerationSeconds") for item in tolerations] == [600, 30, None]


def test_null_in_a_template_takes_away() -> None:
    pod = with_template({"spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": None}}}]}})
    assert main_of(pod)["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}}


def test_request_above_the_limit_of_the_release_raises_the_limit() -> None:
    pod = with_peon(resources={"requests": {"memory": "8Gi"}})
    assert main_of(pod)["resources"] == {
        "requests": {"cpu": "500m", "memory": "8Gi"},
        "limits": {"memory": "8Gi"},
    }


def test_limit_below_the_request_of_the_release_lowers_the_request() -> None:
    pod = with_peon(resources={"limits": {"memory": "512Mi"}})
    assert main_of(pod)["resources"]["requests"]["memory"] == "512Mi"


def test_memory_grows_after_each_end_for_want_of_it_up_to_the_cap() -> None:
    request = replace(REQUEST, memory_factor=1.5, memory_limit="4Gi")
    limits = [
        main_of(peon_pod(replace(request, oom_kills=kills)))["resources"]["limits"]["memory"] for kills in range(4)
    ]
    assert limits == ["2Gi", "3Gi", "4Gi", "4Gi"]
    assert main_of(peon_pod(replace(request, oom_kills=1)))["resources"]["requests"]["memory"] == "1536Mi"
    assert [more_memory_helps(replace(request, oom_kills=kills)) for kills in range(3)] == [True, True, False]


def test_without_a_memory_limit_another_attempt_would_end_the_same_way() -> None:
    assert not more_memory_helps(replace(REQUEST, defaults=replace(DEFAULTS, resources={})))


def test_queue_of_kueue_is_the_objects_else_the_releases() -> None:
    label = names.LABEL_KUEUE_QUEUE
    queued = replace(REQUEST, defaults=replace(DEFAULTS, kueue_queue="all"))
    assert label not in peon_pod(REQUEST)["metadata"]["labels"]
    assert peon_pod(queued)["metadata"]["labels"][label] == "all"
    assert peon_pod(replace(queued, kueue_queue="mine"))["metadata"]["labels"][label] == "mine"
    peon = PeonSpec(labels={label: "pods"})
    assert peon_pod(replace(queued, peon=peon))["metadata"]["labels"][label] == "pods"


STOCK = {"metadata": {"annotations": {"druid.nemeton.dev/peon": "druid"}}, "spec": {"containers": [{"image": "d:37"}]}}


def test_druids_own_peon_gets_its_payload_as_druid_gives_it() -> None:
    pod = with_template(STOCK, payload=b'{"type":"noop"}')
    annotation = pod["metadata"]["annotations"]["task"]
    assert gzip.decompress(base64.b64decode(annotation)) == b'{"type":"noop"}'
    env = env_of(pod)
    assert env["TASK_JSON"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['task']"}}
    assert (env["TASK_ID"], env["TASK_DIR"]) == (TASK_ID, "/work")
    assert [name for name in env if name.startswith("NEMETON_")] == ["NEMETON_TASK_TOKEN"], "to sign in with"


def test_payload_that_no_annotation_can_hold_goes_by_reference() -> None:
    noise = base64.b64encode(bytes((i * 7919 + i * i) % 251 for i in range(4 * PAYLOAD_LIMIT)))
    large = noise + str([i * 2_654_435_761 % 4_294_967_296 for i in range(60_000)]).encode()
    assert payload_annotation(large) is None
    pod = with_template(STOCK, payload=large)
    assert "task" not in pod["metadata"]["annotations"]
    assert "TASK_JSON" not in env_of(pod)


def test_our_own_peon_never_has_its_payload_in_the_pod() -> None:
    assert "task" not in peon_pod(replace(REQUEST, payload=b"{}"))["metadata"]["annotations"]
