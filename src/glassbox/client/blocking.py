"""``Client``: a running server's methods, one call after another."""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self, TypeVar, Unpack

import httpx

from glassbox.client import calls
from glassbox.client.answers import ChangeReader, Lines, StreamReader, request_id_of
from glassbox.client.blocking_models import ModelMethods
from glassbox.client.blocking_pathways import PathwayMethods
from glassbox.client.calls import (
    DEFAULT_URL,
    TIMEOUT_S,
    Call,
    GenerateOptions,
    Messages,
)
from glassbox.client.given import Prompt
from glassbox.client.invocation_calls import (
    InvocationOptions,
    estimate_uncertainty,
    invoke,
)
from glassbox.client.problems import Retries, checked_retries, our_errors, require_open
from glassbox.client.results import Change, Generated, Health, StreamedPiece
from glassbox.client.sagemaker_transport import sagemaker_transport
from glassbox.client.version_skew import VersionWatch
from glassbox.errors import GlassboxError
from glassbox.types import Capture
from glassbox.wire.adapters import AdapterAnswered
from glassbox.wire.classify import ClassifyAnswered
from glassbox.wire.extension import CaptureAsked
from glassbox.wire.lens import LensAnswered
from glassbox.wire.models import ServedModel
from glassbox.wire.sagemaker import InvocationAnswered
from glassbox.wire.states import TextStates
from glassbox.wire.verify import VerifyAnswered

T = TypeVar("T")


class Client(ModelMethods, PathwayMethods):
    """A running Glassbox server; a context manager. Thread-safe.

    Every method raises the ``GlassboxError`` that the server named (``UsageError`` for a wrong
    request, ``AccessDenied`` without a valid key), ``QueueFull`` when the server stayed full
    through all repetitions, ``DeadlineExceeded`` when no answer came in time, ``Unreachable``
    when there is no server or it broke off, and ``IntegrityError`` when what answered is no
    Glassbox server.

    Args:
        url: Address of the server, or ``sagemaker://ENDPOINT?region=…`` (also ``profile``,
            ``variant``, ``component``), which carries what predicts and takes no key.
        key: API key, where the server wants one; None takes ``GLASSBOX_API_KEY``.
        timeout_s: Seconds to wait for an answer, or between two parts of a stream; the server
            is told, and works no longer on an answer than somebody waits for it.
        retries: How often a request is repeated while the server is full or away.
        transport: How requests travel, for tests; None is the network.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = calls.address(url)
        self._timeout_s = timeout_s
        self._deadline = calls.deadline(timeout_s)
        self._retries = Retries() if retries is None else checked_retries(retries)
        self._http = httpx.Client(
            base_url=self._url,
            headers=calls.headers(key),
            timeout=timeout_s,
            transport=transport or sagemaker_transport(url, key, timeout_s),
            event_hooks=VersionWatch().hooks(),
        )

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; idempotent."""
        self._http.close()

    def with_options(
        self, *, timeout_s: float | None = None, retries: Retries | None = None
    ) -> Self:
        """Return a client that treats the server otherwise, over the same connections.

        ``client.with_options(timeout_s=2).verify(…)`` is for one call. Closing either closes both.

        Args:
            timeout_s: In place of the client's; an endpoint of SageMaker is waited for no longer
                than the first client does. None leaves it.
            retries: In place of the client's; None leaves them.
        """
        other = copy.copy(self)
        if timeout_s is not None:
            other._timeout_s, other._deadline = timeout_s, calls.deadline(timeout_s)
        if retries is not None:
            other._retries = checked_retries(retries)
        return other

    def generate(self, prompt: Prompt, **options: Unpack[GenerateOptions]) -> Generated:
        """Return the text that continues a prompt, with what the model showed of itself."""
        return self._send(calls.generate(prompt, options))[0]

    def generate_many(
        self, prompts: Sequence[Prompt], **options: Unpack[GenerateOptions]
    ) -> list[Generated]:
        """Return one text to each prompt, in order; they share the server's running batch."""
        return self._send(calls.generate_many(prompts, options))

    def stream(self, prompt: Prompt, **options: Unpack[GenerateOptions]) -> Iterator[StreamedPiece]:
        """Yield the text that continues a prompt as it comes; the last piece has all of it."""
        return self._stream(calls.generate(prompt, options))

    def chat(self, messages: Messages, **options: Unpack[GenerateOptions]) -> Generated:
        """Return the answer to a conversation."""
        return self._send(calls.chat(messages, options))

    def stream_chat(
        self, messages: Messages, **options: Unpack[GenerateOptions]
    ) -> Iterator[StreamedPiece]:
        """Yield the answer to a conversation as it comes; the last piece has all of it."""
        return self._stream(calls.chat(messages, options))

    def states(
        self,
        texts: Sequence[Prompt],
        capture: Capture | CaptureAsked | None = None,
        *,
        responses: Sequence[str] | None = None,
        probes: bool | Sequence[str] = False,
        model: str | None = None,
    ) -> list[TextStates]:
        """Return hidden states of each text, as float32 arrays.

        Args:
            texts: What to read.
            capture: Which states; None is the last, fourth and eighth layer from the end.
            responses: A given response to each text, read after it.
            probes: Probes to read beside them.
            model: Adapter or registered version; None is the base model.
        """
        call = calls.states(texts, capture, responses=responses, probes=probes, model=model)
        return self._send(call)

    def classify(self, texts: Sequence[str], *, model: str | None = None) -> ClassifyAnswered:
        """Return label and calibrated confidence of each text; a bad text has an ``error``."""
        return self._send(calls.classify(texts, model))

    def verify(
        self,
        prompt: str,
        response: str | None = None,
        *,
        k: int | None = None,
        paraphrases: Sequence[str] | None = None,
        model: str | None = None,
    ) -> VerifyAnswered:
        """Return whether a response can be believed, and why.

        Args:
            prompt: The question.
            response: Somebody else's response; None lets the model write one first.
            k: How often to ask again for consistency; None is what the verifier was made with.
            paraphrases: Other wordings; None makes them by rule.
            model: Adapter or registered version that judges, where the server has no trained
                verifier; None is the base model.
        """
        call = calls.verify(prompt, response, k=k, paraphrases=paraphrases, model=model)
        return self._send(call)

    def lens(
        self,
        prompt: Prompt | Messages,
        response: Prompt | None = None,
        *,
        first: int | None = None,
        n_tokens: int | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> LensAnswered:
        """Return what each layer would have said next, along some tokens of a text.

        Args:
            prompt: A text, token ids, or a conversation.
            response: What follows it, as text or token ids.
            first: First token to show: counted in the response, or in the prompt where there is
                none; None is the response's first, or the prompt's last ones.
            n_tokens: Tokens to show; None is 16.
            top_k: Most probable tokens to name at each place; None is 5.
            model: Adapter or registered version; None is the base model.
        """
        call = calls.lens(
            prompt, response, first=first, n_tokens=n_tokens, top_k=top_k, model=model
        )
        return self._send(call)

    def invoke_with_hidden_states(
        self, text: str, **options: Unpack[InvocationOptions]
    ) -> InvocationAnswered:
        """Return a text with the hidden states of its prompt, in the Shadow Self's own fields.

        Args:
            text: The prompt, as the model reads it.
            options: Layers, length, temperature, adapter; the source document's defaults.
        """
        return self._send(invoke(text, options))

    @staticmethod
    def estimate_uncertainty(answer: InvocationAnswered) -> float:
        """Return how unsure the model sounds, in [0, 1]; ``verify`` gives a validated verdict."""
        return estimate_uncertainty(answer)

    def models(self) -> list[ServedModel]:
        """Return every name that a request may give as its model."""
        return self._send(calls.models())

    def adapters(self) -> list[AdapterAnswered]:
        """Return the loaded adapters."""
        return self._send(calls.adapters())

    def load_adapter(self, name: str, path: str) -> AdapterAnswered:
        """Load an adapter from a folder on the server, and return what it is."""
        return self._send(calls.load_adapter(name, path))

    def unload_adapter(self, name: str) -> None:
        """Take an adapter away once the requests that use it have ended."""
        self._send(calls.unload_adapter(name))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the answer of any route: JSON as Python's values, or a text, or bytes.

        For what has no method of its own: ``client.call("GET", "/v1/pathways/s/report")``. Errors
        and repetitions are as everywhere.

        Args:
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
            path: From the server's root on; names in it have to be quoted.
            query: What goes behind the path; what is None is left out.
            body: JSON to send.
        """
        return self._send(calls.any_route(method, path, query, body))

    def changes(self) -> Iterator[Change]:
        """Yield what changes in the service as it happens, until the server ends."""
        with self._answered(calls.changes(), {}, stream=True) as response:
            reader = ChangeReader()
            for line in _lines(response):
                change = reader.read(line)
                if change is not None:
                    yield change

    def health(self) -> Health:
        """Return whether the server lives and is ready; never raises."""
        try:
            require_open(self, is_closed=self._http.is_closed)
            live, ready = (
                self._http.get(path, timeout=self._timeout_s).is_success
                for path in ("/livez", "/readyz")
            )
        except (httpx.RequestError, GlassboxError):
            return Health(live=False, ready=False)
        return Health(live, ready)

    def _send(self, call: Call[T]) -> T:
        with self._answered(call, self._deadline, stream=False) as response:
            return call.read(response)

    def _stream(self, call: Call[Any]) -> Iterator[StreamedPiece]:
        with self._answered(calls.streamed(call), {}, stream=True) as response:
            reader = StreamReader(request_id_of(response))
            for line in _lines(response):
                piece = reader.read(line)
                if piece is not None:
                    yield piece
            reader.check_whole()

    @contextmanager
    def _answered(
        self, call: Call[Any], headers: Mapping[str, str], *, stream: bool
    ) -> Iterator[httpx.Response]:
        """Send until there is a success; what a full server turned away is sent again."""
        require_open(self, is_closed=self._http.is_closed)
        request = self._http.build_request(
            call.method,
            call.path,
            content=call.content,
            headers={**headers, **call.headers},
            timeout=self._timeout_s,
        )
        done = 0
        while not (response := self._sent(request, stream=stream)).is_success:
            wait_s = self._retries.wait_or_raise(response, done, is_once=call.is_once)
            time.sleep(wait_s)
            done += 1
        try:
            with our_errors(self._url, request_id_of(response)):
                yield response
        finally:
            response.close()

    def _sent(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        """Return what was answered; only a success may still have to be read."""
        with our_errors(self._url), ExitStack() as at_end:
            response = self._connected(request, stream=stream)
            at_end.callback(response.close)
            if response.is_success:
                at_end.pop_all()
            else:
                response.read()
            return response

    def _connected(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        """Return the beginning of an answer; where there was no connection it is tried again."""
        done = 0
        while True:
            try:
                return self._http.send(request, stream=stream)
            except httpx.ConnectError as error:
                wait_s = self._retries.wait_or_raise_refused(error, done)
            time.sleep(wait_s)
            done += 1


def _lines(response: httpx.Response) -> Iterator[str]:
    lines = Lines()
    for part in response.iter_bytes():
        yield from lines.cut(part)
