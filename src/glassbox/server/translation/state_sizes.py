"""How much of the model's states one answer may hold. Knows requests; knows nothing of HTTP."""

from collections.abc import Sequence
from typing import Final

from glassbox.engine.requests import Request
from glassbox.errors import InvalidValue
from glassbox.types import Capture

MAX_STATES_BYTES: Final = 256 * 2**20
"""Most bytes of float32 states in one answer of safetensors."""

MAX_JSON_STATES_BYTES: Final = 16 * 2**20
"""As JSON, where a number takes five times the room and a hundred times the time."""

FLOAT_BYTES: Final = 4
"""Bytes of a number."""


def check_states(requests: Sequence[Request], d_model: int, most_bytes: int) -> None:
    """Refuse an answer that would hold too many states.

    Args:
        requests: Everything that one answer comes from.
        d_model: Numbers of one state.
        most_bytes: Most bytes of states.

    Raises:
        InvalidValue: They hold more.
    """
    n_bytes = sum(n_vectors(request) for request in requests) * d_model * FLOAT_BYTES
    if n_bytes > most_bytes:
        raise InvalidValue(
            "states",
            f"{n_bytes / 2**20:,.0f} MiB",
            f"at most {most_bytes // 2**20} MiB in one answer",
            remedy="Ask for fewer texts, layers or forms at a time"
            + (", or for safetensors." if most_bytes < MAX_STATES_BYTES else "."),
        )


def n_vectors(request: Request) -> int:
    """Return how many states the answer to a request holds at most."""
    capture: Capture | None = request.capture
    if capture is None:
        return 0
    n_prompt = len(request.prompt) - request.n_hidden
    response = request.response
    n_response = request.sampling.max_tokens if response is None else len(response)
    n_covered = {"prompt": n_prompt, "generated": n_response, "all": n_prompt + n_response}
    sizes = {"mean": 1, "last": 1, "norm": 0, "none": n_covered[capture.scope]}
    return len(capture.points) * sum(sizes[form] for form in capture.pooling)
