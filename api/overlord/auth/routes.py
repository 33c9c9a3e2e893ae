"""What only the holder of an attempt's token may read: the payload of its own task, whole."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from druid_core.errors import NotFound
from overlord.db.pool import connection
from overlord.problems import Forbidden
from overlord.replica import replica_of
from overlord.task import store
from overlord.task.token import bearer, task_of_token
from overlord.web import raw_json_answer

router = APIRouter(prefix="/nemeton/v1", tags=["Peons"])


@router.get(
    "/task/{task_id}/payload",
    summary="The whole payload of a peon's own task",
    responses={403: {"description": "No token, or one that is void or another task's."}},
)
async def get_own_payload(request: Request, task_id: str) -> Response:
    """With passwords, so only with `Authorization: Bearer` and the token of the running attempt."""
    token = bearer(request.headers.get("authorization"))
    if token is None:
        raise Forbidden("The payload is for the peon of the task alone: a token is needed")
    async with connection(replica_of(request).pool) as tx:
        owner = await task_of_token(tx, token)
        if owner.task_id != task_id:
            raise Forbidden(f"This token is for task [{owner.task_id}], not for [{task_id}]")
        stored = await store.get(tx, task_id)
    if stored is None:
        raise NotFound(f"Cannot find any task with id: [{task_id}]")
    return raw_json_answer(stored.payload)
