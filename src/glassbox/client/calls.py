"""What each method of the client sends: pure functions.

``Client`` and ``AsyncClient`` differ only in how they wait. Knows the wire; sends nothing.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx
import orjson

from glassbox.client.answers import (
    read_chat,
    read_completion,
    read_labels,
    read_nothing,
    read_states,
    reader,
)
from glassbox.client.results import Generated
from glassbox.client.sagemaker_address import EXAMPLE, SCHEME, endpoint_of, is_endpoint
from glassbox.errors import InvalidValue, UsageError
from glassbox.settings import client_key
from glassbox.types import Capture
from glassbox.wire.adapters import AdapterAnswered, AdaptersAnswered
from glassbox.wire.classify import ClassifyAnswered
from glassbox.wire.extension import CaptureAsked
from glassbox.wire.lens import LensAnswered
from glassbox.wire.models import ServedModel, ServedModels
from glassbox.wire.states import SAFETENSORS_TYPE, TextStates
from glassbox.wire.verify import VerifyAnswered

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8787"
"""Where ``glassbox serve`` listens unless told otherwise."""

TIMEOUT_S = 120.0
"""Seconds to wait for an answer, or between two parts of a stream."""

DEADLINE_HEADER = "x-request-timeout"
"""Tells the server after how many seconds nobody waits for the answer any more."""

Prompt = str | Sequence[int]
"""A text, or token ids."""

Messages = Sequence[Mapping[str, str]]
"""A conversation: each message has a ``role`` and a ``content``."""


class GenerateOptions(TypedDict, total=False):
    """How a text is written, and what is shown of it; all of them may be left out."""

    model: str
    """Adapter's name or digest, or the base model's name (the default)."""
    max_tokens: int
    """Most tokens to write; 256."""
    temperature: float
    """0 is greedy; 0.7."""
    top_p: float
    """Smallest set of most probable tokens that reaches this probability; 1."""
    top_k: int
    """Only so many of the most probable tokens; all."""
    seed: int
    """The same seed gives the same text."""
    stop: str | Sequence[str]
    """Texts that end the answer."""
    stop_at_end: bool
    """Whether the end-of-text token ends the text; True."""
    top_logprobs: int
    """Alternatives to report at each token; 0."""
    capture: Capture | CaptureAsked
    """Hidden states to send back; ``CaptureAsked(layers="all")`` is every layer."""
    probes: bool | Sequence[str]
    """Probes to read: all, or by name."""
    deadline_s: float
    """Seconds after which the text ends with what there is."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    """HTTP method."""
    path: str
    """Below the server's address."""
    read: Callable[[httpx.Response], T]
    """Makes the result of a successful response."""
    body: Mapping[str, Any] | None = None
    """JSON to send."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beyond those of every request."""
    is_once: bool = False
    """Whether doing it twice is not what doing it once is: then it is sent again only where the
    server has certainly not begun."""

    @property
    def content(self) -> bytes | None:
        """The body as bytes.

        Raises:
            InvalidValue: It holds a number that is not finite.
        """
        if self.body is None:
            return None
        written = orjson.dumps(self.body)
        if b"null" in written:
            _require_finite(self.body, "")
        return written


def _require_finite(value: object, name: str) -> None:
    """Refuse what JSON has no word for: as null it would be the server's default, or missing.

    Raises:
        InvalidValue: NaN or an infinite number; says where.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValue(
            name, value, "a finite number", remedy="Give None where a value is missing."
        )
    if isinstance(value, Mapping):
        for key, each in value.items():
            _require_finite(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            _require_finite(each, f"{name}[{place}]")


def address(url: str) -> str:
    """Return a server's address without a slash at its end; of SageMaker's, the endpoint alone.

    Raises:
        InvalidValue: It is no address of a web server or of an endpoint.
        UnknownName: It has an option that addresses of endpoints do not have.
    """
    if is_endpoint(url):
        return f"{SCHEME}://{endpoint_of(url).name}"
    allowed = f"an address such as {DEFAULT_URL} or {EXAMPLE}"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidValue("url", url, allowed) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidValue("url", url, allowed)
    return url.rstrip("/")


def headers(key: str | None) -> dict[str, str]:
    """Return what every request carries.

    Args:
        key: API key; None takes ``GLASSBOX_API_KEY`` where that is set.

    Raises:
        UsageError: The key cannot be one; the message does not show it.
    """
    shared = {"content-type": "application/json"}
    key = client_key() if key is None else key
    if key is None:
        return shared
    if not re.fullmatch(r"[!-~]+", key):
        raise UsageError(
            "The API key is empty or holds a space, a line break or a character that no key has. "
            "Give it as 'glassbox keys create' printed it."
        )
    return {**shared, "authorization": f"Bearer {key}"}


def deadline(timeout_s: float) -> dict[str, str]:
    """Return what keeps a server from working on after the client has given up."""
    return {DEADLINE_HEADER: f"{timeout_s:g}"}


def generate(prompts: Sequence[Prompt], options: GenerateOptions) -> Call[list[Generated]]:
    """Return the request for one text to each prompt."""
    body: dict[str, Any] = {"prompt": _prompts(prompts), **_sampling(options)}
    if options.get("top_logprobs"):
        body["logprobs"] = options["top_logprobs"]
    return Call("POST", "/v1/completions", read_completion(len(prompts)), body)


def chat(messages: Messages, options: GenerateOptions) -> Call[Generated]:
    """Return the request for the answer to a conversation."""
    body: dict[str, Any] = {"messages": [dict(each) for each in messages], **_sampling(options)}
    if options.get("top_logprobs"):
        body |= {"logprobs": True, "top_logprobs": options["top_logprobs"]}
    return Call("POST", "/v1/chat/completions", read_chat, body)


def streamed(call: Call[Any]) -> Call[None]:
    """Return the same request with its answer as a stream of events."""
    body = {**(call.body or {}), "stream": True, "stream_options": {"include_usage": True}}
    return Call("POST", call.path, read_nothing, body, {"accept": "text/event-stream"})


def states(
    texts: Sequence[Prompt],
    capture: Capture | CaptureAsked | None,
    *,
    responses: Sequence[str] | None = None,
    probes: bool | Sequence[str] = False,
    model: str | None = None,
) -> Call[list[TextStates]]:
    """Return the request for hidden states of given texts, as safetensors."""
    body: dict[str, Any] = {"input": _prompts(texts)}
    body |= {"probes": probes if isinstance(probes, bool) else list(probes)}
    if capture is not None:
        body["capture"] = _capture(capture)
    if responses is not None:
        body["responses"] = list(responses)
    if model is not None:
        body["model"] = model
    return Call("POST", "/v1/states", read_states(len(texts)), body, {"accept": SAFETENSORS_TYPE})


def classify(texts: Sequence[str], model: str | None) -> Call[ClassifyAnswered]:
    """Return the request for labels."""
    body = {"texts": list(texts), **({} if model is None else {"model": model})}
    return Call("POST", "/v1/classify", read_labels(len(texts)), body)


def verify(
    prompt: str,
    response: str | None,
    *,
    k: int | None = None,
    paraphrases: Sequence[str] | None = None,
) -> Call[VerifyAnswered]:
    """Return the request for a verdict."""
    body: dict[str, Any] = {"prompt": prompt}
    given = {"response": response, "k": k}
    body |= {name: value for name, value in given.items() if value is not None}
    if paraphrases is not None:
        body["paraphrases"] = list(paraphrases)
    return Call("POST", "/v1/verify", reader(VerifyAnswered), body)


def lens(
    prompt: Prompt | Messages,
    response: Prompt | None,
    *,
    first: int | None = None,
    n_tokens: int | None = None,
    top_k: int | None = None,
    model: str | None = None,
) -> Call[LensAnswered]:
    """Return the request for what each layer would have said."""
    body: dict[str, Any] = {}
    if isinstance(prompt, str):
        body["prompt"] = prompt
    else:
        is_chat = bool(prompt) and isinstance(prompt[0], Mapping)
        body["messages" if is_chat else "prompt"] = list(prompt)
    if response is not None:
        (body["response"],) = _prompts([response])
    given = {"first": first, "n_tokens": n_tokens, "top_k": top_k, "model": model}
    body |= {name: value for name, value in given.items() if value is not None}
    return Call("POST", "/v1/lens", reader(LensAnswered), body)


def models() -> Call[list[ServedModel]]:
    """Return the request for what can be asked."""
    return Call("GET", "/v1/models", lambda answer: reader(ServedModels)(answer).data)


def adapters() -> Call[list[AdapterAnswered]]:
    """Return the request for the loaded adapters."""
    return Call("GET", "/v1/adapters", lambda answer: reader(AdaptersAnswered)(answer).data)


def load_adapter(name: str, path: str) -> Call[AdapterAnswered]:
    """Return the request that loads an adapter."""
    body = {"name": name, "path": path}
    return Call("POST", "/v1/adapters", reader(AdapterAnswered), body)


def unload_adapter(name: str) -> Call[None]:
    """Return the request that takes an adapter away."""
    return Call("DELETE", f"/v1/adapters/{quote(name, safe='')}", read_nothing, is_once=True)


def _prompts(prompts: Sequence[Prompt]) -> list[Any]:
    return [each if isinstance(each, str) else list(each) for each in prompts]


def _sampling(options: GenerateOptions) -> dict[str, Any]:
    stop = options.get("stop", ())
    probes = options.get("probes", False)
    shown: dict[str, Any] = {
        "entropies": True,
        "probes": probes if isinstance(probes, bool) else list(probes),
    }
    if "capture" in options:
        shown["capture"] = _capture(options["capture"])
    for name in ("top_k", "stop_at_end", "deadline_s"):
        if name in options:
            shown[name] = options[name]
    body: dict[str, Any] = {"max_tokens": 256, "temperature": 0.7, "glassbox": shown}
    for name in ("model", "max_tokens", "temperature", "top_p", "seed"):
        if name in options:
            body[name] = options[name]  # type: ignore[literal-required]
    if stop:
        body["stop"] = stop if isinstance(stop, str) else list(stop)
    return body


def _capture(capture: Capture | CaptureAsked) -> dict[str, Any]:
    if isinstance(capture, CaptureAsked):
        return capture.model_dump(exclude_none=True)
    return {
        "points": [{"layer": each.layer, "site": each.site} for each in capture.points],
        "pooling": list(capture.pooling),
        "scope": capture.scope,
    }
