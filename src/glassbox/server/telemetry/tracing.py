"""Traces that others collect: what a server says of each request, and how it says nothing.

Without a collector nothing is imported, wrapped or measured: a request's log line still carries the
caller's trace id. With one, ``spans.py`` does the work. Texts, features and labels are in no trace.
"""

import re
from typing import Final, Protocol

from starlette.types import ASGIApp, Scope

from glassbox.audit.records import InferenceEvent
from glassbox.engine.requests import Generation
from glassbox.errors import DependencyMissing
from glassbox.settings.sections import TelemetrySettings
from glassbox.wire.openai_sampling import SamplingAsked

QUIET: Final = frozenset({"/livez", "/readyz", "/ping", "/metrics"})
"""Routes that machines ask all the time: no spans, no line of log, not waited for at the end."""

TRACE_HEADER: Final = b"traceparent"
"""Header of a caller's trace. Source: W3C Trace Context, section 3.2."""

NO_TRACE: Final = "-"
"""What log lines say where there is no trace."""

_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """One request for text, from its begin to its end."""

    def finished(self, answer: Generation, n_hidden: int) -> None:
        """Note one of its texts; hidden tokens of the prompt are not counted."""
        ...

    def failed(self, code: str) -> None:
        """Note that it ended with an error."""
        ...

    def close(self) -> None:
        """End it; idempotent."""
        ...


class Tracing:
    """Says nothing; what a server has that no collector listens to."""

    def wrapped(self, app: ASGIApp) -> ASGIApp:
        """Return the app with a span around each request; here, the app itself."""
        return app

    def observe(self, event: InferenceEvent) -> None:
        """Note a prediction, or what a challenger did; never raises."""

    def generation(self, scope: Scope, asked: SamplingAsked) -> Span | None:
        """Return a span for a request for text, None where nobody listens."""
        del scope, asked
        return None

    def close(self) -> None:
        """Send what is left, for seconds at most."""


def open_tracing(settings: TelemetrySettings) -> Tracing:
    """Return what speaks to the collector of the settings, or says nothing where there is none.

    Raises:
        DependencyMissing: There is one, and OpenTelemetry is not installed.
        InvalidSetting: Its address is none.
    """
    if not settings.endpoint:
        return Tracing()
    try:
        from glassbox.server.telemetry.spans import spans_to
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise DependencyMissing("opentelemetry", "otel") from error
    return spans_to(settings.endpoint, settings.sampling)


def trace_id_of(scope: Scope) -> str:
    """Return the trace that a caller's request belongs to, as 32 hex digits, or ``-``."""
    for name, value in scope["headers"]:
        if name == TRACE_HEADER:
            found = _TRACE.match(value.strip())
            # Version 00 has nothing behind the flags; later ones may, after a hyphen.
            rest = value.strip()[found.end() :] if found else b""
            is_good = found and (not rest or (rest.startswith(b"-") and value[:2] != b"00"))
            return found[1].decode() if found and is_good else NO_TRACE
    return NO_TRACE
