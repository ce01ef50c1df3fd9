"""An engine without a model: next-token distributions drawn from a hash, or scripted.

Continuations follow the chain rule over those distributions, so every law that holds for a real
engine's probabilities holds here. No weights are loaded and nothing is learned.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from glassbox.artifacts import digest_json, read_json, write_json
from glassbox.engine.codec import TokenizerCodec
from glassbox.engine.protocol import (
    AdapterFit,
    AdapterRecipe,
    ContinuationLoss,
    EngineInfo,
    Example,
    FitPoint,
    Logprobs,
    Progress,
)
from glassbox.engine.trie import build_trie
from glassbox.errors import CorruptArtifact, InvalidValue, NotEnoughData, TextTooLong, UnknownName
from glassbox.testing.tiny import CONTEXT, D_VOCAB, tiny_tokenizer
from glassbox.types import TokenIds

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
    """

    def __init__(
        self,
        next_logits: NextLogits | None = None,
        *,
        seed: int = 0,
        context: int = CONTEXT,
        chat_template: str | None = None,
    ) -> None:
        self.n_prompts = 0
        self._script = next_logits
        self._seed = seed
        self._adapters: dict[str, int] = {}
        self._codec = TokenizerCodec(tiny_tokenizer(chat_template=chat_template))
        self._info = EngineInfo(
            name="fake",
            digest=digest_json(["fake", seed, context, chat_template]),
            architecture="FakeEngine",
            n_parameters=0,
            n_layers=0,
            d_model=0,
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

    def load_adapter(self, folder: Path, *, name: str | None = None) -> str:
        """Return the name of a fake adapter that this class has fitted.

        Raises:
            CorruptArtifact: The folder holds no fake adapter.
        """
        content = read_json(folder / FAKE_ADAPTER)
        if not isinstance(content, dict) or "seed" not in content:
            raise CorruptArtifact(folder / FAKE_ADAPTER, "not a fake adapter")
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
