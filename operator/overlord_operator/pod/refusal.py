"""
Why the API server did not let a pod in: its answer to the creation, read.

The texts are those of the admission plugins of Kubernetes 1.34 (ResourceQuota, LimitRanger, PodSecurity,
ServiceAccount, Priority, webhooks, NamespaceLifecycle) and of its validation.
"""

import re
from dataclasses import dataclass

from overlord_operator.pod.cause import Cause


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of refusal: the answer's text matches `pattern`, and `advice` says what to do."""

    pattern: re.Pattern[str]
    cause: Cause
    advice: str


def _rule(pattern: str, cause: Cause, advice: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), cause, advice)


# The first that matches counts: what is said more exactly stands higher.
_RULES = (
    _rule(
        r"exceeded quota:|failed quota:",
        Cause.QUOTA,
        "the namespace's quota is used up, so it waits until other pods have ended: ask for less under "
        "spec.peon.resources, or raise the ResourceQuota",
    ),
    _rule(
        r"violates PodSecurity",
        Cause.POD_SECURITY,
        "the namespace's Pod Security Standard forbids such a pod: take out of the template what it names",
    ),
    _rule(
        r"failed calling webhook|failed to call webhook|error when evaluating policy",
        Cause.WEBHOOK_FAILED,
        "an admission webhook does not answer, so it is tried again: see to that webhook's pods",
    ),
    _rule(
        r"admission webhook .* denied|denied the request|ValidatingAdmissionPolicy|denied by policy",
        Cause.ADMISSION_DENIED,
        "a policy of the cluster refuses it: change spec.peon or the template as it says",
    ),
    _rule(
        r"error looking up service account|serviceaccount \"[^\"]*\" not found",
        Cause.MISSING_SERVICE_ACCOUNT,
        "its ServiceAccount does not exist: create it, or name another under spec.peon.serviceAccountName",
    ),
    _rule(
        r"no PriorityClass with name",
        Cause.MISSING_PRIORITY_CLASS,
        "its PriorityClass does not exist: create it, or name another under spec.peon.priorityClassName",
    ),
    _rule(
        r"(maximum|minimum) (cpu|memory|ephemeral-storage|storage|[a-z0-9./-]+) (usage|limit)|"
        r"max limit to request ratio|limit to request ratio",
        Cause.LIMIT_RANGE,
        "the namespace's LimitRange forbids such resources: change spec.peon.resources",
    ),
    _rule(
        r"being terminated|namespaces? \"[^\"]*\" not found",
        Cause.NAMESPACE_GONE,
        "the namespace is gone or going: apply the task in another one",
    ),
    _rule(
        r"cannot (create|patch|update) resource|cannot set blockOwnerDeletion",
        Cause.NOT_PERMITTED,
        "the operator's own account may not do it: give its Role what the chart's Role has",
    ),
)

_TEXT_LIMIT = 600
"""Characters of the API server's own words that are shown: a validation can name hundreds of fields."""


def cause_of_refusal(status_code: int, message: str) -> tuple[Cause, str]:
    """
    The cause, and a sentence with the API server's own words and what to do.

    `status_code` is the answer's HTTP status, `message` the text of its Status object.
    """
    words = _shortened(message)
    for rule in _RULES:
        if rule.pattern.search(message):
            return rule.cause, f"The API server refused the pod ({words}): {rule.advice}"
    if status_code in (400, 413, 422):
        return (
            Cause.INVALID_POD,
            f"The API server found that this is no valid pod ({words}): correct spec.peon or the pod template",
        )
    again = "it is tried again until the launch timeout"
    return Cause.REFUSED, f"The API server refused the pod with status {status_code} ({words}): {again}"


def _shortened(message: str) -> str:
    flat = " ".join(message.split()) or "it gave no reason"
    return flat if len(flat) <= _TEXT_LIMIT else f"{flat[:_TEXT_LIMIT]}…"
