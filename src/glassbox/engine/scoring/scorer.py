"""Log-probabilities of continuations after many prompts: equal prompts once, batches by budget.

Takes the turn at the model for one batch at a time, so that the running batch and others get in
between. Knows token ids and tries; knows nothing of labels, files of data or HTTP.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from glassbox.engine.layout.batches import Budget, cut_batches, run_batches
from glassbox.engine.layout.packing import common_prefix_length
from glassbox.engine.layout.trie import TokenTrie, build_trie
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.model.distributions import entropy, require_finite
from glassbox.engine.model.turns import Turns
from glassbox.engine.protocol import EngineInfo, Logprobs
from glassbox.engine.scoring.forward import (
    PrefixStates,
    path_logprobs,
    prefix_states,
    read_logits,
)
from glassbox.engine.scoring.prefix_cache import PrefixCache
from glassbox.errors import InvalidValue, TextTooLong
from glassbox.progress import Progress
from glassbox.types import TokenIds

MIN_PREFIX_TOKENS = 8
"""A shared prefix below this is cheaper to repeat than to compute apart."""


class Scorer:
    """Answers ``Engine.logprobs``.

    Args:
        model: The library's model.
        info: What is resident.
        bank: Its adapters.
        turns: Who may use the model.
        prefixes: States of prompt prefixes.
        batch_tokens: Most tokens in one forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        info: EngineInfo,
        bank: AdapterBank,
        turns: Turns,
        *,
        prefixes: PrefixCache,
        batch_tokens: int,
    ) -> None:
        self._model = model
        self._info = info
        self._path = info.scoring_path
        self._bank = bank
        self._turns = turns
        self._prefixes = prefixes
        self._batch_tokens = batch_tokens

    def logprobs(
        self,
        prompts: Sequence[TokenIds],
        continuations: Sequence[TokenIds],
        *,
        top_k: int,
        adapter: str | None,
        progress: Progress | None,
    ) -> Logprobs:
        """Return log-probabilities of each continuation after each prompt.

        Raises:
            GlassboxError: As ``Engine.logprobs``.
        """
        trie = build_trie(continuations)
        self._check(prompts, trie, top_k)
        distinct: dict[TokenIds, list[int]] = {}
        for row, prompt in enumerate(prompts):
            distinct.setdefault(tuple(prompt), []).append(row)
        result = _empty(len(prompts), len(continuations), top_k)
        n_done = 0
        with self._bank.leased(adapter) as lease, torch.inference_mode():
            unique = list(distinct)
            compute, batches = self._plan(unique, trie, top_k, lease.digest)

            def run(rows: list[int]) -> Logprobs:
                with self._turns, self._bank.applying_all(lease.slot):
                    return compute(rows)

            for batch, answer in run_batches(batches, run):
                rows = [distinct[unique[index]] for index in batch]
                _fill(result, rows, answer)
                n_done += sum(len(same) for same in rows)
                if progress is not None:
                    progress(n_done, len(prompts))
        return result

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
    ) -> tuple[Callable[[list[int]], Logprobs], list[list[int]]]:
        """Return what computes a batch of rows, and the batches."""
        n_reads = 1 + trie.n_nodes
        packed, n_prefix = self._path == "packed", 0
        if packed:
            shared = common_prefix_length(prompts) if len(prompts) > 1 else 0
            n_prefix = shared if shared >= MIN_PREFIX_TOKENS else 0
            budget = Budget(self._batch_tokens, n_prefix, n_reads, self._info.d_vocab)
        else:
            # The plain path runs each row once for every node.
            budget = Budget(max(1, self._batch_tokens // n_reads), 0, n_reads, self._info.d_vocab)

        known: PrefixStates | None = None

        def run(rows: list[int]) -> Logprobs:
            nonlocal known
            if known is None:
                known = self._prefix(prompts[0][:n_prefix], version)
            chosen = [prompts[row] for row in rows]
            prefix = (n_prefix, known) if packed else None
            logits = read_logits(self._model, chosen, trie, path=self._path, prefix=prefix)
            return _answer(logits, trie, top_k)

        return run, cut_batches([len(prompt) for prompt in prompts], budget)

    def _prefix(self, tokens: TokenIds, version: str | None) -> PrefixStates:
        if not tokens:
            return {}
        return self._prefixes.get((version, tokens), lambda: prefix_states(self._model, tokens))


def _answer(logits: Float[Tensor, "n n_reads d_vocab"], trie: TokenTrie, top_k: int) -> Logprobs:
    """Return what one batch says, on the host."""
    values = path_logprobs(logits, trie)
    next_token = torch.log_softmax(logits[:, 0].float(), dim=-1)
    top = torch.topk(next_token, top_k, dim=-1)
    answer = Logprobs(
        values=values.cpu().numpy(),
        top_ids=top.indices.cpu().numpy(),
        top_logprobs=top.values.cpu().numpy(),
        entropy=entropy(next_token).cpu().numpy(),
    )
    require_finite(answer.values, answer.entropy)
    return answer


def _empty(n: int, n_continuations: int, top_k: int) -> Logprobs:
    return Logprobs(
        values=np.zeros((n, n_continuations), dtype=np.float32),
        top_ids=np.zeros((n, top_k), dtype=np.int64),
        top_logprobs=np.zeros((n, top_k), dtype=np.float32),
        entropy=np.zeros(n, dtype=np.float32),
    )


def _fill(result: Logprobs, rows: list[list[int]], answer: Logprobs) -> None:
    for index, same in enumerate(rows):
        result.values[same] = answer.values[index]
        result.top_ids[same] = answer.top_ids[index]
        result.top_logprobs[same] = answer.top_logprobs[index]
        result.entropy[same] = answer.entropy[index]
