"""What only the holder of an attempt's token may read: the payload of its own task, whole."""

from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from druid_core.errors import NotFound
from druid_core.input_policy import INPUT_POLICY_HEADER
from overlord.db.pool import connection
from overlord.problems import Forbidden
from overlord.replica import Replica, replica_of
from overlord.task import store
from overlord.task.store import StoredPayload
from overlord.task.token import attempt_token, task_of_token
from overlord.web import JSON, raw_json_answer

router = APIRouter(prefix="/nemeton/v1", tags=["Peons"])

CHUNK_BYTES = 8 << 20
"""A larger payload is read and sent in pieces of so many bytes: hundreds of peons may fetch theirs at once."""


@router.get(
    "/task/{task_id}/payload",
    summary="The whole payload of a peon's own task",
    responses={403: {"description": "No token, or one that is void or another task's."}},
)
async def get_own_payload(request: Request, task_id: str) -> Response:
    """With passwords, so only with the token of the running attempt."""
    token = attempt_token(request.headers.get("authorization"))
    if token is None:
        raise Forbidden("The payload is for the peon of the task alone: a token is needed")
    replica = replica_of(request)
    async with connection(replica.pool) as tx:
        owner = await task_of_token(tx, token)
        if owner.task_id != task_id:
            raise Forbidden(f"This token is for task [{owner.task_id}], not for [{task_id}]")
        stored = await store.payload(tx, task_id, CHUNK_BYTES)
    if stored is None:
        raise NotFound(f"Cannot find any task with id: [{task_id}]")
    policy = (INPUT_POLICY_HEADER.lower().encode(), replica.settings.input_policy.to_json())
    if len(stored.start) == stored.size:
        whole = raw_json_answer(stored.start)
        whole.raw_headers.append(policy)
        return whole
    answer = StreamingResponse(_pieces(replica, task_id, stored))
    answer.raw_headers = [(b"content-type", JSON.encode()), (b"content-length", str(stored.size).encode()), policy]
    return answer


async def _pieces(replica: Replica, task_id: str, stored: StoredPayload) -> AsyncIterator[bytes]:
    """A payload never changes, so its pieces are read one by one, and no connection is held between them."""
    yield stored.start
    for start in range(len(stored.start), stored.size, CHUNK_BYTES):
        async with connection(replica.pool) as tx:
            yield await store.payload_piece(tx, task_id, start, CHUNK_BYTES)
