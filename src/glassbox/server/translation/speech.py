"""From OpenAI's requests to the engine's: models by name, seeds of choices, probes and captures.

One ``Speaker`` stands for a resident model while it is served. Knows the wire and the engine;
knows nothing of HTTP and of how answers are waited for.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Generation, Piece, Request, Sampling
from glassbox.engine.text_codec import NO_THINKING
from glassbox.errors import AdapterMismatch, InvalidValue, UnknownName
from glassbox.introspection.evidence.witness import Asked
from glassbox.introspection.probes.norm_proxy import norm_proxy
from glassbox.rollout.versions.version_names import is_registered
from glassbox.server.translation.echoing import as_prompt, of_prompt, with_asked_scope
from glassbox.server.translation.hiding import (
    beyond_prompt,
    check_hidden,
    is_prompt_alone,
    reading_beyond_prompt,
    step_beyond_prompt,
)
from glassbox.server.translation.probing import (
    Probe,
    probe_answered,
    proxy_answered,
    readout_scope,
)
from glassbox.server.translation.prompting import BuiltPrompt, Prompter, template_variables
from glassbox.server.translation.readings import (
    TokenTexts,
    capture_of,
    glassbox_answered,
    glassbox_chunk,
)
from glassbox.server.translation.state_sizes import MAX_JSON_STATES_BYTES, check_states
from glassbox.types import Capture, HookPoint, Scope, TokenIds
from glassbox.wire.extension import (
    DEFAULT_LAYERS,
    GlassboxAnswered,
    GlassboxAsked,
    GlassboxChunk,
    ProbeAnswered,
)
from glassbox.wire.openai_chat import ChatAsked
from glassbox.wire.openai_completions import CompletionAsked
from glassbox.wire.openai_sampling import SamplingAsked

if TYPE_CHECKING:
    # A command that writes one text needs no registry, no database and no drift.
    from glassbox.server.translation.registered import RegisteredModels

DEFAULT_TEMPERATURE = 1.0
"""Where a request names none. Source: OpenAI's reference."""

DEFAULT_COMPLETION_TOKENS = 16
"""Most tokens of a completion where a request names none. Source: OpenAI's reference."""

NO_EXTENSION = GlassboxAsked()
"""A request that asks for nothing beyond OpenAI's fields."""


@dataclass(frozen=True)
class Terms:
    """On whose behalf a request comes, and how long it may take."""

    client: str = ""
    """Whose turn it is in the queue."""
    deadline_s: float | None = None
    """Seconds after which it ends with what it has; a request's own deadline may be earlier."""

    def deadline(self, asked: GlassboxAsked) -> float | None:
        """Return the earlier of both deadlines."""
        given = [each for each in (self.deadline_s, asked.deadline_s) if each is not None]
        return min(given, default=None)


@dataclass(frozen=True)
class Speech:
    """One text that is to be written or read, and whose it is."""

    request: Request
    """What the engine is asked."""
    prompt: BuiltPrompt
    """Its prompt; for an echo, the whole prompt that is read."""
    number: int = 0
    """Which of the request's prompts that is."""
    is_echo: bool = False
    """Whether it only reads the prompt, for its log-probabilities."""


class Speaker:
    """A resident model as the routes talk to it.

    Args:
        engine: The resident model.
        name: Name of the base model that requests may give; its digest is another.
        hidden: System prompt in front of every request, never shown.
        probes: Probes that a request may name.

    Raises:
        UnsupportedModel: The model's chat template cannot keep a system prompt hidden.
        InvalidValue: The hidden system prompt leaves no room for anything else.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        hidden: str | None = None,
        probes: Mapping[str, Probe] | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.prompter = Prompter(engine.codec, engine.info.context, hidden)
        if hidden and self.prompter.has_template:
            # A template that cannot keep it hidden is found now, and not at the first request.
            self.prompter.chat([("user", "x")])
        self.texts = TokenTexts(engine.codec)
        self.probes = dict(probes or {})
        self.registered: RegisteredModels | None = None
        """Versions that requests may name by address; None where none are kept."""

    def fingerprint(self, adapter_digest: str | None) -> str:
        """Return what OpenAI calls the system's fingerprint: of other weights another one.

        It is the beginning of the base model's digest, and the whole digest of the adapter.
        """
        base = f"fp_{self.engine.info.digest[:12]}"
        return base if adapter_digest is None else f"{base}_{adapter_digest}"

    def hides(self, scope: Scope) -> bool:
        """Whether states of some positions are not shown, because of a hidden system prompt."""
        return self.prompter.hides and is_prompt_alone(scope, None)

    def adapter_of(self, model: str | None) -> str | None:
        """Return the adapter that a request's model names; None is the base model.

        Raises:
            UnknownName: Neither the base model nor a loaded adapter nor a registered version.
            InvalidValue: A registered version that is no classifier on the resident model.
            ConflictError: A registered version whose adapter is not loaded.
        """
        if model in (None, self.name, self.engine.info.name, self.engine.info.digest):
            return None
        adapters = self.engine.adapters
        for adapter in adapters:
            if model in (adapter.name, adapter.digest):
                return adapter.name
        if is_registered(model) and self.registered is not None:
            return self.registered.adapter(model)
        if model is not None and model.startswith("s3://"):
            # Whether requests may have it fetched is the engine's to say.
            return model
        raise UnknownName("model", str(model), [self.name, *(each.name for each in adapters)])

    def digest_of(self, adapter: str | None) -> str | None:
        """Return the digest of a loaded adapter; None for the base model."""
        return next((each.digest for each in self.engine.adapters if each.name == adapter), None)

    def question(self, prompt: str) -> Asked:
        """Return a question as the model is asked it: by its chat template where it has one."""
        prompter = self.prompter
        built = (
            prompter.chat([("user", prompt)], variables=NO_THINKING)
            if prompter.has_template
            else prompter.plain(prompt)
        )
        return Asked(built.ids, built.n_hidden)

    def chosen_probes(
        self, asked: bool | Sequence[str], adapter_digest: str | None
    ) -> dict[str, Probe]:
        """Return the probes that a request asks for, by name.

        Args:
            asked: All that were made for the model that answers, or these.
            adapter_digest: Digest of the adapter that answers; None is the base model.

        Raises:
            UnknownName: No such probe is served.
            AdapterMismatch: A named probe was trained on another adapter.
        """
        info = self.engine.info
        if isinstance(asked, bool):
            return self._fitting_probes(adapter_digest) if asked else {}
        for name in asked:
            if name not in self.probes:
                raise UnknownName("probe", name, sorted(self.probes))
            self.probes[name].check(info, adapter_digest)
        return {name: self.probes[name] for name in asked}

    def _fitting_probes(self, adapter_digest: str | None) -> dict[str, Probe]:
        found = {}
        for name, probe in self.probes.items():
            with contextlib.suppress(AdapterMismatch):
                probe.check(self.engine.info, adapter_digest)
                found[name] = probe
        return found

    def completions(self, asked: CompletionAsked, terms: Terms) -> list[Speech]:
        """Return what a request for completions comes to: its choices, then its echoes.

        Raises:
            GlassboxError: The request names a model, probe or layer that there is not.
        """
        prompts = [self.prompter.plain(each) for each in asked.prompts]
        n_tokens = DEFAULT_COMPLETION_TOKENS if asked.max_tokens is None else asked.max_tokens
        n_top = asked.logprobs or 0
        speeches: list[Speech] = []
        for number, prompt in enumerate(prompts):
            if n_tokens:
                speeches += self._choices(asked, prompt, n_tokens, n_top, terms, number)
            if asked.echo and (asked.logprobs is not None or not n_tokens):
                speeches.append(self._echo(asked, prompt, terms, number))
        return self._sized(speeches)

    def _echo(
        self, asked: CompletionAsked, prompt: BuiltPrompt, terms: Terms, number: int
    ) -> Speech:
        """Return the reading of a prompt, token by token."""
        shown = asked.glassbox or NO_EXTENSION
        if asked.max_tokens != 0:
            # The texts that are written carry the extension.
            shown = GlassboxAsked(deadline_s=shown.deadline_s)
        # The first token has nothing before it that would make it more or less probable.
        n_given = max(prompt.n_hidden, 1)
        if prompt.n_hidden:
            # What is read here as if it were a response is the caller's prompt.
            self.reading(prompt, (), shown, asked.model, terms)
            shown = shown.model_copy(update={"probes": False})
        shown = of_prompt(shown)
        start = replace(prompt, ids=prompt.ids[:n_given])
        request = self.reading(start, prompt.ids[n_given:], shown, asked.model, terms)
        sampling = replace(request.sampling, top_logprobs=asked.logprobs or 0)
        request = replace(request, sampling=sampling, readout_scope="all")
        return Speech(request, prompt, number, is_echo=True)

    def chat(self, asked: ChatAsked, terms: Terms) -> list[Speech]:
        """Return what a request for chat comes to: one speech for each choice.

        Raises:
            GlassboxError: The request names a model, probe or layer that there is not, or the
                chat template refuses the messages.
        """
        spoken = [(each.role, each.text) for each in asked.messages]
        prompt = self.prompter.chat(spoken, variables=template_variables(asked))
        # What the context holds where nothing is said, less the prompt.
        n_tokens = asked.max_completion_tokens or asked.max_tokens or self.engine.info.context
        return self._sized(self._choices(asked, prompt, n_tokens, asked.top_logprobs or 0, terms))

    def _sized(self, speeches: list[Speech]) -> list[Speech]:
        """Return the speeches of one request, whose answer must not hold too many states."""
        requests = [speech.request for speech in speeches]
        check_states(requests, self.engine.info.d_model, MAX_JSON_STATES_BYTES)
        return speeches

    def reading(
        self,
        prompt: BuiltPrompt,
        response: TokenIds | None,
        asked: GlassboxAsked,
        model: str | None,
        terms: Terms,
    ) -> Request:
        """Return the request that reads a given text, or writes one where None is given.

        Raises:
            GlassboxError: A model, probe or layer that there is not, or one that is not shown
                together with a hidden system prompt.
        """
        adapter = self.adapter_of(model)
        probes = self.chosen_probes(asked.probes, self.digest_of(adapter))
        if prompt.n_hidden:
            scope = None if asked.capture is None else asked.capture.scope
            if isinstance(asked.probes, bool):
                probes = {
                    name: probe
                    for name, probe in probes.items()
                    if not is_prompt_alone(probe.scope, response)
                }
            check_hidden(response, scope, probes.values())
        return Request(
            prompt=prompt.ids,
            response=response,
            sampling=Sampling(max_tokens=1, temperature=0),
            n_hidden=prompt.n_hidden,
            adapter=adapter,
            capture=self._capture(asked, has_probes=bool(probes), is_hidden=bool(prompt.n_hidden)),
            readouts=tuple(probe.readout() for probe in probes.values()),
            readout_scope=readout_scope(probes.values()),
            client=terms.client,
            deadline_s=terms.deadline(asked),
        )

    def shown(
        self, answer: Generation, speech: Speech, asked: GlassboxAsked | None
    ) -> GlassboxAnswered | None:
        """Return what a request wanted to see beside a text; None where it wanted nothing.

        A text that a deadline or the end of the context cut short says so even if nothing was
        asked for.
        """
        if asked is None and answer.finish_reason not in ("deadline", "context"):
            return None
        asked, n_hidden = asked or NO_EXTENSION, speech.prompt.n_hidden
        read = answer = beyond_prompt(answer, speech.request)
        if speech.is_echo:
            read, answer = as_prompt(answer), with_asked_scope(answer, asked)
        probes = self.read_probes(read, asked.probes, speech.request) if asked.probes else None
        return glassbox_answered(answer, asked, probes, self.engine.info, n_hidden=n_hidden)

    def shown_step(
        self, piece: Piece, speech: Speech, asked: GlassboxAsked | None
    ) -> GlassboxChunk | None:
        """Return what a request wanted to see of one step of a stream."""
        shown = step_beyond_prompt(piece, speech.request)
        return None if asked is None else glassbox_chunk(shown, asked)

    def shown_end(
        self, answer: Generation, speech: Speech, asked: GlassboxAsked | None
    ) -> GlassboxChunk | None:
        """Return what a request wanted to see at the end of a stream: all of it."""
        final = self.shown(answer, speech, asked)
        return None if final is None else GlassboxChunk(token_ids=[], final=final)

    def read_probes(
        self, answer: Generation, asked: bool | Sequence[str], request: Request
    ) -> dict[str, ProbeAnswered]:
        """Return what the probes that a request asks for say about its answer."""
        probes = self.chosen_probes(asked, answer.adapter_digest)
        if asked is True and not probes and any(each.n_positions for each in answer.states):
            proxy = norm_proxy(answer.states)
            return {proxy.name: proxy_answered(proxy)}
        readings = {
            name: probe_answered(probe.read(answer, covered=request.readout_scope))
            for name, probe in probes.items()
            if name in answer.readouts
        }
        return {k: reading_beyond_prompt(each, answer, request) for k, each in readings.items()}

    def _choices(
        self,
        asked: SamplingAsked,
        prompt: BuiltPrompt,
        n_tokens: int,
        n_top: int,
        terms: Terms,
        number: int = 0,
    ) -> list[Speech]:
        shown = asked.glassbox or NO_EXTENSION
        if shown.capture is not None and "none" in shown.capture.pooling:
            raise InvalidValue(
                "pooling",
                "none",
                "mean, last, norm",
                remedy="Every position's vector is had from /v1/states, as safetensors.",
            )
        sampling = Sampling(
            max_tokens=n_tokens,
            temperature=DEFAULT_TEMPERATURE if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            top_k=shown.top_k,
            stop=asked.stops,
            stop_at_end=shown.stop_at_end,
            top_logprobs=n_top,
        )
        request = self.reading(prompt, None, shown, asked.model, terms)
        return [
            Speech(replace(request, sampling=replace(sampling, seed=seed)), prompt, number)
            for seed in asked.choice_seeds
        ]

    def _capture(
        self, asked: GlassboxAsked, *, has_probes: bool, is_hidden: bool
    ) -> Capture | None:
        """Return what to capture: what was asked for, and norms for the probes' stand-in."""
        info = self.engine.info
        wanted = None if asked.capture is None else capture_of(asked.capture, info)
        if asked.probes is not True or has_probes or not info.states:
            return wanted
        if wanted is None:
            layers = [layer for layer in DEFAULT_LAYERS if layer >= -info.n_layers]
            scope: Scope = "generated" if is_hidden else "prompt"
            return Capture(tuple(HookPoint(layer) for layer in layers), ("norm",), scope)
        return replace(wanted, pooling=tuple(dict.fromkeys([*wanted.pooling, "norm"])))


def check_ended(answer: Generation) -> Generation:
    """Return an answer that came to an end of its own, or as far as time allowed.

    Raises:
        CapacityError: The server ended it, because it is shutting down.
    """
    return answer if answer.finish_reason == "deadline" else answer.whole()
