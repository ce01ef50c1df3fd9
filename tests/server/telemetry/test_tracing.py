"""Traces: the caller's is taken up, a challenger's is linked, and off costs nothing."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.audit.records import PrimaryEvent, ShadowEvent
from glassbox.errors import DependencyMissing, InvalidSetting
from glassbox.server.access.guards import Guards
from glassbox.server.telemetry.tracing import NO_TRACE, Tracing, open_tracing, trace_id_of
from glassbox.settings.sections import TelemetrySettings
from glassbox.testing.fake import FakeEngine
from glassbox.wire.openai_completions import CompletionAsked
from tests.rollout.alerts.worlds import listening
from tests.server.worlds import http_client, openai_client, serve

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from glassbox.server.telemetry.spans import MOST_REMEMBERED, Spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@contextmanager
def traced(sampling: float = 1.0) -> Iterator[SimpleNamespace]:
    """Give an app whose spans are kept; they are there once the block has ended."""
    exporter, engine = InMemorySpanExporter(), FakeEngine()
    spans = Spans(exporter, sampling)
    world = SimpleNamespace(
        app=serve(engine, guards=Guards(tracing=spans)), spans=spans, found=exporter
    )
    try:
        yield world
    finally:
        engine.close()
        spans.close()


def named(world: SimpleNamespace) -> dict[str, object]:
    return {span.name: span for span in world.found.get_finished_spans()}


def primary(**values):
    known = {
        "request_id": "req-1", "time_s": 1_800_000_000.0, "model": "default",
        "model_version": "v1", "feature_hash": "h", "latency_ms": 3.0, "status": "success",
        "features": {"text": "very private"}, "label": "private label",
    }  # fmt: skip
    return PrimaryEvent(**{**known, **values})


def test_a_caller_s_trace_is_taken_up_by_the_request_s_span():
    async def ask(app):
        async with http_client(app) as http:
            await http.get("/v1/models", headers={**CALLER, "x-request-id": "mine"})
            await http.get("/livez", headers=CALLER)
            await http.get("/nowhere")

    with traced() as world:
        asyncio.run(ask(world.app))
    spans = named(world)
    assert set(spans) == {"GET /v1/models", "GET"}
    span = spans["GET /v1/models"]
    assert format_trace_id(span.context.trace_id) == TRACE
    assert span.parent is not None
    assert span.parent.span_id == int(PARENT, 16)
    assert span.kind == SpanKind.SERVER
    assert span.attributes["http.route"] == "/v1/models"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["glassbox.request_id"] == "mine"
    assert spans["GET"].attributes["http.response.status_code"] == 404
    assert spans["GET"].parent is None


@pytest.mark.parametrize(("sampling", "flags", "n_spans"), [(1.0, "00", 0), (0.0, "01", 1)])
def test_the_caller_decides_whether_its_trace_is_kept(sampling, flags, n_spans):
    async def ask(app):
        async with http_client(app) as http:
            await http.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-{flags}"})

    with traced(sampling) as world:
        asyncio.run(ask(world.app))
    assert len(world.found.get_finished_spans()) == n_spans


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_has_a_span_in_the_words_of_genai_and_without_its_texts(stream):
    async def ask(app):
        async with openai_client(app, default_headers=CALLER) as client:
            answer = await client.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": "very private"}],
                max_tokens=5,
                temperature=0.5,
                seed=3,
                stream=stream,
            )
            if stream:
                async for _ in answer:
                    pass

    with traced() as world:
        asyncio.run(ask(world.app))
    spans = named(world)
    span, request = spans["chat fake"], spans["POST /v1/chat/completions"]
    assert span.parent.span_id == request.context.span_id
    given = dict(span.attributes)
    first_s = given.pop("gen_ai.response.time_to_first_chunk")
    assert 0 <= first_s < 60
    n_prompt = given.pop("gen_ai.usage.input_tokens")
    assert n_prompt > 0
    n_written = given.pop("gen_ai.usage.output_tokens")
    assert 0 < n_written <= 5
    assert given.pop("gen_ai.response.finish_reasons") in (("length",), ("stop",))
    assert given == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "glassbox",
        "gen_ai.request.model": "fake",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 3,
        "gen_ai.usage.cache_read.input_tokens": 0,
        **({"gen_ai.request.stream": True} if stream else {}),
    }
    assert all("private" not in str(each.attributes) for each in spans.values())


def test_several_texts_are_one_span_and_a_refused_request_is_one_with_its_error():
    async def ask(app):
        async with http_client(app) as http:
            body = {"prompt": ["a b", "c d"], "max_tokens": 2, "model": "fake"}
            assert (await http.post("/v1/completions", json=body)).status_code == 200
            body = {"prompt": "a", "model": "nope", "max_tokens": 2}
            assert (await http.post("/v1/completions", json=body)).status_code == 404

    with traced() as world:
        asyncio.run(ask(world.app))
    spans = named(world)
    good, bad = spans["text_completion fake"], spans["text_completion nope"]
    assert len(good.attributes["gen_ai.response.finish_reasons"]) == 2
    assert bad.status.status_code == StatusCode.ERROR
    assert bad.attributes["error.type"] == "unknown-name"


def test_a_challenger_is_linked_to_the_prediction_and_no_part_of_its_trace():
    async def app(scope, receive, send):
        world.spans.observe(primary(rollout_id="ro-1"))

    scope = {
        "type": "http", "method": "POST", "path": "/api/v2/models/predict", "scheme": "http",
        "headers": [(b"traceparent", CALLER["traceparent"].encode())],
        "state": {"request_id": "req-1"},
    }  # fmt: skip
    with traced(sampling=0.0) as world:
        asyncio.run(world.spans.wrapped(app)(scope, None, None))
        assert scope["state"]["trace_id"] == TRACE
        world.spans.observe(
            ShadowEvent("req-1", 1_800_000_001.0, "v2", "ok", diff=0.25, latency_ms=30.0)
        )
        world.spans.observe(ShadowEvent("req-1", 1_800_000_001.0, "v3", "timeout"))
        world.spans.observe(ShadowEvent("req-1", 1_800_000_001.0, "v4", "dropped"))
        world.spans.observe(ShadowEvent("unknown", 1_800_000_001.0, "v5", "ok"))
    spans = named(world)
    assert set(spans) == {"POST", "predict v1", "shadow v2", "shadow v3"}
    predict, shadow = spans["predict v1"], spans["shadow v2"]
    assert format_trace_id(predict.context.trace_id) == TRACE
    assert predict.parent.span_id == spans["POST"].context.span_id
    assert predict.end_time - predict.start_time == 3_000_000
    assert predict.attributes["feature_flag.result.variant"] == "v1"
    assert predict.attributes["feature_flag.result.reason"] == "split"
    assert shadow.parent is None
    assert shadow.context.trace_id != predict.context.trace_id
    assert [link.context.span_id for link in shadow.links] == [predict.context.span_id]
    assert shadow.attributes["glassbox.shadow_diff"] == 0.25
    assert shadow.end_time - shadow.start_time == 30_000_000
    assert spans["shadow v3"].attributes["error.type"] == "timeout"
    assert all("private" not in str(each.attributes) for each in spans.values())


def test_a_prediction_outside_any_trace_has_no_span_and_memory_stays_bounded():
    with traced() as world:
        world.spans.observe(primary())
        for index in range(MOST_REMEMBERED + 10):
            world.spans._remember(f"req-{index}", trace.INVALID_SPAN)
        assert len(world.spans._places) == MOST_REMEMBERED
    assert world.found.get_finished_spans() == ()


def test_spans_travel_to_a_collector_over_http():
    with listening() as collector:
        spans = open_tracing(TelemetrySettings(endpoint=collector.url))

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200})

        async def send(message):
            pass

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "state": {}}
        asyncio.run(spans.wrapped(app)(scope, None, send))
        spans.close()
    ((path, headers, content),) = collector.got
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    sent = ExportTraceServiceRequest.FromString(content)
    (resource,) = sent.resource_spans
    services = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert services["service.name"] == "glassbox"
    assert [span.name for span in resource.scope_spans[0].spans] == ["GET"]


def test_a_collector_that_is_away_costs_no_request(caplog):
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    spans = open_tracing(TelemetrySettings(endpoint="http://127.0.0.1:9"))
    assert isinstance(spans, Spans)

    async def app(scope, receive, send):
        scope["state"]["reached"] = True

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "state": {}}
    asyncio.run(spans.wrapped(app)(scope, None, None))
    assert scope["state"]["reached"]
    spans._provider.shutdown()


def test_without_a_collector_the_app_is_not_wrapped_and_nothing_is_imported():
    async def app(scope, receive, send):
        pass

    off = open_tracing(TelemetrySettings())
    assert type(off) is Tracing
    assert off.wrapped(app) is app
    off.observe(primary())
    assert off.generation({}, CompletionAsked(prompt="x")) is None
    off.close()
    script = (
        "import sys; from glassbox.server.telemetry.tracing import open_tracing;"
        "from glassbox.settings.sections import TelemetrySettings;"
        "open_tracing(TelemetrySettings());"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_missing_library_or_address_is_said(monkeypatch):
    with pytest.raises(InvalidSetting, match=r"'telemetry.endpoint' is 'nowhere'"):
        open_tracing(TelemetrySettings(endpoint="nowhere"))
    monkeypatch.delitem(sys.modules, "glassbox.server.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(DependencyMissing, match=r"glassbox-llm\[otel\]"):
        open_tracing(TelemetrySettings(endpoint="http://127.0.0.1:4318"))


HEX = st.text("0123456789abcdefF-", max_size=40)


@given(
    st.one_of(
        st.builds("{}-{}-{}-{}{}".format, st.sampled_from(["00", "01", "ff", "0"]),
                  st.sampled_from([TRACE, "0" * 32, TRACE.upper(), TRACE[:-1]]),
                  st.sampled_from([PARENT, "0" * 16]), st.sampled_from(["01", "00", "1"]),
                  st.sampled_from(["", "-x", "x", " "])),
        HEX,
    )
)  # fmt: skip
def test_a_trace_is_read_from_the_header_as_opentelemetry_reads_it(header):
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    place = trace.get_current_span(context).get_span_context()
    expected = format_trace_id(place.trace_id) if place.is_valid else NO_TRACE
    scope = {"headers": [(b"x", b"y"), (b"traceparent", header.encode())]}
    assert trace_id_of(scope) == expected


def test_the_access_log_names_the_caller_s_trace(caplog):
    engine = FakeEngine()

    async def ask(app):
        async with http_client(app) as http:
            await http.get("/v1/models", headers=CALLER)
            await http.get("/v1/models")

    with caplog.at_level(logging.INFO, logger="glassbox.access"):
        asyncio.run(ask(serve(engine)))
    engine.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "glassbox.access"]
    assert f"trace={TRACE}" in lines[0]
    assert "trace=-" in lines[1]
