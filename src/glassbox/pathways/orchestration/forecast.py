"""What a study of a given size takes on a given device, from counted operations and bytes.

Beside it stand the study's own plan and its hours. Every rate says whether it was stated by the
maker, assumed, or measured. Knows nothing of files; ``prototype`` forecasts from measurements.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from glassbox.pathways.integration.looks import expected_directions
from glassbox.pathways.orchestration.costs import (
    LLAMA_3_1_8B,
    ContextShape,
    ModelShape,
    ReplayShape,
    corpus_flop,
    literal_flop,
    replay_flop,
    sweep_flop,
)
from glassbox.pathways.orchestration.sizes import (
    TILE_ROWS,
    Chunking,
    Dictionary,
    corpus_bytes,
    replay_peak,
    sweep_bytes,
)
from glassbox.wording import counted

FIRING: Final = 50
"""Latents of a whole dictionary that fire on a token. Source: Llama Scope, section 3.2."""

BATCH_TOKENS: Final = 2048
"""Positions of all runs of a batch. Source: ``replay.batch_tokens``."""

Origin = Literal["stated", "assumed", "measured"]
"""Where a rate comes from."""


@dataclass(frozen=True)
class Device:
    """What arithmetic is done on."""

    name: str
    """As people call it."""
    memory_bytes: int
    """Its memory."""
    matmul_flop_s: float
    """Operations a second of a large matrix product in the model's number format."""
    origin: Origin
    """Where that rate comes from."""
    source: str
    """Who says so."""


A40: Final = Device(
    "A40, 48 GB",
    48_000_000_000,
    149.7e12,
    "stated",
    "NVIDIA A40 data sheet, BF16 tensor cores, dense",
)
"""The 48 GB card that the study's plan names."""


@dataclass(frozen=True)
class Shares:
    """Which share of a large matrix product's rate each part reaches, fractions in (0, 1]."""

    sweep: float = 0.15
    """Upstream gradients: the least that the benchmark of the sweep asks for."""
    replay: float = 0.15
    """Suffix-only runs: taken to be as the sweep's."""
    corpus: float = 0.4
    """Plain forward passes over packed texts, and runs to the end of prompts: on a processor these
    reach a larger share than plain passes."""
    origin: Origin = "assumed"
    """Where they come from."""


@dataclass(frozen=True)
class StudySize:
    """How large a study is; the defaults are those of the plan, with our contexts and doses."""

    layers: tuple[int, ...] = tuple(range(1, 32))
    """Layers that have an SAE; sources stand on the lowest, too, targets have to be above it."""
    per_layer: int = 50
    """Selected latents of each."""
    d_sae: int = 32768
    """Latents of one dictionary. Source: Llama Scope LXR-8x, hyperparams.json."""
    n_contexts: int = 8
    """Texts for each target."""
    targets_per_context: int = 8
    """Targets that share a text; set cover finds the texts."""
    n_tokens: int = 128
    """Length of a text."""
    top: int = 25
    """Sources kept for each target."""
    n_doses: int = 3
    """Ways in which each source is changed."""
    n_null: int = 20
    """Random directions that stand in for each source in a text that is looked at closely, and, at
    most, in the second look at each latent before the decision; the plan has none."""
    close_texts: int | None = None
    """Texts in which each pathway is looked at closely: all doses, and the random directions. None
    is all of its texts."""
    n_below: int = 3000
    """Pairs below the cut that are replayed as well, each in one text."""
    n_responses: int = 31 * 50 * 6 * 30
    """Distinct responses of the corpus: six conditions, 30 trials of each latent."""
    n_prompts: int = 48
    """Prompts on which each latent's effect on the decision is measured, at most: those where it
    fires."""

    @property
    def n_latents(self) -> int:
        """Selected latents in all."""
        return len(self.layers) * self.per_layer

    @property
    def n_targets(self) -> int:
        """Those that have sources below them: all but the lowest layer's."""
        return (len(self.layers) - 1) * self.per_layer

    @property
    def n_pathways(self) -> int:
        """Most pathways that can be kept."""
        return sum(
            self.per_layer * min(self.top, self.per_layer * below)
            for below in range(1, len(self.layers))
        )

    def contexts(self) -> list[ContextShape]:
        """Return texts that hold all pairs of target and context, spread over layers and places."""
        above = self.layers[1:]
        n_pairs = self.n_targets * self.n_contexts
        n_texts = math.ceil(n_pairs / self.targets_per_context)
        # The golden ratio's multiples fill [0, 1) evenly, whatever the number.
        places = [int(self.n_tokens * (i * 0.6180339887498949 % 1.0)) for i in range(n_pairs)]
        pairs = [(above[i % len(above)], places[i]) for i in range(n_pairs)]
        return [ContextShape(self.n_tokens, tuple(pairs[i::n_texts])) for i in range(n_texts)]

    def replays(self) -> list[list[ReplayShape]]:
        """Return the pathways of one target of each layer, each with its run in each of its texts.

        Targets stand anywhere in their texts, sources fire first anywhere before them, in every
        text of the target.

        Source of the spread: the R2 sequence fills the unit square evenly (Roberts 2018, "The
        unreasonable effectiveness of quasirandom sequences").
        """
        pathways = [
            (self.layers[rank % place], layer)
            for place, layer in enumerate(self.layers[1:], start=1)
            for rank in range(min(self.top, self.per_layer * place))
        ]
        runs = []
        for at, (source, target) in enumerate(pathways):
            numbers = range(at * self.n_contexts, (at + 1) * self.n_contexts)
            ends = [1 + int(self.n_tokens * (i * 0.7548776662466927 % 1.0)) for i in numbers]
            shares = [i * 0.5698402909980532 % 1.0 for i in numbers]
            runs.append([
                ReplayShape(end, source, int(end * share), target)
                for end, share in zip(ends, shares, strict=True)
            ])  # fmt: skip
        return runs

    def ablations(self, n_blocks: int) -> list[ReplayShape]:
        """Return the runs in which one latent of each layer is ablated, to the end of each prompt.

        It fires first anywhere in the prompt.

        Args:
            n_blocks: Of the model.
        """
        places = [
            int(self.n_tokens * (i * 0.6180339887498949 % 1.0)) for i in range(self.n_prompts)
        ]
        return [
            ReplayShape(self.n_tokens, layer, place, n_blocks - 1)
            for layer in self.layers
            for place in places
        ]


@dataclass(frozen=True)
class StepForecast:
    """What one step takes."""

    step: str
    """Its name."""
    what: str
    """How much of what is done."""
    flop: float
    """Operations."""
    seconds: float
    """Time on the device."""
    plan_s: float | None
    """The plan's own estimate of the same step, where it has one."""


@dataclass(frozen=True)
class StudyForecast:
    """What a whole study takes, with everything that was supposed."""

    model: ModelShape
    """The model."""
    device: Device
    """Where."""
    shares: Shares
    """How much of the device's rate each part reaches."""
    size: StudySize
    """How large."""
    steps: tuple[StepForecast, ...]
    """Step by step."""
    literal_s: float
    """The plan's gradients by its own method at the device's rate and the sweep's share."""
    peak_bytes: int
    """Weights and the most that any part holds beside them, rows of the selected latents in all."""

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(step.seconds for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **asdict(self),
            "seconds": self.seconds,
            "plan_seconds": PLAN_S,
            "n_latents": self.size.n_latents,
            "n_pathways": self.size.n_pathways,
            "plan_pathways": PLAN_PATHWAYS,
        }


PLAN_S: Final = 21 * 3600.0
"""Source: the study's plan, "Total runtime: ~21 hours"."""

PLAN_PATHWAYS: Final = 38_750
"""Source: the study's plan, 1,550 features × 25; it counts the lowest layer, which has none."""

_PLAN_GRADIENTS_S: Final = 1550 * 28.0
_PLAN_REPLAY_S: Final = 38_750 * 0.6
_PLAN_TOKENS_S: Final = 1550 * 4.0
_PLAN_INTEGRATE_S: Final = 15 * 60.0
"""Source of the four: the study's plan, "Compute Time (measured)"."""


def forecast_study(
    model: ModelShape = LLAMA_3_1_8B,
    size: StudySize | None = None,
    device: Device = A40,
    shares: Shares | None = None,
) -> StudyForecast:
    """Return what a study takes: the parts that the model works for.

    Reading files, selecting, counting and drawing are left out: minutes here as in the plan.

    Args:
        model: Its sizes.
        size: How large the study is; the plan's if none.
        device: Where.
        shares: Of the device's rate.
    """
    size, shares = size or StudySize(), shares or Shares()
    contexts = size.contexts()
    gradients = float(sweep_flop(model, contexts, lowest_source=size.layers[0]))
    rows = dict.fromkeys(size.layers, size.per_layer)
    tokens = float(corpus_flop(model, [size.n_tokens], rows)) * size.n_responses
    n_pairs = size.n_targets * size.n_contexts
    rate = device.matmul_flop_s
    single = [ContextShape(size.n_tokens, ((layer, size.n_tokens - 1),)) for layer in size.layers]
    literal = float(literal_flop(model, single, d_sae=size.d_sae)) * size.per_layer
    return StudyForecast(
        model,
        device,
        shares,
        size,
        (
            StepForecast(
                "discover",
                f"{counted(n_pairs, '(target, context) pair')} in "
                f"{counted(len(contexts), 'context')}",
                gradients,
                gradients / (rate * shares.sweep),
                _PLAN_GRADIENTS_S,
            ),
            *_replay_steps(model, size, len(contexts), rate * shares.replay),
            StepForecast(
                "tokens",
                f"{size.n_responses:,} responses of {size.n_tokens} tokens, each once",
                tokens,
                tokens / (rate * shares.corpus),
                _PLAN_TOKENS_S,
            ),
            *_integrate_steps(model, size, rate * shares.corpus),
        ),
        literal / (rate * shares.sweep),
        model.weights_bytes + _held(model, size),
    )


def _replay_steps(
    model: ModelShape, size: StudySize, n_texts: int, rate: float
) -> tuple[StepForecast, ...]:
    """Return the parts of the replay: the sources, what they are held against, and the sample."""
    # One clean run goes along with every batch.
    times = size.per_layer * (1 + size.n_tokens / BATCH_TOKENS)
    costs = [sorted(replay_flop(model, [run]) for run in runs) for runs in size.replays()]
    whole = times * sum(map(sum, costs))
    # Close are the texts with the shortest runs.
    close = min(size.close_texts or size.n_contexts, size.n_contexts)
    closely = times * sum(sum(own[:close]) for own in costs)
    clean = float(model.forward_flop(model.n_layers, size.n_tokens)) * n_texts
    each = whole / (size.n_pathways * size.n_contexts)
    where = f"in the shortest {close}" if close < size.n_contexts else "each"
    parts = (
        (
            "validate",
            f"{counted(size.n_pathways, 'pathway')} × {counted(size.n_contexts, 'context')}, "
            f"{counted(size.n_doses, 'dose')} "
            f"{where}, none shared",
            whole + (size.n_doses - 1) * closely + clean,
            _PLAN_REPLAY_S,
        ),
        (
            "its null",
            f"{counted(size.n_null, 'random direction')} for each of them there",
            size.n_null * closely,
            None,
        ),
        (
            "its sample",
            f"{counted(size.n_below, 'pair')} below the cut, each with its null",
            size.n_below * (1 + size.n_null) * each,
            None,
        ),
    )
    return tuple(
        StepForecast(name, what, flop, flop / rate, plan) for name, what, flop, plan in parts
    )


def _integrate_steps(
    model: ModelShape, size: StudySize, rate: float
) -> tuple[StepForecast, StepForecast]:
    """Return the ablations before the decision, and what they are held against."""
    ablated = float(size.per_layer * replay_flop(model, size.ablations(model.n_layers)))
    clean = float(model.forward_flop(model.n_layers, size.n_tokens)) * size.n_prompts
    directions = expected_directions(size.n_latents, size.n_null)
    own, null = clean + ablated, directions * ablated
    return (
        StepForecast(
            "integrate",
            f"each latent ablated on {counted(size.n_prompts, 'prompt')}, as if it fired on all",
            own,
            own / rate,
            _PLAN_INTEGRATE_S,
        ),
        StepForecast(
            "its own null",
            f"{directions:g} random directions for each of them, on average",
            null,
            null / rate,
            None,
        ),
    )


def _held(model: ModelShape, size: StudySize) -> int:
    """Return the most bytes beside the weights, on a GPU with the default chunks."""
    per_text = size.targets_per_context
    worst = ContextShape(size.n_tokens, ((size.layers[-1], size.n_tokens - 1),) * per_text)
    chunking = Chunking(tile_rows=TILE_ROWS["cuda"])
    together = [worst] * (chunking.targets // per_text)
    rows = Dictionary(size.n_latents, firing=FIRING * size.per_layer / size.d_sae)
    return max(
        sweep_bytes(model, together, chunking, rows, lowest_source=size.layers[0]),
        replay_peak(
            model, n_tokens=size.n_tokens, batch_tokens=BATCH_TOKENS, n_sources=size.n_latents
        ),
        corpus_bytes(model, batch_tokens=4096, longest=size.n_tokens, n_latents=size.n_latents),
    )
