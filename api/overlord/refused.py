"""Routes of Druid's Overlord that this one answers with a refusal in words, because what is behind them is not here."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from overlord.problems import Unsupported
from overlord.web import empty_answer, is_json, text_answer

router = APIRouter()


@router.post("/druid/indexer/v1/sampler", tags=["Tasks"], summary="Look at the first rows of an input: refused")
async def sample(request: Request) -> Response:
    """An Overlord that reads inputs would need the rights, the memory and the network of its peons."""
    if not is_json(request):
        return empty_answer(415)
    raise Unsupported(
        "This Overlord reads no input, so it cannot sample one: submit a task over a small part of the input instead"
    )


@router.get(
    "/druid-internal/v1/httpRemoteTaskRunner/{view}",
    tags=["Workers"],
    summary="The inside of a runner that is not here",
)
async def look_into_http_runner(view: str) -> Response:
    """Druid's words where another runner is configured."""
    return text_answer("HttpRemoteTaskRunner is NULL.", 403)
