"""
How Apache Druid's own peon gets its task: in the pod, or, where it is too large for that, in log storage.

Our own peon fetches its payload by itself, with its token; Druid's knows neither. Druid: K8sTaskAdapter,
TaskPayloadManager
"""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

from druid_core.errors import InvalidTask
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord_operator.pod.request import PodRequest
from overlord_operator.pod.template import PAYLOAD_LIMIT, payload_annotation
from overlord_operator.runner.overlord_client import OverlordClient

_CLOUDS = ("s3", "gs", "az")
"""Log storage of which Druid's peon can read a payload; that in a folder cannot. Druid: FileTaskLogs"""


async def with_payload(request: PodRequest, overlord: OverlordClient, logs: TaskLogs | None) -> PodRequest:
    """
    The same request, its payload on the way: as it is for our own peons, with it for Druid's where a pod can hold it,
    without it where `logs` hold it now, under the name at which Druid's peon looks. Twice is once.

    Raises InvalidTask where there is no way to hand it over, StorageError, and Unavailable.
    """
    if not request.is_stock:
        return request
    payload = await overlord.payload(request.task_id, request.token)
    if await asyncio.to_thread(payload_annotation, payload) is not None:
        return replace(request, payload=payload)
    kept_in = urlsplit(request.defaults.task_logs or "").scheme
    if logs is None or kept_in not in _CLOUDS:
        where = f"[{request.defaults.task_logs}]" if request.defaults.task_logs else "nowhere"
        raise InvalidTask(
            f"The task's payload of {len(payload)} bytes is longer than {PAYLOAD_LIMIT} characters as gzip in base64, "
            "the limit of what a pod can hand to Apache Druid's own peon. A longer one goes through log storage in "
            f"S3, Google Cloud Storage or Azure, and here logs are kept {where}: make the task smaller, or give it a "
            "pod template with Nemeton's peon"
        )
    await asyncio.to_thread(logs.push, request.task_id, TaskLogName.PAYLOAD, payload)
    return request
