"""What the server counts, under the names that vLLM's dashboards know.

``vllm:X`` is ``glassbox:X`` here. Every app has its own registry, so that several live in one
process. Prompts and texts are counted in tokens and never kept. Tokens are those of text, chat,
states and SageMaker's route; what verifying, classifying and the lens run is in none of them.

Source: vLLM, ``vllm/v1/metrics/loggers.py`` for names and buckets.
"""

from typing import Final, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from glassbox.engine.requests import Generation
from glassbox.server.telemetry.inference_metrics import InferenceMetrics
from glassbox.types import FinishReason

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format. Source: Prometheus, exposition formats."""

FINISHED: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "context": "length",
    "given": "given",
    "deadline": "deadline",
    "cancelled": "abort",
}
"""Our reasons under vLLM's names, where it has one."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are counted by name. Source: RFC 9110, section 9; RFC 5789."""

_FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0,
)  # fmt: skip
_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
_WHOLE_S = (
    0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0,
    60.0, 120.0, 240.0, 480.0,
)  # fmt: skip
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


@runtime_checkable
class Busy(Protocol):
    """An engine that says how much it has to do."""

    @property
    def n_running(self) -> int:
        """Requests in the batch."""
        ...

    @property
    def n_waiting(self) -> int:
        """Requests in the queue."""
        ...


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model = ""
        self._engine: Busy | None = None
        self._requests_running = self._gauge("num_requests_running", "Requests being computed.")
        self._requests_waiting = self._gauge("num_requests_waiting", "Requests in the queue.")
        self._prompt = self._counter(
            "prompt_tokens", "Tokens read: prompts, and the responses given with them."
        )
        self._written = self._counter("generation_tokens", "Tokens written.")
        self._queries = self._counter("prefix_cache_queries", "Tokens of prompts looked up.")
        self._hits = self._counter("prefix_cache_hits", "Tokens of prompts not computed again.")
        self._finished = self._counter(
            "request_success", "Requests that ended with an answer.", "finished_reason"
        )
        self._failed = self._counter(
            "request_failure", "Requests that ended with an error.", "code"
        )
        self._first_s = self._times("time_to_first_token_seconds", _FIRST_TOKEN_S)
        self._token_s = self._times("request_time_per_output_token_seconds", _TOKEN_S)
        self._whole_s = self._times("e2e_request_latency_seconds", _WHOLE_S)
        self._queued_s = self._times("request_queue_time_seconds", _WHOLE_S)
        self._prompt_sizes = self._times("request_prompt_tokens", _TOKENS)
        self._written_sizes = self._times("request_generation_tokens", _TOKENS)
        self._verified = self._counter("verified_responses", "Responses judged.", "decision")
        self._verify_tokens = self._counter(
            "verify_tokens", "Tokens read and written while responses were judged."
        )
        self._classified = self._counter("classified_texts", "Texts labelled.", "decision")
        self._runs = self._counter("technique_runs", "Runs of functions that ended.", "status")
        self._run_s = self._counter("technique_run_seconds", "Seconds that functions ran.")
        self._http = Counter(
            "glassbox:http_requests",
            "HTTP requests by route and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._http_s = Histogram(
            "glassbox:http_request_duration_seconds",
            "Seconds from request to the end of the answer.",
            ("route",),
            buckets=_WHOLE_S,
            registry=self.registry,
        )
        self.inference = InferenceMetrics(self.registry)

    def serve(self, model: str) -> None:
        """Count for a model from now on."""
        self.model = model

    def finished(self, answer: Generation, n_hidden: int = 0) -> None:
        """Count an answer.

        Args:
            answer: What came of a request.
            n_hidden: Leading tokens of its prompt that are a hidden system prompt: not counted,
                and nothing of a prompt behind them is counted as cached.
        """
        model, n_new = self.model, len(answer.tokens.token_ids)
        n_prompt = answer.n_prompt - n_hidden
        is_given = answer.finish_reason == "given"
        n_read = n_prompt + n_new if is_given else n_prompt
        self._finished.labels(model, FINISHED[answer.finish_reason]).inc()
        self._prompt.labels(model).inc(n_read)
        self._queries.labels(model).inc(n_prompt)
        self._hits.labels(model).inc(0 if n_hidden else answer.n_cached)
        self._prompt_sizes.labels(model).observe(n_read)
        self._queued_s.labels(model).observe(answer.queued_s)
        self._whole_s.labels(model).observe(answer.total_s)
        if is_given:
            return
        self._written.labels(model).inc(n_new)
        self._written_sizes.labels(model).observe(n_new)
        if n_new:
            self._first_s.labels(model).observe(answer.first_token_s)
        if n_new > 1:
            between = (answer.total_s - answer.first_token_s) / (n_new - 1)
            self._token_s.labels(model).observe(max(0.0, between))

    def failed(self, code: str) -> None:
        """Count a request that ended with an error."""
        self._failed.labels(self.model, code).inc()

    def verified(self, decision: str, n_tokens: int) -> None:
        """Count a response that was judged."""
        self._verified.labels(self.model, decision).inc()
        self._verify_tokens.labels(self.model).inc(n_tokens)

    def classified(self, decision: str) -> None:
        """Count a text that was labelled, or whose row has an error."""
        self._classified.labels(self.model, decision).inc()

    def ran(self, status: str, seconds: float) -> None:
        """Count a run of a function that ended, or was refused."""
        self._runs.labels(self.model, status).inc()
        self._run_s.labels(self.model).inc(seconds)

    def watch(self, engine: Busy) -> None:
        """Ask an engine how much it has to do whenever the counters are read."""
        self._engine = engine

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an HTTP answer.

        ``route`` is the pattern and unknown methods are one, so that strangers cannot multiply
        them.
        """
        shown = method if method in METHODS else "other"
        self._http.labels(route, shown, str(status)).inc()
        self._http_s.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        engine = self._engine
        self._requests_running.labels(self.model).set(0 if engine is None else engine.n_running)
        self._requests_waiting.labels(self.model).set(0 if engine is None else engine.n_waiting)
        return generate_latest(self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"glassbox:{name}", about, ("model_name",), registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        names = ("model_name", *labels)
        return Counter(f"glassbox:{name}", about, names, registry=self.registry)

    def _times(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        about = f"{name.replace('_', ' ').capitalize()}, one observation a request."
        return Histogram(
            f"glassbox:{name}", about, ("model_name",), buckets=buckets, registry=self.registry
        )
