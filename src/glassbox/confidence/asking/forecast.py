"""What tuning and asking will take in time and memory, told before they start.

A batch is tried and timed, sizes are added up. Knows nothing of files, splits or LoRA.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glassbox.confidence.asking.scoring import LabelModel
from glassbox.engine.layout.packing import common_prefix_length, pack_rows
from glassbox.engine.layout.trie import build_trie
from glassbox.engine.protocol import AdapterRecipe, ContinuationLoss, Engine, EngineInfo, Example
from glassbox.errors import NotEnoughData
from glassbox.types import TokenIds
from glassbox.wording import percent

TRIED_TEXTS = 32
"""Texts that are asked before the others to see how long they take."""

ACTIVATION_WIDTHS = 32
"""Float32 numbers kept for the backward pass, per token and layer, in units of ``d_model``.
Counted on a Llama with feed-forward 2.75 x d_model and LoRA on every linear layer, dropout on."""

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "8bit": 1, "4bit": 0.5}

_LORA_BYTES = 4 * 6
"""Bytes per trained parameter: float32 weight, gradient, AdamW's two moments, the copies of the
current and the best weights."""


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
class TuningForecast:
    """What tuning is expected to take."""

    memory_bytes: int
    """Weights, LoRA with AdamW, and the activations of the batch of the longest prompts."""
    seconds: float
    """All epochs and validations; early stopping makes it less."""
    trainable_fraction: float
    """Trained parameters among all, adapter included, [0, 1]."""

    @property
    def sentence(self) -> str:
        """It, for a reader."""
        return (
            f"Tuning trains {percent(self.trainable_fraction, 1)} of the parameters and will take "
            f"{_duration(self.seconds)} and {_size(self.memory_bytes)} of memory."
        )


@dataclass(frozen=True)
class AskingForecast:
    """What answering some texts is expected to take."""

    n_texts: int
    """Texts to answer."""
    memory_bytes: int
    """Weights and the activations of one batch without a backward pass."""
    seconds: float
    """All of them."""

    @property
    def sentence(self) -> str:
        """It, for a reader."""
        return (
            f"Asking about {self.n_texts:,} texts will take {_duration(self.seconds)} and "
            f"{_size(self.memory_bytes)} of memory."
        )


@dataclass(frozen=True)
class Workload:
    """How much there is to learn from."""

    prompts: Sequence[TokenIds]
    """What is learned from."""
    n_validation: int
    """Examples for early stopping."""
    continuations: Sequence[TokenIds]
    """What is read after each prompt."""


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


def forecast_tuning(
    info: EngineInfo, measured: Probe, workload: Workload, recipe: AdapterRecipe
) -> TuningForecast:
    """Return the time and memory that tuning is expected to take.

    Time is the measured step, scaled by tokens. Memory is added up from sizes: weights in their
    number format, LoRA with gradient and AdamW in float32, and activations per token and layer
    (``ACTIVATION_WIDTHS`` times ``d_model``, a figure of Llama-like models: expect a third more or
    less elsewhere). The allocator's own overhead is not in it, nor attention's weights, which some
    devices keep: they count where texts are long and heads narrow.

    Args:
        info: The resident model.
        measured: From ``probe``.
        workload: What is learned from.
        recipe: Sizes and epochs.
    """
    n_tokens = sum(map(len, workload.prompts))
    n_validations = recipe.epochs * recipe.validations_per_epoch
    train_tokens = n_tokens * recipe.epochs
    validation_tokens = n_tokens / len(workload.prompts) * workload.n_validation * n_validations
    step_s_per_token = measured.step_s / measured.step_tokens
    inference_s_per_token = measured.inference_s / measured.step_tokens
    per_layer, logits = _activations(
        info, workload.prompts, recipe.batch_size, workload.continuations
    )
    # Beside the logits their log-softmax and its gradient.
    used = _weights(info) + per_layer * info.n_layers + 3 * logits
    return TuningForecast(
        memory_bytes=round(used + measured.n_trainable * _LORA_BYTES),
        seconds=train_tokens * step_s_per_token + validation_tokens * inference_s_per_token,
        trainable_fraction=measured.n_trainable / (info.n_parameters + measured.n_trainable),
    )


def forecast_asking(model: LabelModel, texts: Sequence[str]) -> AskingForecast:
    """Return the time and memory that answering some texts is expected to take.

    The first ``TRIED_TEXTS`` are answered twice, and the second time counts, scaled by tokens.

    Raises:
        TextTooLong: A text does not fit and the policy is ``error``.
    """
    from glassbox.engine.layout.batches import READ_LOGITS

    info, engine = model.engine.info, model.engine
    prompts = model.prompts.build(texts).prompts
    lengths = [len(each) for each in prompts]
    tried = prompts[:TRIED_TEXTS]
    if not tried:
        return AskingForecast(0, round(_weights(info)), 0.0)
    engine.logprobs(tried, model.verbalisers.continuations, adapter=model.adapter)
    started = time.perf_counter()
    engine.logprobs(tried, model.verbalisers.continuations, adapter=model.adapter)
    seconds = time.perf_counter() - started
    per_layer, logits = _activations(info, prompts, TRIED_TEXTS, model.verbalisers.continuations)
    return AskingForecast(
        n_texts=len(prompts),
        memory_bytes=round(_weights(info) + per_layer + min(logits, 4 * READ_LOGITS)),
        seconds=seconds * sum(lengths) / sum(lengths[:TRIED_TEXTS]),
    )


def _weights(info: EngineInfo) -> float:
    return info.n_parameters * _DTYPE_BYTES.get(info.dtype, 4)


def _activations(
    info: EngineInfo, prompts: Sequence[TokenIds], n_rows: int, continuations: Sequence[TokenIds]
) -> tuple[float, float]:
    """Return the bytes of one layer's activations, and of the logits, for the longest prompts."""
    longest, trie = sorted(prompts, key=len)[-n_rows:], build_trie(continuations)
    if info.scoring_path == "plain":
        n_fed = sum(map(len, longest)) * (1 + trie.n_nodes)
    else:
        shared = common_prefix_length(longest)
        n_fed = pack_rows(longest, trie, n_prefix=shared, prefix_inside=True).tokens.size
    n_reads = len(longest) * (1 + trie.n_nodes)
    return n_fed * ACTIVATION_WIDTHS * info.d_model * 4, n_reads * info.d_vocab * 4


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _size(n_bytes: float) -> str:
    if n_bytes < 2**30:
        return f"{n_bytes / 2**20:.0f} MiB"
    return f"{n_bytes / 2**30:.1f} GiB"
