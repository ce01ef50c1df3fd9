"""What only the model can tell of a study's latents: what they say, and what they do to a decision.

The decision is read at the end of the study's own prompts, as the logit difference of its two
answers' first tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from glassbox.errors import InvalidData
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.integration.ablation import DecisionMeter, DecisionPrompt
from glassbox.pathways.integration.decision_effects import DecisionEffect, decision_effects
from glassbox.pathways.integration.decisions import LoggedPrompt, answer_tokens, spread
from glassbox.pathways.integration.lens import logit_lens
from glassbox.pathways.integration.prompt_graph import Prompt, PromptGraph, trace_prompt
from glassbox.pathways.integration.values import LensToken
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.matching import draw_pool
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.sections import IntegrateSection
from glassbox.pathways.study.conditions import CONTINUE, STOP
from glassbox.progress import Progress, untold
from glassbox.types import TokenIds

LEAST_PAIRS: Final = 2
"""Pairs of prompts below which no interval, and so no effect, can be given."""


class Codec(Protocol):
    """The part of an engine's codec that turns texts into tokens and back."""

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[TokenIds]:
        """Return token ids of each text; ``special`` adds what the tokenizer adds (BOS)."""
        ...

    def token(self, token_id: int) -> str:
        """Return one token as it reads behind other text."""
        ...


@dataclass(frozen=True, eq=False)
class Resident:
    """The model's side of a study, for as long as it is lent."""

    model: Any
    """The lent causal language model."""
    codec: Codec
    """The engine's."""
    special_ids: tuple[int, ...]
    """Token ids whose positions never count."""
    dictionaries: Dictionaries
    corpus: Corpus
    """The one whose activations were read."""
    blocks: ModelBlocks | None = None
    """Those of the model, where they are known by heart."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of model and dictionaries, by what they are of."""

    def text(self, token_id: int) -> str:
        """Return the text of one token."""
        return self.codec.token(token_id)


@dataclass(frozen=True, eq=False)
class Told:
    """What the model told."""

    lens: Mapping[LatentId, tuple[tuple[LensToken, ...], tuple[LensToken, ...]]] = field(
        default_factory=dict
    )
    """Tokens that each latent promotes, and those that it suppresses."""
    effects: Mapping[LatentId, DecisionEffect] = field(default_factory=dict)
    """What ablating each does to the decision; empty where that was not measured."""
    meter: DecisionMeter | None = None
    """Reads the decision; None where the study's prompts do not allow it."""
    remarks: tuple[str, ...] = ()
    """What could not be done, in words."""


def ask_model(
    resident: Resident,
    latents: Sequence[LatentId],
    prompts: Sequence[LoggedPrompt],
    settings: IntegrateSection,
    progress: Progress = untold,
) -> Told:
    """Return what the model tells of the latents.

    Args:
        resident: The model's side of the study.
        latents: The study's.
        prompts: Safe and risky ones of the study, in pairs.
        settings: Whether effects on the decision are measured, on how many pairs of prompts and
            against how many random directions; the seed of these and of the intervals.
        progress: Is told as effects on the decision are measured.

    Raises:
        NonFiniteOutput: The model answers NaN or infinity.
        UnsupportedModel: The model's blocks are not known by name.
    """
    rows = resident.dictionaries.rows(latents)
    lens = logit_lens(resident.model, rows, resident.text)
    if not settings.faithfulness:
        return Told(lens=lens)
    try:
        meter = decision_meter(
            resident, rows, spread(prompts, settings.n_prompts), seed=settings.seed
        )
    except InvalidData as error:
        return Told(lens=lens, remarks=(f"Effects on the decision were not measured: {error}",))
    effects = decision_effects(
        meter, n_random=settings.n_null, seed=settings.seed, progress=progress
    )
    return Told(lens=lens, effects=effects, meter=meter)


def decision_meter(
    resident: Resident,
    rows: Mapping[int, LatentRows],
    prompts: Sequence[LoggedPrompt],
    *,
    seed: int = 0,
) -> DecisionMeter:
    """Return what reads the decision at the end of some prompts; ``seed`` draws its pool.

    Raises:
        InvalidData: Too few pairs of prompts, or answers that begin alike.
    """
    n_pairs = len(prompts) // 2
    if n_pairs < LEAST_PAIRS:
        raise InvalidData(
            f"the logs hold {n_pairs} distinct pairs of a safe and a risky prompt (of trials with "
            f"the same number) and {LEAST_PAIRS} are needed"
        )
    answers = answer_tokens(resident.codec, prompts[0].text)
    encoded = resident.codec.encode([each.text for each in prompts])
    full = {
        layer: resident.dictionaries.load(
            layer, device=next(iter(resident.model.parameters())).device
        )
        for layer, chosen in rows.items()
        if chosen.k is not None
    }
    return DecisionMeter(
        resident.model,
        rows,
        tuple(
            DecisionPrompt(ids, each.kind, each.pair)
            for ids, each in zip(encoded, prompts, strict=True)
        ),
        answers,
        frozenset(resident.special_ids),
        full or None,
        draw_pool(resident.dictionaries, list(rows), seed=seed),
        resident.blocks,
    )


def prompt_graphs(
    resident: Resident,
    prompts: Sequence[LoggedPrompt],
    study: frozenset[LatentId],
    *,
    n_graphs: int = 4,
) -> dict[str, PromptGraph]:
    """Return graphs of some prompts, by name: as many safe ones as risky ones.

    Args:
        resident: The model's side of the study.
        prompts: Safe and risky ones, in pairs.
        study: Latents of the study, which are marked.
        n_graphs: Most graphs.

    Raises:
        InvalidData: Answers that begin alike.
        UnsupportedModel: The model's blocks are not known by name.
    """
    found: dict[str, PromptGraph] = {}
    for each in spread(prompts, max(1, n_graphs // 2)) if n_graphs else ():
        (token_ids,) = resident.codec.encode([each.text])
        stop, go_on = answer_tokens(resident.codec, each.text)
        prompt = Prompt(
            token_ids,
            tuple(resident.text(token) for token in token_ids),
            frozenset(resident.special_ids),
        )
        found[f"{each.kind}-{each.pair}"] = trace_prompt(
            resident.model,
            prompt,
            resident.dictionaries,
            {stop: STOP, go_on: CONTINUE},
            study=study,
        )
        if len(found) == n_graphs:
            break
    return found
