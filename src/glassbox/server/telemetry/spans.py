"""Spans of requests, predictions, challengers and texts, in OpenTelemetry's words.

A challenger's span is no child of the request's: it is a trace of its own with a link to the
prediction, since the answer did not wait for it. Which traces are kept is decided by the caller's
``traceparent`` where there is one. Prompts, answers, features and labels are in none of them.

Source: OpenTelemetry semantic conventions 1.37, HTTP, GenAI (in development) and feature flags.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassbox.audit.records import InferenceEvent, PrimaryEvent, ShadowEvent
from glassbox.engine.requests import Generation
from glassbox.errors import InvalidSetting
from glassbox.server.telemetry.tracing import QUIET, Tracing
from glassbox.server.translation.readings import openai_reason
from glassbox.wire.openai_sampling import SamplingAsked

SERVICE: Final = "glassbox"
"""Name of this service in traces."""

OPERATIONS: Final = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
"""What the conventions call our routes."""

RAN: Final = frozenset({"ok", "error", "timeout"})
"""How a challenger's copy ends that was computed at all."""

MOST_REMEMBERED: Final = 10_000
"""Predictions whose place in a trace is remembered for their challengers."""

EXPORT_S: Final = 5
"""Seconds that the collector may take for a batch of spans."""

_carrier = TraceContextTextMapPropagator()


class Spans(Tracing):
    """Speaks to a collector.

    Args:
        exporter: Where spans go, on a thread of its own.
        sampling: Share of requests traced where the caller has not decided, in [0, 1].
    """

    def __init__(self, exporter: SpanExporter, sampling: float = 1.0) -> None:
        self._provider = TracerProvider(
            sampler=_Linked(ParentBased(TraceIdRatioBased(sampling))),
            resource=Resource.create({"service.name": SERVICE}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("glassbox")
        self._places: OrderedDict[str, trace.Span] = OrderedDict()
        self._lock = threading.Lock()

    def wrapped(self, app: ASGIApp) -> ASGIApp:
        """Return the app with a span around each request."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in QUIET:
                await app(scope, receive, send)
                return
            await self._request(app, scope, receive, send)

        return traced

    def observe(self, event: InferenceEvent) -> None:
        """Note a prediction, or what a challenger did; never raises."""
        if isinstance(event, PrimaryEvent):
            self._predicted(event)
        elif isinstance(event, ShadowEvent) and event.status in RAN:
            self._shadowed(event)

    def generation(self, scope: Scope, asked: SamplingAsked) -> "GenerationSpan | None":
        """Return a span for a request for text."""
        operation = OPERATIONS.get(scope["path"], "text_completion")
        model = asked.model or ""
        span = self._tracer.start_span(
            f"{operation} {model}".rstrip(), kind=SpanKind.INTERNAL, context=_parent(scope)
        )
        if not span.is_recording():
            return None
        given = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": SERVICE,
            "gen_ai.request.model": asked.model,
            "gen_ai.request.choice.count": asked.n if (asked.n or 1) > 1 else None,
            "gen_ai.request.seed": asked.seed,
            "gen_ai.request.stream": True if asked.stream else None,
            "gen_ai.request.max_tokens": asked.max_tokens,
            "gen_ai.request.temperature": asked.temperature,
            "gen_ai.request.top_p": asked.top_p,
        }
        span.set_attributes({key: value for key, value in given.items() if value is not None})
        return GenerationSpan(span)

    def close(self) -> None:
        """Send what is left, for seconds at most."""
        self._provider.force_flush(EXPORT_S * 1000)
        self._provider.shutdown()

    async def _request(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        given = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        span = self._tracer.start_span(
            scope["method"], context=_carrier.extract(given, Context()), kind=SpanKind.SERVER
        )
        state = scope.setdefault("state", {})
        place = span.get_span_context()
        state["trace_id"] = trace.format_trace_id(place.trace_id)
        state["span"] = span
        name = str(state.get("request_id", ""))
        if place.trace_flags.sampled and name:
            self._remember(name, span)
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with trace.use_span(span, end_on_exit=False, record_exception=False):
            try:
                await app(scope, receive, noted)
            finally:
                if span.is_recording():
                    _describe(span, scope, status)
                span.end()

    def _predicted(self, event: PrimaryEvent) -> None:
        here = trace.get_current_span()
        if not here.get_span_context().is_valid:
            here = self._places.get(event.request_id, here)
        if not here.get_span_context().trace_flags.sampled:
            return
        end = int(event.time_s * 1e9)
        span = self._tracer.start_span(
            f"predict {event.model_version}",
            context=trace.set_span_in_context(here, Context()),
            start_time=end - int(event.latency_ms * 1e6),
            attributes={
                "glassbox.request_id": event.request_id,
                "glassbox.model_version": event.model_version,
                "glassbox.role": "primary",
                "glassbox.registry_revision": event.revision,
                "feature_flag.key": event.model,
                "feature_flag.result.variant": event.model_version,
                "feature_flag.result.reason": "split" if event.rollout_id else "default",
            },
        )
        if event.rollout_id:
            span.set_attribute("glassbox.rollout_id", event.rollout_id)
        if event.status == "error":
            span.set_attribute("error.type", event.error_code or "error")
            span.set_status(Status(StatusCode.ERROR))
        self._remember(event.request_id, span)
        span.end(end)

    def _shadowed(self, event: ShadowEvent) -> None:
        with self._lock:
            place = self._places.get(event.request_id)
        if place is None:
            return
        end = int(event.time_s * 1e9)
        span = self._tracer.start_span(
            f"shadow {event.shadow_version}",
            context=Context(),
            start_time=end - int((event.latency_ms or 0.0) * 1e6),
            links=[Link(place.get_span_context(), {"glassbox.link": "primary"})],
            attributes={
                "glassbox.request_id": event.request_id,
                "glassbox.model_version": event.shadow_version,
                "glassbox.role": "shadow" if event.role == "challenger" else event.role,
                "glassbox.shadow_status": event.status,
            },
        )
        if event.diff is not None:
            span.set_attribute("glassbox.shadow_diff", event.diff)
        if event.status != "ok":
            span.set_attribute("error.type", event.status)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def _remember(self, request_id: str, span: trace.Span) -> None:
        # The place in the trace alone: a whole span would keep its attributes in memory.
        place = trace.NonRecordingSpan(span.get_span_context())
        with self._lock:
            self._places[request_id] = place
            self._places.move_to_end(request_id)
            if len(self._places) > MOST_REMEMBERED:
                self._places.popitem(last=False)


class GenerationSpan:
    """One request for text, from its begin to its end."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._reasons: list[str] = []
        self._n_prompt = self._n_cached = self._n_written = 0
        self._first_s: float | None = None
        self._is_ended = False

    def finished(self, answer: Generation, n_hidden: int) -> None:
        """Note one of its texts; hidden tokens of the prompt are not counted."""
        self._reasons.append(openai_reason(answer.finish_reason))
        self._n_prompt += answer.n_prompt - n_hidden
        self._n_cached += 0 if n_hidden else answer.n_cached
        if answer.finish_reason != "given":
            self._n_written += len(answer.tokens.token_ids)
        if self._first_s is None or answer.first_token_s < self._first_s:
            self._first_s = answer.first_token_s

    def failed(self, code: str) -> None:
        """Note that it ended with an error."""
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))

    def close(self) -> None:
        """End it; idempotent."""
        if self._is_ended:
            return
        self._is_ended = True
        if self._reasons:
            self._span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": tuple(self._reasons),
                    "gen_ai.usage.input_tokens": self._n_prompt,
                    "gen_ai.usage.output_tokens": self._n_written,
                    "gen_ai.usage.cache_read.input_tokens": self._n_cached,
                }
            )
        if self._first_s is not None:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", self._first_s)
        self._span.end()


class _Linked(Sampler):
    """Keeps a trace of its own that is linked to one that is kept, and asks another otherwise."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        *rest: Any,
        **more: Any,
    ) -> SamplingResult:
        is_linked = any(link.context.trace_flags.sampled for link in links or ())
        sampler = ALWAYS_ON if is_linked else self._otherwise
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, *rest, **more
        )

    def get_description(self) -> str:
        return f"Linked{{{self._otherwise.get_description()}}}"


def spans_to(endpoint: str, sampling: float) -> Spans:
    """Return what speaks to a collector over HTTP.

    Args:
        endpoint: As in ``http://localhost:4318``; ``/v1/traces`` is added where there is no path.
        sampling: Share of requests traced where the caller has not decided, in [0, 1].

    Raises:
        InvalidSetting: The address is none.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problem = f"is {endpoint!r}, which is no http:// or https:// address"
        raise InvalidSetting("telemetry.endpoint", "settings", problem=problem)
    if parts.path in ("", "/"):
        endpoint = parts._replace(path="/v1/traces").geturl()
    return Spans(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S), sampling)


def _parent(scope: Scope) -> Context:
    span = scope.get("state", {}).get("span")
    return trace.set_span_in_context(span, Context()) if span is not None else Context()


def _describe(span: trace.Span, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", "")
    if route:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "url.scheme": scope.get("scheme", "http"),
            "url.path": scope["path"],
            # A route may have given the request another name.
            "glassbox.request_id": str(scope["state"].get("request_id", "")),
        }
    )
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))
