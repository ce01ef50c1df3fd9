"""Tuning for labels: the loss, and a forecast of what tuning and inference will take.

The loss sees log-probabilities of the verbalisers after the prompt and nothing else, so no other
token of a text is trained. A class is the union of its verbalisers, made disjoint where one is the
beginning of another, exactly as in inference. Knows nothing of files, splits or LoRA.
"""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch.nn.functional import cross_entropy

from glassbox.confidence.verbalisers import SMALLEST_REMAINDER
from glassbox.engine.protocol import (
    AdapterRecipe,
    ContinuationLoss,
    Engine,
    EngineInfo,
    Example,
)
from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.types import TokenIds

_LEAST_GAP = -math.log1p(-SMALLEST_REMAINDER)
"""The same remainder as in inference, as a difference of logs."""

ACTIVATION_WIDTHS = 32
"""Float32 numbers kept for the backward pass, per token and layer, in units of ``d_model``.
Measured on a Llama with feed-forward 2.75 x d_model and LoRA on every linear layer, dropout on."""

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "8bit": 1, "4bit": 0.5}

_LORA_BYTES = 4 * 6
"""Bytes per trained parameter: float32 weight, gradient, AdamW's two moments, the copies of the
current and the best weights."""


RANKS = (8, 16, 32, 64)
"""Ranks to choose from: below 8 tuning is hampered, above 64 it is slow and rarely better."""

TRAINABLE_FRACTION = 0.02
"""Share of the parameters that the default rank is to train."""

_FRACTION_PER_RANK = 1.34
"""Share of a model's parameters that one rank trains, times ``d_model``, with LoRA on every
attention and feed-forward layer: 0.26 % at rank 8 for a Llama of 8 billion and d_model 4,096."""


def default_rank(d_model: int) -> int:
    """Return the LoRA rank that trains about 2 % of the parameters, from 8 to 64.

    Example:
        >>> [default_rank(width) for width in (128, 1024, 2048, 4096)]
        [8, 16, 32, 64]
    """
    wanted = TRAINABLE_FRACTION * d_model / _FRACTION_PER_RANK
    return min(RANKS, key=lambda rank: abs(math.log(rank / wanted)))


@dataclass(frozen=True)
class LabelLoss:
    """Mean loss of a batch: cross-entropy over the classes, and a little for being on task.

    ``loss = CE(softmax over classes, target) - vocabulary_weight * log P(target's class)``, where
    ``P`` counts the whole vocabulary. The first term alone would let all labels become improbable
    together; the second keeps the label mass high.

    Source: Szegedy et al. 2016, section 7, for the smoothing, here over the classes only.
    """

    groups: tuple[tuple[int, ...], ...]
    """Indices of the continuations of each class."""
    nested: tuple[tuple[int, tuple[int, ...]], ...]
    """For a continuation, those maximal deeper ones that begin with it."""
    vocabulary_weight: float
    """Weight of the full-vocabulary term, at least 0."""
    smoothing: float
    """Share of the target spread evenly over the classes, [0, 1)."""

    def __call__(
        self,
        logprobs: Float[torch.Tensor, "batch n_continuations"],
        targets: Int[torch.Tensor, " batch"],
    ) -> torch.Tensor:
        """Return the differentiable mean loss in nats; targets are class indices."""
        classes = self.class_logprobs(logprobs)
        on_labels = cross_entropy(classes, targets, label_smoothing=self.smoothing)
        of_target = classes.gather(1, targets[:, None]).squeeze(1)
        return on_labels - self.vocabulary_weight * of_target.mean()

    def class_logprobs(
        self, logprobs: Float[torch.Tensor, "batch n_continuations"]
    ) -> Float[torch.Tensor, "batch n_classes"]:
        """Return the log of each class's probability among everything that could follow."""
        logprobs = logprobs.float()
        if self.nested:
            columns = list(logprobs.unbind(dim=1))
            for index, deeper in self.nested:
                columns[index] = _without(logprobs[:, index], logprobs[:, list(deeper)])
            logprobs = torch.stack(columns, dim=1)
        return torch.stack(
            [logprobs[:, list(group)].logsumexp(dim=1) for group in self.groups], dim=1
        )


def label_loss(
    groups: Sequence[Sequence[int]],
    nested: Mapping[int, Sequence[int]],
    *,
    vocabulary_weight: float = 0.1,
    smoothing: float = 0.0,
) -> LabelLoss:
    """Return the loss of a label set; hand it to ``Engine.fit_adapter`` with class indices.

    Args:
        groups: Indices of the continuations of each class.
        nested: For a continuation that begins others, the maximal deeper ones.
        vocabulary_weight: Weight of the full-vocabulary term, at least 0.
        smoothing: Label smoothing over the classes, [0, 1).

    Raises:
        InvalidValue: A weight outside its range, or fewer than two classes.
    """
    if len(groups) < 2 or not all(groups):
        raise InvalidValue("groups", groups, "at least two classes with a continuation each")
    if not 0.0 <= vocabulary_weight < math.inf:
        raise InvalidValue("vocabulary_weight", vocabulary_weight, "a number of at least 0")
    if not 0.0 <= smoothing < 1.0:
        raise InvalidValue("smoothing", smoothing, "a fraction in [0, 1)")
    return LabelLoss(
        groups=tuple(tuple(group) for group in groups),
        nested=tuple((index, tuple(deeper)) for index, deeper in sorted(nested.items()) if deeper),
        vocabulary_weight=vocabulary_weight,
        smoothing=smoothing,
    )


@dataclass(frozen=True)
class Probe:
    """What one batch took when it was tried."""

    step_s: float
    """One step of the optimiser, seconds."""
    step_tokens: int
    """Prompt tokens in that step."""
    inference_s: float
    """Answering the same prompts, seconds."""
    n_trainable: int
    """Parameters trained."""


@dataclass(frozen=True)
class Forecast:
    """What tuning and inference are expected to take."""

    tuning_memory_bytes: int
    """Weights, LoRA with AdamW, and the activations of one batch."""
    tuning_seconds: float
    """All epochs and validations; early stopping makes it less."""
    inference_memory_bytes: int
    """Weights and the activations of one batch without a backward pass."""
    inference_seconds: float
    """Answering the rows to be evaluated."""
    trainable_fraction: float
    """Trained parameters among all, adapter included, [0, 1]."""


@dataclass(frozen=True)
class Workload:
    """How much there is to do."""

    n_train: int
    """Examples to learn from."""
    n_validation: int
    """Examples for early stopping."""
    n_inference: int
    """Rows to be evaluated afterwards."""
    tokens: float
    """Mean prompt length."""


def probe(
    engine: Engine,
    examples: Sequence[Example],
    continuations: Sequence[TokenIds],
    loss: ContinuationLoss,
    recipe: AdapterRecipe,
) -> Probe:
    """Return the measured time of one training step and of answering as many prompts.

    Two steps are run in a folder that is thrown away, and the second is timed. Nothing of it stays
    in the engine.

    Raises:
        NotEnoughData: Fewer examples than two steps take.
        OutOfMemory: A batch of this recipe does not fit: better known before than after an hour.
    """
    size = recipe.batch_size * recipe.accumulation
    if len(examples) < 2:
        raise NotEnoughData("Trying out one batch", len(examples), 2)
    size = min(size, len(examples) // 2)
    trial = AdapterRecipe(
        rank=recipe.rank,
        alpha=recipe.alpha,
        dropout=recipe.dropout,
        learning_rate=recipe.learning_rate,
        epochs=1,
        batch_size=min(recipe.batch_size, size),
        accumulation=recipe.accumulation,
        patience=2,
        validations_per_epoch=2,
        seed=recipe.seed,
    )
    with tempfile.TemporaryDirectory(prefix="glassbox-probe-") as folder:
        fitted = engine.fit_adapter(
            examples[: 2 * size], examples[:1], continuations, loss, Path(folder), trial
        )
    first, last = fitted.curve[0], fitted.curve[-1]
    prompts = [example.prompt for example in examples[: 2 * size]]
    engine.logprobs(prompts[size:], continuations)
    started = time.perf_counter()
    engine.logprobs(prompts[:size], continuations)
    inference_s = time.perf_counter() - started
    return Probe(
        step_s=(last.seconds - first.seconds) / max(1, last.step - first.step),
        step_tokens=sum(map(len, prompts)) // 2,
        inference_s=inference_s,
        n_trainable=fitted.n_trainable,
    )


def forecast(
    info: EngineInfo, measured: Probe, workload: Workload, recipe: AdapterRecipe
) -> Forecast:
    """Return the time and memory that tuning and inference are expected to take.

    Time is the measured step, scaled by tokens. Memory is added up from sizes: weights in their
    number format, LoRA with gradient and AdamW in float32, and activations per token and layer
    (``ACTIVATION_WIDTHS`` times ``d_model``, a figure of Llama-like models: expect a third more or
    less elsewhere). The allocator's own overhead is not in it.

    Args:
        info: The resident model.
        measured: From ``probe``.
        workload: Numbers of rows and their mean length.
        recipe: Sizes and epochs.
    """
    train_tokens = workload.n_train * workload.tokens * recipe.epochs
    n_validations = recipe.epochs * recipe.validations_per_epoch
    validation_tokens = workload.n_validation * workload.tokens * n_validations
    step_s_per_token = measured.step_s / measured.step_tokens
    inference_s_per_token = measured.inference_s / measured.step_tokens
    weights = info.n_parameters * _DTYPE_BYTES.get(info.dtype, 4)
    batch_tokens = recipe.batch_size * workload.tokens
    per_layer = batch_tokens * ACTIVATION_WIDTHS * info.d_model * 4
    # Logits, their log-softmax and its gradient, at the one position that is read per row.
    logits = recipe.batch_size * info.d_vocab * 4 * 3
    lora = measured.n_trainable * _LORA_BYTES
    return Forecast(
        tuning_memory_bytes=round(weights + lora + per_layer * info.n_layers + logits),
        tuning_seconds=train_tokens * step_s_per_token + validation_tokens * inference_s_per_token,
        inference_memory_bytes=round(weights + per_layer + logits),
        inference_seconds=workload.n_inference * workload.tokens * inference_s_per_token,
        trainable_fraction=measured.n_trainable / (info.n_parameters + measured.n_trainable),
    )


def _without(
    event: Float[torch.Tensor, " batch"], deeper: Float[torch.Tensor, "batch n_deeper"]
) -> Float[torch.Tensor, " batch"]:
    """Return log(P(event) - sum of P(deeper)) without cancellation near either end."""
    gap = (deeper.logsumexp(dim=1) - event).clamp(max=-_LEAST_GAP)
    # log(1 - exp(gap)): each form is exact where the other loses digits (Maechler 2012, eq. 7).
    close = gap > -math.log(2.0)
    safe_near = torch.where(close, gap, torch.full_like(gap, -1.0))
    safe_far = torch.where(close, torch.full_like(gap, -1.0), gap)
    remaining = torch.where(
        close, torch.log(-torch.expm1(safe_near)), torch.log1p(-torch.exp(safe_far))
    )
    return event + remaining
