"""What each method of the client sends: pure functions.

``Client`` and ``AsyncClient`` differ only in how they wait. Knows the wire; sends nothing.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote, urlencode

import httpx
import numpy as np

from glassbox.client import given
from glassbox.client.answers import (
    read_any,
    read_chat,
    read_completion,
    read_labels,
    read_nothing,
    read_states,
    reader,
)
from glassbox.client.given import Prompt, json_bytes
from glassbox.client.results import Generated
from glassbox.client.sagemaker_address import EXAMPLE, SCHEME, endpoint_of, is_endpoint
from glassbox.errors import InvalidValue, UsageError
from glassbox.settings import client_key
from glassbox.types import Capture
from glassbox.wire.adapters import AdapterAnswered, AdaptersAnswered
from glassbox.wire.classify import ClassifyAnswered
from glassbox.wire.extension import CaptureAsked
from glassbox.wire.headers import TIMEOUT_HEADER
from glassbox.wire.lens import LensAnswered
from glassbox.wire.models import ServedModel, ServedModels
from glassbox.wire.states import SAFETENSORS_TYPE, TextStates
from glassbox.wire.verify import VerifyAnswered

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8787"
"""Where ``glassbox serve`` listens unless told otherwise."""

TIMEOUT_S = 120.0
"""Seconds to wait for an answer, or between two parts of a stream."""

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
            UsageError: It holds something that JSON cannot, as a number that is not finite.
        """
        return None if self.body is None else json_bytes(self.body)


def address(url: str) -> str:
    """Return a server's address without what follows it; of SageMaker's, the endpoint alone.

    A slash at its end is left out, and the ``/v1`` with which OpenAI's clients want it.

    Raises:
        InvalidValue: It is no address of a web server or of an endpoint, or holds a user's name
            or password, which is not shown.
        UnknownName: It has an option that addresses of endpoints do not have.
    """
    if is_endpoint(url):
        return f"{SCHEME}://{endpoint_of(url).name}"
    return web_address(url, f"an address such as {DEFAULT_URL} or {EXAMPLE}")


def web_address(url: str, allowed: str) -> str:
    """Return a server's address without what follows it.

    Args:
        url: What was given for one.
        allowed: What is, in words.

    Raises:
        InvalidValue: It is no address of a web server, or holds a user's name or password, which
            is not shown.
    """
    if not isinstance(url, str):
        raise InvalidValue("url", url, allowed)
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidValue("url", url, allowed) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidValue("url", url, allowed)
    if parsed.userinfo:
        raise InvalidValue(
            "url", re.sub("//[^/]*@", "//…@", url), f"{allowed}, without user name and password",
            remedy="They would be sent in place of the API key: give that as key.",
        )  # fmt: skip
    return url.rstrip("/").removesuffix("/v1")


def headers(key: str | None) -> dict[str, str]:
    """Return what every request carries.

    Args:
        key: API key; None takes ``GLASSBOX_API_KEY`` where that is set.

    Raises:
        UsageError: The key cannot be one; the message does not show it.
    """
    shared = {"content-type": "application/json"}
    key = client_key() if key is None else key
    return shared if key is None else {**shared, "authorization": f"Bearer {checked_key(key)}"}


def checked_key(key: str) -> str:
    """Return an API key, if it can be one.

    Raises:
        UsageError: It cannot; the message does not show it.
    """
    if not isinstance(key, str):
        raise UsageError(f"The API key is text, not of type {type(key).__name__}.")
    if not re.fullmatch(r"[!-~]+", key):
        raise UsageError(
            "The API key is empty or holds a space, a line break or a character that no key has. "
            "Give it as 'glassbox keys create' printed it."
        )
    return key


def deadline(timeout_s: float) -> dict[str, str]:
    """Return what keeps a server from working on after the client has given up.

    Raises:
        InvalidValue: No number of seconds above 0.
    """
    if not isinstance(timeout_s, int | float | np.number) or not 0 < timeout_s < math.inf:
        raise InvalidValue("timeout_s", timeout_s, "a number of seconds above 0")
    return {TIMEOUT_HEADER: f"{timeout_s:g}"}


def generate(prompt: Prompt, options: GenerateOptions) -> Call[list[Generated]]:
    """Return the request for the text to one prompt."""
    return _completions([given.prompt("prompt", prompt)], options)


def generate_many(prompts: Sequence[Prompt], options: GenerateOptions) -> Call[list[Generated]]:
    """Return the request for one text to each prompt."""
    return _completions(given.prompts("prompts", prompts), options)


def _completions(prompts: list[Any], options: GenerateOptions) -> Call[list[Generated]]:
    body: dict[str, Any] = {"prompt": prompts, **_sampling(options)}
    if options.get("top_logprobs"):
        body["logprobs"] = options["top_logprobs"]
    return Call("POST", "/v1/completions", read_completion(len(prompts)), body)


def chat(messages: Messages, options: GenerateOptions) -> Call[Generated]:
    """Return the request for the answer to a conversation."""
    body: dict[str, Any] = {"messages": _messages(messages), **_sampling(options)}
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
    inputs = given.prompts("texts", texts)
    body: dict[str, Any] = {"input": inputs, "probes": _probes(probes)}
    if capture is not None:
        body["capture"] = _capture(capture)
    if responses is not None:
        body["responses"] = given.many("responses", responses)
    if model is not None:
        body["model"] = model
    return Call("POST", "/v1/states", read_states(len(inputs)), body, {"accept": SAFETENSORS_TYPE})


def classify(texts: Sequence[str], model: str | None) -> Call[ClassifyAnswered]:
    """Return the request for labels."""
    asked = given.many("texts", texts)
    body = {"texts": asked, **({} if model is None else {"model": model})}
    return Call("POST", "/v1/classify", read_labels(len(asked)), body)


def verify(
    prompt: str,
    response: str | None,
    *,
    k: int | None = None,
    paraphrases: Sequence[str] | None = None,
    model: str | None = None,
) -> Call[VerifyAnswered]:
    """Return the request for a verdict."""
    body: dict[str, Any] = {"prompt": prompt}
    chosen = {"response": response, "k": k, "model": model}
    body |= {name: value for name, value in chosen.items() if value is not None}
    if paraphrases is not None:
        body["paraphrases"] = given.many("paraphrases", paraphrases)
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
    if not isinstance(prompt, str) and len(prompt) and isinstance(prompt[0], Mapping):
        body["messages"] = list(prompt)
    else:
        body["prompt"] = given.prompt("prompt", prompt)
    if response is not None:
        body["response"] = given.prompt("response", response)
    chosen = {"first": first, "n_tokens": n_tokens, "top_k": top_k, "model": model}
    body |= {name: value for name, value in chosen.items() if value is not None}
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


def any_route(
    method: str, path: str, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None
) -> Call[Any]:
    """Return the request of any route.

    Raises:
        InvalidValue: The path does not begin at the server's root.
    """
    if not path.startswith("/"):
        raise InvalidValue("path", path, "one from the server's root on, such as /v1/models")
    asked = {name: each for name, each in (query or {}).items() if each is not None}
    whole = f"{path}?{urlencode(asked, doseq=True)}" if asked else path
    verb = method.upper()
    return Call(verb, whole, read_any, body, is_once=verb != "GET")


def changes() -> Call[None]:
    """Return the request for what changes in the service."""
    return Call(
        "GET", "/api/v2/models/events", read_nothing, headers={"accept": "text/event-stream"}
    )


def _messages(messages: Messages) -> list[dict[str, str]]:
    """Return a conversation as JSON objects.

    Raises:
        InvalidValue: It is a text or a single message.
    """
    found = given.many("messages", messages)
    for each in found:
        if not isinstance(each, Mapping):
            raise InvalidValue("messages", each, "a list of mappings with a role and a content")
    return [dict(each) for each in found]


def _probes(probes: bool | Sequence[str]) -> bool | list[str]:
    return probes if isinstance(probes, bool) else given.many("probes", probes)


def _sampling(options: GenerateOptions) -> dict[str, Any]:
    given.known_options(options, GenerateOptions)
    stop = options.get("stop", ())
    shown: dict[str, Any] = {"entropies": True, "probes": _probes(options.get("probes", False))}
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
    if not isinstance(capture, Capture):
        raise InvalidValue(
            "capture", capture, "a glassbox.types.Capture or glassbox.wire.extension.CaptureAsked"
        )
    return {
        "points": [{"layer": each.layer, "site": each.site} for each in capture.points],
        "pooling": list(capture.pooling),
        "scope": capture.scope,
    }
