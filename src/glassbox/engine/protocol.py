"""What a resident model can be asked, and the values it answers with.

The rooms above depend on this file alone, and it needs no torch: finished runs are read without.
The real engine and ``testing.FakeEngine`` both satisfy it under one contract suite. Nothing here
knows labels, files or HTTP.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from glassbox.engine.requests import AdapterInfo, Generation, Listener, Request, Ticket
from glassbox.engine.text_codec import TextCodec
from glassbox.progress import Progress
from glassbox.types import TokenIds

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

if TYPE_CHECKING:
    ContinuationLoss = Callable[
        [Float[torch.Tensor, "batch n_continuations"], Int[torch.Tensor, " batch"]], torch.Tensor
    ]
else:
    ContinuationLoss = Callable[[Any, Any], Any]
"""Differentiable mean loss of a batch from continuation log-probabilities (nats) and targets."""

ScoringPath = Literal["packed", "plain"]
"""How prompts are scored: a ragged batch with a shared prefix, or the library's padded batch."""


@dataclass(frozen=True)
class EngineInfo:
    """What is resident, in words and sizes."""

    name: str
    """The name or folder it was loaded from."""
    digest: str
    """SHA-256 over configuration, weights and tokenizer (hex); the identity used by caches."""
    architecture: str
    """Class name of the model."""
    n_parameters: int
    """Parameters in all."""
    n_layers: int
    """Blocks."""
    d_model: int
    """Width of the residual stream."""
    d_vocab: int
    """Size of the vocabulary."""
    context: int
    """Most tokens of prompt and continuation together."""
    dtype: str
    """Number format of the weights in use."""
    device: str
    """Where the weights are."""
    scoring_path: ScoringPath
    """Which of the two ways scoring takes."""
    states: bool = True
    """Whether hidden states can be captured: the model's layers are known by name."""
    remark: str = ""
    """What in the model makes it slower than others of its size, as a sentence; empty if nothing
    does."""


@dataclass(frozen=True, eq=False)
class Lent:
    """The model and tokenizer for exclusive use, while they are lent."""

    model: "PreTrainedModel"
    """In evaluation mode, on its device; passes with ``output_attentions=True`` attend openly."""
    tokenizer: "PreTrainedTokenizerBase"
    """As loaded."""
    undo: Callable[[], tuple[str, ...]]
    """Puts back now whatever was changed, on the thread that borrowed, and returns it in words."""
    resume: Callable[[], None]
    """Takes random state and torch's settings as they are now for what is to be put back: between
    two uses they are the whole process's, and whatever others did to them stays."""
    is_wanted: Callable[[], bool]
    """Whether somebody waits for the model meanwhile."""
    leftovers: list[str]
    """What was put back at the end of the lease, filled in then; every weight is looked at there
    for changes behind torch's back."""


@dataclass(frozen=True)
class Logprobs:
    """Log-probabilities of the same continuations after each prompt."""

    values: Float[np.ndarray, "n n_continuations"]
    """Natural log of P(continuation | prompt), float32, in the order they were given."""
    top_ids: Int[np.ndarray, "n top_k"]
    """Most probable next tokens, best first; width 0 when not asked for."""
    top_logprobs: Float[np.ndarray, "n top_k"]
    """Their natural log-probabilities."""
    entropy: Float[np.ndarray, " n"]
    """Entropy of the next-token distribution over the whole vocabulary, nats."""


@dataclass(frozen=True)
class AdapterRecipe:
    """How LoRA weights are fitted; defaults are those of the main job."""

    rank: int = 8
    """Rank of each update."""
    alpha: int = 16
    """Scale numerator: updates are multiplied by alpha / rank."""
    dropout: float = 0.05
    """Dropout on the adapter's input, [0, 1)."""
    learning_rate: float = 1e-3
    """Peak of the schedule (linear warm-up, cosine decay)."""
    epochs: int = 3
    """Passes over the training examples."""
    batch_size: int = 32
    """Examples in one forward pass."""
    accumulation: int = 1
    """Forward passes to one step of the optimiser."""
    patience: int = 2
    """Validations without improvement before it stops early."""
    validations_per_epoch: int = 2
    """How often the validation loss is measured in an epoch."""
    seed: int = 0
    """Order of examples, dropout and initial weights."""


@dataclass(frozen=True)
class Example:
    """One prompt and the index of what should follow."""

    prompt: TokenIds
    """The whole prompt."""
    target: int
    """Handed to the loss as it is: the loss knows what it indexes."""


@dataclass(frozen=True)
class FitPoint:
    """One line of a training curve."""

    step: int
    """Steps of the optimiser so far."""
    epoch: float
    """Passes over the data so far."""
    train_loss: float
    """Mean loss since the previous point."""
    validation_loss: float
    """Mean loss on the validation examples."""
    learning_rate: float
    """Rate at this step."""
    seconds: float
    """Time since the start of the fit, resumed parts included."""


@dataclass(frozen=True)
class AdapterFit:
    """What a fit leaves behind."""

    folder: Path
    """Adapter folder with the best weights (PEFT's layout) and the tokenizer."""
    digest: str
    """SHA-256 over the adapter's configuration and weights (hex)."""
    curve: tuple[FitPoint, ...]
    """The training curve."""
    best_step: int
    """Step whose weights were kept: lowest validation loss."""
    n_trainable: int
    """Parameters trained."""
    n_parameters: int
    """Parameters in all, adapter included."""


@runtime_checkable
class Engine(Protocol):
    """A resident model with its internals open."""

    @property
    def info(self) -> EngineInfo:
        """What is resident."""
        ...

    @property
    def codec(self) -> TextCodec:
        """The resident model's tokenizer."""
        ...

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

        One forward pass a batch: the prompts' common prefix is computed once and kept, the
        continuations share a token trie, and logits exist only at the positions that are read.

        Args:
            prompts: Non-empty prompts; any order and lengths.
            continuations: Distinct, non-empty; may share tokens or be prefixes of one another.
            top_k: How many of the most probable next tokens to return beside them.
            adapter: Name of a loaded adapter; None is the base model, bit for bit.
            progress: Called as rows are finished.

        Raises:
            TextTooLong: A prompt and its longest continuation exceed the context.
            NonFiniteOutput: The model answered NaN or infinity.
            UnknownName: No adapter of that name is loaded.
            OutOfMemory: Even a batch of one row does not fit.
        """
        ...

    def submit(self, request: Request, listen: Listener | None = None) -> Ticket:
        """Return a ticket for a request that joins the running batch as soon as there is room.

        Greedy answers do not depend on who else is in the batch. Thread-safe.

        Args:
            request: What to write, or what to read.
            listen: Called with each piece of a written response, on the engine's thread.

        Raises:
            InvalidValue: An empty prompt, an unknown token id, a readout of the wrong width, a
                capture that would show a hidden system prompt.
            InvalidHookPoint: A layer or site that the model does not have.
            UnsupportedModel: States were asked of a model whose layers are not known by name.
            TextTooLong: Prompt and response (or one new token) exceed the context.
            UnknownName: No adapter of that name or digest is loaded.
            CorruptArtifact: The adapter's files have been damaged since it was loaded.
            QueueFull: Too many requests wait already.
        """
        ...

    @property
    def most_waiting(self) -> int:
        """Requests that may wait at a time; of more than that at once, some are always refused."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """Return the answers to some requests, in their order; they share the running batch.

        All are waited for however many there are: the queue's bound is for ``submit``.

        Raises:
            GlassboxError: As ``submit`` and ``Ticket.result``; the first one ends the others.
        """
        ...

    def lend(self, *, lease_s: float, adapter: str | None = None) -> AbstractContextManager[Lent]:
        """Lend the model and tokenizer for exclusive use inside the block.

        Waits for what is running, holds new requests back meanwhile, and undoes side effects
        afterwards, or by ``Lent.undo`` as often as wanted: hooks, modes, gradients, attributes,
        configurations, weights, the tokenizer, random state and torch's settings.

        Args:
            lease_s: Seconds after which waiting requests are told to come back later.
            adapter: Name of a loaded adapter that is part of the model meanwhile.

        Raises:
            DeadlineExceeded: The model did not become free within the lease.
            UnknownName: No adapter of that name is loaded.
            ConflictError: Weights were changed that cannot be put back; the engine is closed then.
        """
        ...

    @property
    def adapters(self) -> tuple[AdapterInfo, ...]:
        """The adapters that requests may name, sorted by name."""
        ...

    def unload_adapter(self, name: str, *, timeout_s: float | None = None) -> bool:
        """Return whether an adapter's memory is free; new requests cannot name it from now on.

        Args:
            name: Its name, or its digest, which takes all its names away.
            timeout_s: How long to wait for the requests that use it, which finish with it; None as
                long as it takes.

        Raises:
            UnknownName: No adapter of that name or digest is loaded.
        """
        ...

    def close(self) -> None:
        """End all requests as ``cancelled`` and give the memory back; idempotent."""
        ...

    def load_adapter(self, folder: Path | str, *, name: str | None = None) -> str:
        """Return the name under which a LoRA adapter is now loaded (its digest by default).

        Args:
            folder: Where it is, or its address in an object store (``s3://bucket/prefix``).
            name: How requests call it.

        Raises:
            UnknownName: There is no such folder.
            CorruptArtifact: The folder is no complete PEFT adapter.
            AdapterMismatch: It was made for another base model or does not fit its shapes.
            ConflictError: Another adapter is loaded under that name.
            OutOfMemory: It is larger than all adapters together may be.
        """
        ...

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

        The forward pass is the one of ``logprobs``, so training sees what inference sees. The
        folder holds a resumable state while the fit runs; calling again after a kill goes on
        from the last validation and gives the same weights.

        Args:
            train: Examples to learn from.
            validation: Examples for early stopping.
            continuations: As for ``logprobs``.
            loss: Mean loss of a batch.
            folder: Where the adapter is written; existing state of the same fit is resumed.
            recipe: Sizes and rates.
            progress: Called with (point or None, steps done, steps in all).

        Raises:
            NotEnoughData: No training or validation examples.
            NonFiniteOutput: The loss became NaN or infinite.
            OutOfMemory: A batch did not fit.
        """
        ...
