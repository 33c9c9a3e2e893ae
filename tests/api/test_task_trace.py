"""One trace from a submission to what it published, across the Overlord, its runner and the peon."""

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from httpx import AsyncClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from druid_core import tracing
from druid_core.runner import AttemptState
from overlord.app import create_app
from overlord.settings import OverlordSettings
from peon import run
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, status, submit
from tests.support.task_specs import index_parallel, noop

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Traces are on, and end up here once they are stopped."""
    exporter = InMemorySpanExporter()
    tracing.start("test", exporter)
    yield exporter
    tracing.stop()


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A peon takes over its process' signals, which are not for it to have here, and its log; that is ours again."""
    monkeypatch.setattr(run, "stop_on_signals", lambda stop: None)  # pyright: ignore[reportUnknownLambdaType]
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    words = {number: logging.getLevelName(number) for number in (logging.WARNING, logging.CRITICAL)}
    yield
    for number, word in words.items():
        logging.addLevelName(number, word)
    root.handlers, root.level = handlers, level


@contextmanager
def _served(settings: OverlordSettings) -> Generator[str]:
    """A replica on a port, in a thread: the peon blocks ours."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the replica did not start"
        thread.join(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def _named(spans: tuple[ReadableSpan, ...], name: str) -> ReadableSpan:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_one_trace_holds_submission_assignment_peon_and_publishing(
    settings: OverlordSettings,
    exporter: InMemorySpanExporter,
    as_it_was: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _served(settings) as url:
        async with AsyncClient(base_url=url, timeout=60) as client:
            runner = FakeRunner(client)
            await runner.announce()
            task_id = await submit(client, index_parallel("traced"), traceparent=CALLER)
            assignment = await runner.take()
            await runner.report(assignment, AttemptState.RUNNING)
            await runner.report(assignment, AttemptState.RUNNING)
            monkeypatch.setenv("NEMETON_TASK_TOKEN", assignment.token)
            task_dir = tmp_path / "task"
            task_dir.mkdir()
            arguments = [str(task_dir), "1", "--task-id", task_id, "--overlord", url, "--port", "0"]
            assert run.main([*arguments, "--deep-storage", (tmp_path / "segments").as_uri()]) == 0
            assert (await status(client, task_id))["statusCode"] == "SUCCESS"
    tracing.stop()
    spans = exporter.get_finished_spans()
    submitted, peon = _named(spans, "submit task"), _named(spans, "run task")
    (asked,) = [span for span in spans if span.name.startswith("ask for segmentTransactional")]
    performed = _named(spans, asked.name.replace("ask for", "perform"))
    waited = [_named(spans, name) for name in ("wait for locks", "wait for a slot", "assignment to peon")]
    assert {f"{_context(span).trace_id:032x}" for span in spans} == {CALLER.split("-")[1]}
    parents = [(peon, submitted), (asked, peon), (performed, asked), *((span, submitted) for span in waited)]
    for child, parent in parents:
        assert child.parent is not None
        assert child.parent.span_id == _context(parent).span_id, child.name
    assert (submitted.attributes or {})["task_id"] == task_id


async def test_without_tracing_a_task_is_stored_as_it_came(overlord: AsyncClient) -> None:
    await submit(overlord, noop("plain"), traceparent=CALLER)
    payload = (await overlord.get(f"{V1}/task/plain")).json()["payload"]
    assert tracing.TRACEPARENT not in payload["context"]


@pytest.mark.parametrize("parent", ["", "00-0-0-01", "\u2603", CALLER.replace("0af7", "XXXX"), CALLER[:36] + "0" * 16])
def test_what_is_no_traceparent_begins_a_trace_of_its_own(exporter: InMemorySpanExporter, parent: str) -> None:
    with tracing.span("begins", parent, may_begin=True) as traced, tracing.span("none", parent) as none:
        assert none.carried == {}
        assert traced.carried
    tracing.past_span("neither", parent, 1, 2)
    tracing.stop()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_an_error_is_named_in_a_trace_without_its_words(exporter: InMemorySpanExporter) -> None:
    def fail() -> None:
        with tracing.span("fails", CALLER):
            raise ValueError("canary")

    with pytest.raises(ValueError):
        fail()
    tracing.stop()
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "ValueError"
    assert "canary" not in span.to_json()
