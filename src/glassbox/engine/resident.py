"""The resident model: one loaded model that answers requests for log-probabilities.

Puts the pieces together: batches by token budget, the prefix cache, the scoring path, adapters.
Knows token ids and continuations; knows nothing of labels, files of data or HTTP.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.adapters import Adapters, BaseModel
from glassbox.engine.batches import Budget, cut_batches, run_batches
from glassbox.engine.codec import TokenizerCodec
from glassbox.engine.devices import dtype_name, keep_freed_memory
from glassbox.engine.fitting import FitTask, fit
from glassbox.engine.load import LoadedModel, load_model
from glassbox.engine.packing import common_prefix_length
from glassbox.engine.paths import choose_path
from glassbox.engine.prefix import PrefixCache
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
from glassbox.engine.scoring import (
    PrefixStates,
    continuation_logprobs,
    path_logprobs,
    prefix_states,
    read_logits,
)
from glassbox.engine.trie import TokenTrie, build_trie
from glassbox.errors import InvalidValue, NonFiniteOutput, TextTooLong
from glassbox.types import ModelSpec, TokenIds

MIN_PREFIX_TOKENS = 8
"""A shared prefix below this is cheaper to repeat than to compute apart."""

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768, "mps": 8192}
"""Tokens in one forward pass, by device.

Source: benchmarks/scoring.py for the CPU, where 1,024 to 4,096 are within 2 % of one another; the
others are guesses that were not measured.
"""

PREFIX_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Answer:
    """What one batch said, on the host."""

    values: Float[np.ndarray, "n n_continuations"]
    top_ids: np.ndarray
    top_logprobs: Float[np.ndarray, "n top_k"]
    entropy: Float[np.ndarray, " n"]


class ResidentEngine:
    """A model that stays in memory and answers one request at a time, from any thread.

    Args:
        loaded: The model; the engine is its only user from here on.
        batch_tokens: Most tokens in one forward pass; None takes the device's default.
        prefix_cache_bytes: Memory for states of prompt prefixes; 0 keeps none.

    Raises:
        NonFiniteOutput: The model answers NaN or infinity.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_tokens: int | None = None,
        prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
    ) -> None:
        model = loaded.model
        if batch_tokens is not None and batch_tokens < 1:
            raise InvalidValue("batch_tokens", batch_tokens, "1 or more tokens")
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(model.device.type, 2048)
        self.prefixes = PrefixCache(prefix_cache_bytes)
        self._model = model
        self._lock = threading.RLock()
        self._codec = TokenizerCodec(loaded.tokenizer)
        path, self.plain_reason = choose_path(model, loaded.context)
        self._path = path
        config = model.config.get_text_config()
        n_parameters = int(model.num_parameters())
        self._info = EngineInfo(
            name=loaded.name,
            digest=loaded.digest,
            architecture=type(model).__name__,
            n_parameters=n_parameters,
            n_layers=int(config.num_hidden_layers),
            d_model=int(config.hidden_size),
            d_vocab=int(config.vocab_size),
            context=loaded.context,
            dtype=dtype_name(model.dtype),
            device=str(model.device),
            scoring_path=path,
        )
        self._adapters = Adapters(
            BaseModel(
                model=model,
                tokenizer=loaded.tokenizer,
                name=loaded.name,
                digest=loaded.digest,
                context=loaded.context,
                n_parameters=n_parameters,
            )
        )

    @property
    def info(self) -> EngineInfo:
        """What is resident."""
        return self._info

    @property
    def codec(self) -> TokenizerCodec:
        """The resident model's tokenizer."""
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
        """Return log-probabilities of each continuation after each prompt.

        See ``Engine.logprobs`` for the contract. Equal prompts are computed once; equal calls give
        equal bits.

        Raises:
            InvalidValue: An empty prompt, an unknown token id, unusable continuations or top_k.
            TextTooLong: A prompt and its longest continuation exceed the context.
            NonFiniteOutput: The model answered NaN or infinity.
            UnknownName: No adapter of that name is loaded.
            OutOfMemory: Even a batch of one row does not fit.
        """
        trie = build_trie(continuations)
        self._check(prompts, trie, top_k)
        distinct: dict[TokenIds, list[int]] = {}
        for row, prompt in enumerate(prompts):
            distinct.setdefault(tuple(prompt), []).append(row)
        result = _empty(len(prompts), len(continuations), top_k)
        n_done = 0
        with self._lock, torch.inference_mode(), self._adapters.selected(adapter):
            version = None if adapter is None else self._adapters.digest(adapter)
            unique = list(distinct)
            run, batches = self._plan(unique, trie, top_k, version)
            for batch, answer in run_batches(batches, run):
                rows = [distinct[unique[index]] for index in batch]
                _fill(result, rows, answer)
                n_done += sum(len(same) for same in rows)
                if progress is not None:
                    progress(n_done, len(prompts))
        return result

    def load_adapter(self, folder: Path, *, name: str | None = None) -> str:
        """Return the name under which a LoRA adapter is now loaded (its digest by default).

        Raises:
            CorruptArtifact: The folder is no complete PEFT adapter.
            AdapterMismatch: It was made for another base model or does not fit its shapes.
            UnsupportedModel: It is not plain LoRA.
            ConflictError: Another adapter is loaded under that name.
        """
        with self._lock:
            return self._adapters.load(folder, name=name)

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
        """Return LoRA weights that lower a loss over continuation log-probabilities.

        See ``Engine.fit_adapter`` for the contract; the engine answers nobody else meanwhile.

        Raises:
            NotEnoughData: No training or validation examples.
            InvalidValue: A number of the recipe is outside its range.
            TextTooLong: A prompt and its longest continuation exceed the context.
            NonFiniteOutput: The loss became NaN or infinite.
            OutOfMemory: A batch did not fit.
            NoDiskSpace: The device is full.
            CorruptArtifact: The state in the folder is damaged.
        """
        trie = build_trie(continuations)

        def forward(prompts: Sequence[TokenIds]) -> Float[Tensor, "batch n_continuations"]:
            return continuation_logprobs(self._model, prompts, trie, path=self._path)

        task = FitTask(train, validation, trie.continuations, loss)
        with self._lock:
            return fit(self._adapters, forward, task, folder, recipe, progress=progress)

    def _check(self, prompts: Sequence[TokenIds], trie: TokenTrie, top_k: int) -> None:
        d_vocab = self._info.d_vocab
        if not 0 <= top_k <= d_vocab:
            raise InvalidValue("top_k", top_k, f"0 to {d_vocab}")
        limit = self._info.context - trie.depth
        for row, prompt in enumerate(prompts):
            if not prompt:
                raise InvalidValue(f"prompt {row}", prompt, "one or more token ids")
            if len(prompt) > limit:
                raise TextTooLong(len(prompt), limit, which=f"prompt {row}")
        for tokens in (*prompts, *trie.continuations):
            if min(tokens) < 0 or max(tokens) >= d_vocab:
                raise InvalidValue("token ids", tuple(tokens), f"each from 0 to {d_vocab - 1}")

    def _plan(
        self, prompts: list[TokenIds], trie: TokenTrie, top_k: int, version: str | None
    ) -> tuple[Callable[[list[int]], _Answer], list[list[int]]]:
        """Return what computes a batch of rows, and the batches."""
        n_reads = 1 + trie.n_nodes
        prefix: tuple[int, PrefixStates] | None = None
        if self._path == "packed":
            shared = common_prefix_length(prompts) if len(prompts) > 1 else 0
            n_prefix = shared if shared >= MIN_PREFIX_TOKENS else 0
            if n_prefix:
                tokens = prompts[0][:n_prefix]
                states = self.prefixes.get(
                    (version, tokens), lambda: prefix_states(self._model, tokens)
                )
                prefix = (n_prefix, states)
            else:
                prefix = (0, {})
            budget = Budget(self.batch_tokens, n_prefix, n_reads, self._info.d_vocab)
        else:
            # The plain path runs each row once for every node.
            budget = Budget(max(1, self.batch_tokens // n_reads), 0, n_reads, self._info.d_vocab)

        def run(rows: list[int]) -> _Answer:
            chosen = [prompts[row] for row in rows]
            logits = read_logits(self._model, chosen, trie, path=self._path, prefix=prefix)
            return _answer(logits, trie, top_k)

        return run, cut_batches([len(prompt) for prompt in prompts], budget)


def load_engine(
    spec: ModelSpec,
    *,
    batch_tokens: int | None = None,
    prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
    threads: int | None = None,
) -> ResidentEngine:
    """Return a model made resident; any Hugging Face causal language model by folder or name.

    Args:
        spec: Which model, and how.
        batch_tokens: Most tokens in one forward pass; None takes the device's default.
        prefix_cache_bytes: Memory for states of prompt prefixes; 0 keeps none.
        threads: CPU threads of torch in this process; None leaves them as they are.

    Raises:
        UnknownName: No such model here or on the hub.
        UnsupportedModel: Not a causal language model, or not on this machine.
        CorruptArtifact: A file of the model or adapter is damaged.
        AdapterMismatch: The adapter was made for another model.
        NonFiniteOutput: The model answers NaN or infinity.
        DependencyMissing: Quantised loading without bitsandbytes.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = load_model(spec)
    if loaded.model.device.type == "cpu":
        keep_freed_memory()
    engine = ResidentEngine(
        loaded, batch_tokens=batch_tokens, prefix_cache_bytes=prefix_cache_bytes
    )
    if spec.adapter is not None:
        engine.load_adapter(Path(spec.adapter), name=spec.adapter)
    return engine


def _answer(logits: Float[Tensor, "n n_reads d_vocab"], trie: TokenTrie, top_k: int) -> _Answer:
    values = path_logprobs(logits, trie)
    next_token = torch.log_softmax(logits[:, 0].float(), dim=-1)
    top = torch.topk(next_token, top_k, dim=-1)
    # A token of probability zero adds nothing to the entropy, where 0 · -inf would be NaN.
    entropy = -(next_token.exp() * next_token.clamp_min(-1e30)).sum(dim=-1)
    answer = _Answer(
        values.cpu().numpy(),
        top.indices.cpu().numpy(),
        top.values.cpu().numpy(),
        entropy.cpu().numpy(),
    )
    if not (np.isfinite(answer.values).all() and np.isfinite(answer.entropy).all()):
        raise NonFiniteOutput(
            "The model answered NaN or infinity. Its weights are damaged, or its number format "
            "overflows: try dtype='float32'."
        )
    return answer


def _empty(n: int, n_continuations: int, top_k: int) -> Logprobs:
    return Logprobs(
        values=np.zeros((n, n_continuations), dtype=np.float32),
        top_ids=np.zeros((n, top_k), dtype=np.int64),
        top_logprobs=np.zeros((n, top_k), dtype=np.float32),
        entropy=np.zeros(n, dtype=np.float32),
    )


def _fill(result: Logprobs, rows: list[list[int]], answer: _Answer) -> None:
    for index, same in enumerate(rows):
        result.values[same] = answer.values[index]
        result.top_ids[same] = answer.top_ids[index]
        result.top_logprobs[same] = answer.top_logprobs[index]
        result.entropy[same] = answer.entropy[index]
