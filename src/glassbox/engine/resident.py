"""The resident model: one loaded model that scores, writes and shows its states.

Puts the pieces together: scoring, the running batch, adapters, fitting, and whose turn it is.
Knows token ids and continuations; knows nothing of labels, files of data or HTTP.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from glassbox.engine.batching.answering import Answering, Capacity
from glassbox.engine.batching.loans import Loans
from glassbox.engine.batching.ticket import FutureTicket
from glassbox.engine.layout.trie import build_trie
from glassbox.engine.lens import LensRequest, LogitLens
from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.object_store import is_url
from glassbox.engine.lora.weights import BaseModel
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.devices import dtype_name, keep_freed_memory
from glassbox.engine.model.finding import find_adapter
from glassbox.engine.model.lending import Lending
from glassbox.engine.model.load import LoadedModel, load_model, moved
from glassbox.engine.model.turns import Turns
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
from glassbox.engine.scoring.choose_path import choose_path
from glassbox.engine.scoring.forward import continuation_logprobs
from glassbox.engine.scoring.prefix_cache import PrefixCache
from glassbox.engine.scoring.scorer import Scorer
from glassbox.engine.states.logit_lens import read_lens
from glassbox.errors import InvalidValue
from glassbox.progress import Progress
from glassbox.types import ModelSpec, TokenIds

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768, "mps": 8192}
"""Tokens in one forward pass, by device.

Source: benchmarks/scoring.py for the CPU, where 1,024 to 4,096 are within 2 %; others are guesses.
"""

PREFIX_CACHE_BYTES = 256 * 2**20

FIT_LEASE_S = 60.0
"""Seconds of a fit after which requests that wait are told to come back later."""


class ResidentEngine:
    """A model that stays in memory and answers many requests at once, from any thread.

    Args:
        loaded: The model; the engine is its only user from here on.
        batch_tokens: Most tokens in one forward pass; None takes the device's default.
        prefix_cache_bytes: Memory for states of prompt prefixes; 0 keeps none.
        capacity: How many requests may be under way, and in how much memory; None takes defaults.
        adapters: How much room adapters may take, and where from; None takes defaults.

    Raises:
        NonFiniteOutput: The model answers NaN or infinity.
        UnsupportedModel: What is read off the model's layers is not what the library shows.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_tokens: int | None = None,
        prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
        capacity: Capacity | None = None,
        adapters: AdapterPlaces | None = None,
    ) -> None:
        model = loaded.model
        if batch_tokens is not None and batch_tokens < 1:
            raise InvalidValue("batch_tokens", batch_tokens, "1 or more tokens")
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(model.device.type, 2048)
        self.prefixes = PrefixCache(prefix_cache_bytes)
        self._model = model
        self._turns = Turns()
        self._codec = TokenizerCodec(loaded.tokenizer)
        path, obstacle = choose_path(model, loaded.context)
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
        self._bank = AdapterBank(
            BaseModel(
                model=model,
                tokenizer=loaded.tokenizer,
                name=loaded.name,
                digest=loaded.digest,
                context=loaded.context,
                n_parameters=n_parameters,
            ),
            adapters,
        )
        self._scorer = Scorer(
            model, self._info, self._bank, self._turns,
            prefixes=self.prefixes, batch_tokens=self.batch_tokens,
        )  # fmt: skip
        self._answering = Answering(
            model, self._info, self._codec, self._bank, self._turns,
            step_tokens=self.batch_tokens, capacity=capacity or Capacity(),
        )  # fmt: skip
        self._loans = Loans(
            Lending(model, loaded.tokenizer), self._answering.worker, self._turns, self._bank
        )
        self._info = replace(
            self._info,
            states=self._answering.taps is not None,
            remark=_remark(obstacle, self._answering.alone_because),
        )

    def submit(self, request: Request, listen: Listener | None = None) -> FutureTicket:
        """Return a ticket for a request that joins the running batch; see ``Engine.submit``."""
        return self._answering.submit(request, listen)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the answers to some requests, in their order; see ``Engine.generate``."""
        return self._answering.generate(requests)

    @property
    def n_running(self) -> int:
        """Requests that are being answered."""
        return self._answering.worker.n_running

    @property
    def failure(self) -> str:
        """Why requests are not answered any more, as words for people; empty while they are."""
        return self._answering.worker.failure

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return not self.failure

    @property
    def n_waiting(self) -> int:
        """Requests that wait for a place in the batch."""
        return self._answering.worker.n_waiting

    @property
    def most_waiting(self) -> int:
        """Requests that may wait; see ``Engine.most_waiting``."""
        return self._answering.worker.most_waiting

    def close(self) -> None:
        """End all requests as cancelled and give the memory back; idempotent."""
        self._answering.close()
        self.forget_prompts()
        with self._turns:
            self._bank.close()

    def forget_prompts(self) -> None:
        """Drop the states of prompts that were kept in case they come again."""
        with self._turns:
            self.prefixes.clear()
            self._answering.cache.clear()

    def lend(self, *, lease_s: float, adapter: str | None = None) -> AbstractContextManager[Lent]:
        """Lend the model and tokenizer for exclusive use inside the block.

        Args:
            lease_s: Seconds after which waiting requests are told to come back later.
            adapter: Name of a loaded adapter that is part of the model meanwhile.

        Raises:
            DeadlineExceeded: The model did not become free within the lease.
            UnknownName: No adapter of that name is loaded.
            ConflictError: Weights were changed that cannot be put back; the engine is closed then.
        """
        return self._loans.lend(lease_s=lease_s, adapter=adapter)

    @property
    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters that requests may name, sorted by name."""
        return self._bank.infos()

    def unload_adapter(self, name: str, *, timeout_s: float | None = None) -> bool:
        """Return whether an adapter's memory is free; new requests cannot name it from now on.

        Args:
            name: Its name, or its digest, which takes all its names away.
            timeout_s: How long to wait for the requests that use it; None as long as it takes.

        Raises:
            UnknownName: No adapter of that name is loaded.
        """
        return self._bank.unregister(name, timeout_s=timeout_s)

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
            ConflictError: The model came back changed from a loan.
        """
        answer = self._scorer.logprobs(
            prompts, continuations, top_k=top_k, adapter=adapter, progress=progress
        )
        # Only now: the model may have been lent between two batches.
        self._loans.require_unharmed()
        return answer

    def lens(self, request: LensRequest) -> LogitLens:
        """Return the logit lens at some positions, between two steps; see ``LensEngine.lens``.

        Raises:
            GlassboxError: As ``LensEngine.lens``.
        """
        request.check(self._info)
        with (
            self._bank.leased(request.adapter) as lease,
            self._turns,
            self._bank.applying_all(lease.slot),
        ):
            self._loans.require_unharmed()
            return replace(read_lens(self._model, request), adapter_digest=lease.digest)

    def load_adapter(self, folder: Path | str, *, name: str | None = None) -> str:
        """Return the name under which a LoRA adapter is now loaded (its digest by default).

        Args:
            folder: Where it is, or its address in an object store.
            name: How requests call it.

        Raises:
            UnknownName: There is no such folder.
            CorruptArtifact: The folder is no complete PEFT adapter.
            AdapterMismatch: It was made for another base model or does not fit its shapes.
            UnsupportedModel: It is not plain LoRA.
            ConflictError: Another adapter is loaded under that name.
            OutOfMemory: It is larger than all adapters together may be.
        """
        return self._bank.register(folder, name).name

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
            ConflictError: The engine was closed meanwhile.
        """
        from glassbox.engine.fitting.fit import FitTask, fit  # PEFT takes its time to import.

        trie, worker = build_trie(continuations), self._answering.worker

        def forward(prompts: Sequence[TokenIds]) -> Float[Tensor, "batch n_continuations"]:
            return continuation_logprobs(self._model, prompts, trie, path=self._path)

        def watched(point: FitPoint | None, done: int, n: int) -> None:
            if progress is not None:
                progress(point, done, n)
            # Whoever closes the engine does not wait for the rest; the folder keeps what is done.
            worker.require_open()

        task = FitTask(train, validation, trie.continuations, loss)
        # Nobody is left in the middle, and those who wait are told to come back later.
        with worker.held(FIT_LEASE_S, patient=True), self._turns:
            self._loans.require_unharmed()
            try:
                return fit(self._bank.base, forward, task, folder, recipe, progress=watched)
            finally:
                self._loans.forget()


def _remark(obstacle: str, alone_because: str) -> str:
    """Return what slows a model down, as a sentence.

    Args:
        obstacle: What keeps it from packed scoring, and from a running batch then too.
        alone_because: What keeps it from a running batch.
    """
    if obstacle:
        return (
            "Its texts are scored in padded batches and its requests answered one at a time, "
            f"which is slower: {obstacle}."
        )
    return alone_because and (
        f"Its requests are answered one at a time, which is slower: {alone_because}."
    )


def load_engine(
    spec: ModelSpec,
    *,
    batch_tokens: int | None = None,
    prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
    threads: int | None = None,
    capacity: Capacity | None = None,
    adapters: AdapterPlaces | None = None,
    loaded: LoadedModel | None = None,
) -> ResidentEngine:
    """Return a model made resident; any Hugging Face causal language model by folder or name.

    Args:
        spec: Which model, and how.
        batch_tokens: Most tokens in one forward pass; None takes the device's default.
        prefix_cache_bytes: Memory for states of prompt prefixes; 0 keeps none.
        threads: CPU threads of torch in this process; None leaves them as they are.
        capacity: How many requests may be under way, and in how much memory; None takes defaults.
        adapters: How much room adapters may take, and where from; None takes defaults.
        loaded: The same model, in memory already; it is moved to the device.

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
    loaded = load_model(spec) if loaded is None else moved(loaded, spec.device)
    if loaded.model.device.type == "cpu":
        keep_freed_memory()
    engine = ResidentEngine(
        loaded,
        batch_tokens=batch_tokens,
        prefix_cache_bytes=prefix_cache_bytes,
        capacity=capacity,
        adapters=adapters,
    )
    if spec.adapter is not None:
        source = spec.adapter if is_url(spec.adapter) else find_adapter(spec.adapter)
        engine.load_adapter(source, name=spec.adapter)
    return engine
