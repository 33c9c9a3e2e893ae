"""What the API server answers when it does not let a pod in, and what a person is told of it."""

import pytest

from overlord_operator.pod.cause import Cause
from overlord_operator.pod.refusal import cause_of_refusal

REFUSALS = [
    (
        403,
        (
            'pods "x" is forbidden: exceeded quota: compute, requested: limits.memory=2Gi, used: limits.memory=8Gi, '
            "limited: limits.memory=8Gi"
        ),
        Cause.QUOTA,
        "raise the ResourceQuota",
    ),
    (403, 'pods "x" is forbidden: failed quota: compute: must specify limits.cpu for: main', Cause.QUOTA, "limits.cpu"),
    (
        403,
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
        Cause.POD_SECURITY,
        "allowPrivilegeEscalation",
    ),
    (
        403,
        'admission webhook "policy.example.com" denied the request: image is not signed',
        Cause.ADMISSION_DENIED,
        "image is not signed",
    ),
    (
        422,
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'team' denied request: no team label",
        Cause.ADMISSION_DENIED,
        "no team label",
    ),
    (
        500,
        'Internal error occurred: failed calling webhook "w.example.com": connect: connection refused',
        Cause.WEBHOOK_FAILED,
        "does not answer",
    ),
    (
        403,
        'pods "x" is forbidden: error looking up service account tasks/peon: serviceaccount "peon" not found',
        Cause.MISSING_SERVICE_ACCOUNT,
        "spec.peon.serviceAccountName",
    ),
    (
        403,
        'pods "x" is forbidden: no PriorityClass with name urgent was found',
        Cause.MISSING_PRIORITY_CLASS,
        "spec.peon.priorityClassName",
    ),
    (
        403,
        'pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
        Cause.LIMIT_RANGE,
        "LimitRange",
    ),
    (
        403,
        'pods "x" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m]',
        Cause.LIMIT_RANGE,
        "minimum cpu",
    ),
    (
        403,
        'pods "x" is forbidden: unable to create new content in namespace tasks because it is being terminated',
        Cause.NAMESPACE_GONE,
        "in another one",
    ),
    (404, 'namespaces "tasks" not found', Cause.NAMESPACE_GONE, "gone or going"),
    (
        403,
        'pods is forbidden: User "system:serviceaccount:d:operator" cannot create resource "pods" in API group ""',
        Cause.NOT_PERMITTED,
        "the chart's Role",
    ),
    (
        403,
        (
            'pods "x" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource '
            "you can't set finalizers on"
        ),
        Cause.NOT_PERMITTED,
        "Role",
    ),
    (
        422,
        (
            'Pod "x" is invalid: spec.containers[0].resources.requests: Invalid value: "4Gi": must be less than '
            "or equal to memory limit of 2Gi"
        ),
        Cause.INVALID_POD,
        "correct spec.peon",
    ),
    (400, 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal', Cause.INVALID_POD, "unmarshal"),
    (413, "Request entity too large: limit is 3145728", Cause.INVALID_POD, "too large"),
    (418, "I am a teapot", Cause.REFUSED, "status 418 (I am a teapot)"),
]


@pytest.mark.parametrize(("status_code", "message", "cause", "words"), REFUSALS)
def test_refusal_has_its_name_and_says_what_to_do(status_code: int, message: str, cause: Cause, words: str) -> None:
    found, sentence = cause_of_refusal(status_code, message)
    assert found is cause
    assert words in sentence


def test_hundreds_of_wrong_fields_do_not_fill_the_status() -> None:
    _, sentence = cause_of_refusal(422, "spec: Invalid value\n" * 500)
    assert len(sentence) < 1000
    assert "\n" not in sentence


def test_refusal_without_words_is_a_sentence_still() -> None:
    assert "it gave no reason" in cause_of_refusal(422, "")[1]
