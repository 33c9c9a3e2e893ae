"""The pod request of an attempt, from the Overlord's assignment, the object and the release's settings."""

from collections.abc import Mapping
from typing import Any

from druid_core.runner import Assignment
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.pod.request import PeonDefaults, PodRequest
from overlord_operator.pod.select import choose_template
from overlord_operator.settings import OperatorSettings


def peon_defaults(settings: OperatorSettings) -> PeonDefaults:
    """What the release gives to all peons."""
    return PeonDefaults(
        image=settings.peon_image,
        overlord_url=settings.peon_overlord or settings.overlord,
        deep_storage=settings.deep_storage,
        task_logs=settings.task_logs,
        image_pull_policy=settings.peon_image_pull_policy,
        image_pull_secrets=settings.peon_image_pull_secrets,
        service_account=settings.peon_service_account,
        resources=settings.peon_resources,
        env=tuple(settings.peon_env),
        env_from=tuple(settings.peon_env_from),
        fs_group=settings.peon_fs_group,
        volumes=tuple(settings.peon_volumes),
        volume_mounts=tuple(settings.peon_volume_mounts),
        node_selector=settings.peon_node_selector,
        tolerations=tuple(settings.peon_tolerations),
        labels=settings.peon_labels,
        annotations=settings.peon_annotations,
        overlord_namespace=settings.namespace,
        kueue_queue=settings.kueue_queue,
        name_prefix=settings.peon_name_prefix,
        release=settings.release,
        grace_seconds=settings.peon_grace_seconds,
        deadline_seconds=settings.peon_deadline_seconds,
        unreachable_seconds=settings.peon_unreachable_seconds,
        work_size=settings.peon_work_size,
    )


def pod_request(
    assignment: Assignment,
    task: DruidTask,
    defaults: PeonDefaults,
    settings: OperatorSettings,
    execution: Mapping[str, Any] | None,
    templates: Mapping[str, Mapping[str, Any]],
    oom_kills: int,
) -> PodRequest:
    """
    What `peon_pod` makes the pod from.

    Raises InvalidTask where the DruidTask names a template that does not exist.
    """
    spec = task.spec
    key, template = choose_template(
        execution, templates, assignment.type, assignment.data_source, assignment.context, spec.peon.template
    )
    factor = spec.retry.memory_factor
    return PodRequest(
        task_id=assignment.task_id,
        attempt=assignment.attempt,
        type=assignment.type,
        data_source=assignment.data_source,
        group_id=assignment.group_id,
        namespace=task.namespace,
        owner_name=task.name,
        owner_uid=task.uid,
        defaults=defaults,
        peon=spec.peon,
        context=assignment.context,
        template_key=key,
        template=template,
        oom_kills=oom_kills,
        memory_factor=settings.retry_memory_factor if factor is None else factor,
        memory_limit=spec.retry.memory_limit or settings.retry_memory_limit,
        deadline_seconds=spec.active_deadline_seconds,
        token=assignment.token,
    )
