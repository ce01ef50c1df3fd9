"""An engine without a model: next-token distributions drawn from a hash, or scripted.

Continuations follow the chain rule over those distributions, so every law that holds for a real
engine's probabilities holds here. No weights are loaded and nothing is learned.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from glassbox.artifacts import digest_json, read_json, write_json
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.layout.trie import build_trie
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.protocol import (
    AdapterFit,
    AdapterRecipe,
    ContinuationLoss,
    EngineInfo,
    Example,
    FitPoint,
    Lent,
    Logprobs,
)
from glassbox.engine.requests import AdapterInfo, Generation, Listener, Request
from glassbox.errors import (
    CorruptArtifact,
    InvalidValue,
    NotEnoughData,
    QueueFull,
    TextTooLong,
    UnknownName,
    UnsupportedModel,
)
from glassbox.progress import Progress
from glassbox.testing.fake_generation import D_MODEL, N_LAYERS, FakeWriter, check_request
from glassbox.testing.one_by_one import OneByOne
from glassbox.testing.tiny import CONTEXT, D_VOCAB, tiny_tokenizer
from glassbox.types import FinishReason, TokenIds

NextLogits = Callable[[TokenIds], Float[np.ndarray, " d_vocab"]]
"""Logits of the next token after some tokens."""

FAKE_ADAPTER = "fake_adapter.json"


class FakeEngine:
    """An engine that answers from a hash of the tokens, the same in every process.

    Args:
        next_logits: Script: logits of the next token after some tokens; None draws them.
        seed: Of the drawn distributions.
        context: Most tokens of prompt and continuation together.
        chat_template: Jinja template of the tokenizer; None makes it a base model.
        max_waiting: Requests that may be unanswered at a time; one more is refused.
        step_s: Seconds that each written token takes.
    """

    def __init__(
        self,
        next_logits: NextLogits | None = None,
        *,
        seed: int = 0,
        context: int = CONTEXT,
        chat_template: str | None = None,
        max_waiting: int = 10_000,
        step_s: float = 0.0,
    ) -> None:
        self.n_prompts = 0
        self.most_waiting = max_waiting
        self._step_s = step_s
        self._lock = threading.Lock()
        self._open: list[FutureTicket] = []
        self._requests = OneByOne(self._answer)
        self._script = next_logits
        self._seed = seed
        self._adapters: dict[str, int] = {}
        self._codec = TokenizerCodec(tiny_tokenizer(chat_template=chat_template))
        self._info = EngineInfo(
            name="fake",
            digest=digest_json(["fake", seed, context, chat_template]),
            architecture="FakeEngine",
            n_parameters=0,
            n_layers=N_LAYERS,
            d_model=D_MODEL,
            d_vocab=D_VOCAB,
            context=context,
            dtype="float64",
            device="cpu",
            scoring_path="plain",
        )

    @property
    def info(self) -> EngineInfo:
        """What is resident."""
        return self._info

    @property
    def codec(self) -> TokenizerCodec:
        """The tokenizer of ``tiny_engine``."""
        return self._codec

    def logprobs(
        self,
        prompts: Sequence[TokenIds],
        continuations: Sequence[TokenIds],
        *,
        top_k: int = 0,
        adapter: str | None = None,
        progress: Progress | None = None,
    ) -> Logprobs:
        """Return log-probabilities of each continuation after each prompt, by the chain rule.

        ``n_prompts`` counts the prompts of all calls, so that a test of a cache can see what was
        asked.

        Raises:
            InvalidValue: An empty prompt, unusable continuations or an impossible top_k.
            TextTooLong: A prompt and its longest continuation exceed the context.
            UnknownName: No adapter of that name is loaded.
        """
        wanted = build_trie(continuations)
        seed = self._seed_of(adapter)
        if not 0 <= top_k <= D_VOCAB:
            raise InvalidValue("top_k", top_k, f"0 to {D_VOCAB}")
        for row, prompt in enumerate(prompts):
            if not prompt:
                raise InvalidValue(f"prompt {row}", prompt, "one or more token ids")
            if len(prompt) > self._info.context - wanted.depth:
                limit = self._info.context - wanted.depth
                raise TextTooLong(len(prompt), limit, which=f"prompt {row}")
        values = np.zeros((len(prompts), len(continuations)), dtype=np.float32)
        first = np.zeros((len(prompts), D_VOCAB))
        for row, prompt in enumerate(prompts):
            first[row] = self._next(prompt, seed)
            for column, tokens in enumerate(wanted.continuations):
                steps = (self._next((*prompt, *tokens[:at]), seed) for at in range(len(tokens)))
                values[row, column] = sum(
                    step[token] for step, token in zip(steps, tokens, strict=True)
                )
            if progress is not None:
                progress(row + 1, len(prompts))
        self.n_prompts += len(prompts)
        top_ids = np.argsort(-first, axis=1, kind="stable")[:, :top_k]
        return Logprobs(
            values=values,
            top_ids=top_ids.astype(np.int64),
            top_logprobs=np.take_along_axis(first, top_ids, axis=1).astype(np.float32),
            entropy=-(np.exp(first) * first).sum(axis=1).astype(np.float32),
        )

    def submit(self, request: Request, listen: Listener | None = None) -> FutureTicket:
        """Return a ticket for a request; requests are answered one after another.

        Raises:
            InvalidValue: What a real engine refuses.
            InvalidHookPoint: No such layer.
            TextTooLong: No room for the response.
            UnknownName: No adapter of that name is loaded.
            QueueFull: ``max_waiting`` requests are unanswered.
        """
        return self._hand_in(request, listen, self.most_waiting)

    def _hand_in(self, request: Request, listen: Listener | None, most: int | None) -> FutureTicket:
        check_request(request, self._info.context, D_VOCAB)
        self._seed_of(request.adapter)
        with self._lock:
            self._open = [ticket for ticket in self._open if not ticket.future.done()]
            if most is not None and len(self._open) >= most:
                raise QueueFull(len(self._open), 1.0)
            ticket = self._requests.submit(request, listen)
            self._open.append(ticket)
        return ticket

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the answers to some requests, in their order."""
        # A caller's own list is never too long for it, as with a real engine.
        tickets = [self._hand_in(request, None, None) for request in requests]
        return [ticket.result() for ticket in tickets]

    def lend(self, *, lease_s: float, adapter: str | None = None) -> AbstractContextManager[Lent]:
        """Refuse: there is no model to lend.

        Raises:
            UnsupportedModel: Always.
        """
        del adapter
        raise UnsupportedModel(f"The fake engine has no model to lend, for {lease_s} s or ever.")

    @property
    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters that requests may name, sorted by name."""
        return tuple(
            AdapterInfo(name, self._adapter_digest(name) or "", 1, 0, "host")
            for name in sorted(self._adapters)
        )

    def unload_adapter(self, name: str, *, timeout_s: float | None = None) -> bool:
        """Forget an adapter; nobody waits, so that ``timeout_s`` changes nothing.

        Raises:
            UnknownName: No adapter of that name is loaded.
        """
        self._seed_of(name)
        del timeout_s
        del self._adapters[name]
        return True

    def close(self) -> None:
        """End waiting and running requests."""
        for ticket in self._open:
            ticket.cancel()
        self._requests.close()

    def _answer(
        self,
        request: Request,
        listen: Listener | None,
        stopped: Callable[[], FinishReason | None],
    ) -> Generation:
        seed = self._seed_of(request.adapter)
        writer = FakeWriter(
            next_logprobs=lambda tokens: self._next(tokens, seed),
            codec=self._codec,
            context=self._info.context,
            adapter_digest=self._adapter_digest(request.adapter),
            step_s=self._step_s,
        )
        return writer.answer(request, listen, stopped)

    def _adapter_digest(self, name: str | None) -> str | None:
        return None if name is None else digest_json(["fake adapter", self._adapters[name]])

    def load_adapter(self, folder: Path | str, *, name: str | None = None) -> str:
        """Return the name of a fake adapter that this class has fitted.

        Raises:
            CorruptArtifact: The folder holds no fake adapter.
        """
        path = Path(folder) / FAKE_ADAPTER
        content = read_json(path)
        if not isinstance(content, dict) or "seed" not in content:
            raise CorruptArtifact(path, "not a fake adapter")
        name = name or digest_json(content)
        self._adapters[name] = int(content["seed"])
        return name

    def fit_adapter(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        continuations: Sequence[TokenIds],
        loss: ContinuationLoss,
        folder: Path,
        recipe: AdapterRecipe,
        *,
        progress: Callable[[FitPoint | None, int, int], None] | None = None,
    ) -> AdapterFit:
        """Return an adapter that changes the answers and has learned nothing.

        The curve holds the true losses of the fake answers, one point an epoch.

        Raises:
            NotEnoughData: No training or validation examples.
        """
        if not train:
            raise NotEnoughData("Fitting an adapter", 0, 1)
        if not validation:
            raise NotEnoughData("Early stopping of a fit", 0, 1)
        losses = [self._loss(part, continuations, loss) for part in (train, validation)]
        curve = []
        for epoch in range(1, recipe.epochs + 1):
            point = FitPoint(epoch, float(epoch), losses[0], losses[1], recipe.learning_rate, 0.0)
            curve.append(point)
            if progress is not None:
                progress(point, epoch, recipe.epochs)
        content = {"seed": self._seed + 1 + recipe.seed, "base": self._info.digest}
        write_json(folder / FAKE_ADAPTER, content)
        return AdapterFit(
            folder=folder,
            digest=digest_json(content),
            curve=tuple(curve),
            best_step=1,
            n_trainable=0,
            n_parameters=0,
        )

    def _seed_of(self, adapter: str | None) -> int:
        if adapter is None:
            return self._seed
        if adapter not in self._adapters:
            raise UnknownName("adapter", adapter, sorted(self._adapters), remedy="Load it first.")
        return self._adapters[adapter]

    def _next(self, tokens: TokenIds, seed: int) -> Float[np.ndarray, " d_vocab"]:
        if self._script is not None:
            logits = self._script(tokens)
        else:
            name = hashlib.sha256(repr((seed, tuple(tokens))).encode()).digest()
            logits = np.random.default_rng(list(name)).normal(scale=2.0, size=D_VOCAB)
        return np.asarray(logits - np.logaddexp.reduce(logits))

    def _loss(
        self, part: Sequence[Example], continuations: Sequence[TokenIds], loss: ContinuationLoss
    ) -> float:
        answer = self.logprobs([example.prompt for example in part], continuations)
        targets = torch.tensor([example.target for example in part])
        return float(loss(torch.from_numpy(answer.values), targets))
