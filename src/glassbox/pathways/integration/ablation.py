"""The decision with some of the study's latents set aside, or with random directions instead.

A latent is set aside at every position that counts by ``x += (value - f) w_dec`` at its own layer,
its SAE's error kept, where the value is 0 or its mean over the prompts. Later latents answer to
what is then there. Latents outside the study are never touched, so the figures speak of the
study's latents and not of the whole model. A random direction is written in ``w_dec``'s place, as
long as it is and at the same positions: the null that replay has, see ``replay.matching``.

Source: Marks et al. 2024, "Sparse feature circuits", section 4 (faithfulness, completeness, mean
ablation); positions are not aligned between prompts, so the mean is over all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from glassbox.engine.model.devices import beside_float64
from glassbox.engine.states.taps import Taps
from glassbox.errors import InvalidData, NonFiniteOutput
from glassbox.pathways.halving import by_halves
from glassbox.pathways.integration.lens import capped
from glassbox.pathways.integration.upper_blocks import run_whole
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.matching import random_directions
from glassbox.pathways.saes.rows import LatentRows, normalised
from glassbox.pathways.saes.sae import Sae
from glassbox.types import HookPoint, TokenIds

T = TypeVar("T")

BATCH_ROWS: Final = 64
"""Prompts of one forward pass."""


@dataclass(frozen=True)
class DecisionPrompt:
    """A prompt at whose end a decision is made."""

    token_ids: TokenIds
    kind: Literal["safe", "risky"]
    pair: int
    """A safe and a risky prompt share it."""


@dataclass(frozen=True, eq=False)
class DecisionMeter:
    """Reads the decision of many prompts while some latents are set aside.

    Args:
        model: The lent causal language model, in evaluation mode.
        rows: The study's latents, by layer.
        prompts: In any order.
        answers: Token ids of stopping and of going on.
        special_ids: Token ids whose positions are left alone, as every first position is.
        full: The full dictionary of layers where it is TopK: a few rows cannot tell which of them
            are among the k largest.
        pool: Random latents by layer, whose directions are drawn (``draw_pool``).
        batch_rows: Prompts of one forward pass; halved where memory runs out.
    """

    model: Any
    rows: Mapping[int, LatentRows]
    prompts: tuple[DecisionPrompt, ...]
    answers: tuple[int, int]
    special_ids: frozenset[int] = frozenset()
    full: Mapping[int, Sae] | None = None
    pool: Mapping[int, LatentRows] = field(default_factory=dict)
    batch_rows: int = BATCH_ROWS

    @cached_property
    def latents(self) -> tuple[LatentId, ...]:
        """The study's latents, in the order of every mask."""
        return tuple(
            LatentId(layer, index)
            for layer in sorted(self.rows)
            for index in self.rows[layer].indices.tolist()
        )

    @cached_property
    def _spans(self) -> dict[int, slice]:
        """Where each layer's latents stand in ``latents``."""
        spans, start = {}, 0
        for layer in sorted(self.rows):
            spans[layer] = slice(start, start + len(self.rows[layer]))
            start += len(self.rows[layer])
        return spans

    @cached_property
    def _device(self) -> torch.device:
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    @cached_property
    def _on_device(self) -> dict[int, LatentRows]:
        return {layer: rows.to(self._device) for layer, rows in self.rows.items()}

    @cached_property
    def _taps(self) -> Taps:
        return Taps(self.model)

    @cached_property
    def _clean(self) -> tuple[Float[Tensor, " n_latents"], Bool[np.ndarray, "n_latents n_prompts"]]:
        """Mean activations over counted positions, and which latent fires in which prompt."""
        sums = torch.zeros(len(self.latents), dtype=torch.float64)
        fires = np.zeros((len(self.latents), len(self.prompts)), dtype=bool)
        counted = 0
        for batch in self._batches(np.arange(len(self.prompts))):
            for places, total, fired, n_inside in self._halving(batch, self._read_clean):
                sums += total
                fires[:, places] = fired
                counted += n_inside
        return (sums / max(1, counted)).float().to(self._device), fires

    def _read_clean(self, places: np.ndarray) -> tuple[np.ndarray, Tensor, np.ndarray, int]:
        """Return some prompts, their summed activations, what fires, and how many positions count.

        Kept apart until the pass is whole: one that runs out of memory leaves nothing behind.
        """
        tokens, inside = self._laid_out(places)
        sums = torch.zeros(len(self.latents), dtype=torch.float64)
        fires = np.zeros((len(self.latents), len(places)), dtype=bool)

        def read(layer: int, x: Tensor) -> None:
            found = self._activations(layer, x) * inside.unsqueeze(-1)
            total = beside_float64(found).sum(dim=(0, 1), dtype=torch.float64)
            sums[self._spans[layer]] = total.cpu()
            fires[self._spans[layer]] = (found > 0).any(dim=1).T.cpu().numpy()

        with torch.inference_mode(), ExitStack() as stack:
            for layer in self.rows:
                stack.enter_context(self._hook(layer, partial(read, layer)))
            self.model.base_model(input_ids=tokens, use_cache=False)
        return places, sums, fires, int(inside.sum())

    @property
    def means(self) -> Float[Tensor, " n_latents"]:
        """Mean activation of every latent over the positions that count, on the device."""
        return self._clean[0]

    def decisions(
        self, set_aside: Bool[np.ndarray, "n_sets n_latents"]
    ) -> Float[np.ndarray, "n_sets n_prompts"]:
        """Return logit of stopping less that of going on, for every set and prompt.

        Args:
            set_aside: Which latents each set puts at their means, in the order of ``latents``.

        Raises:
            NonFiniteOutput: A logit is NaN or infinite.
            OutOfMemory: Even one prompt does not fit.
        """
        values = self.means
        result = np.empty((len(set_aside), len(self.prompts)))
        for number, mask in enumerate(set_aside):
            read = partial(self._read, mask=mask, values=values)
            for places in self._batches(np.arange(len(self.prompts))):
                result[number, places] = np.concatenate([*self._halving(places, read)])
        return _finite(result)

    def ablated(
        self, place: int, *, n_random: int = 0, seed: int = 0
    ) -> Float[np.ndarray, "directions n_prompts"]:
        """Return by how much each decision changes when one latent is put to 0.

        The first row is the latent's own doing. In the others a random direction is written in its
        own's place; there are fewer than asked for where the layer's pool is smaller. 0 where the
        latent does not fire.

        Args:
            place: Of the latent in ``latents``.
            n_random: Random directions.
            seed: Of their draw.

        Raises:
            NonFiniteOutput: A logit is NaN or infinite.
            OutOfMemory: Even one prompt does not fit.
        """
        directions = self._directions(place, n_random, seed)
        result = np.zeros((len(directions), len(self.prompts)))
        read = partial(self._read_ablated, place=place, directions=directions)
        # Where it does not fire there is nothing to take away.
        for places in self._batches(np.flatnonzero(self._clean[1][place])):
            result[:, places] = np.concatenate([*self._halving(places, read)], axis=1)
        return _finite(result)

    def _directions(self, place: int, n_random: int, seed: int) -> Float[Tensor, "directions d"]:
        """Return what a latent writes, and random directions that are as long."""
        latent = self.latents[place]
        rows = self._on_device[latent.layer]
        own = rows.w_dec[place - self._spans[latent.layer].start]
        drawn = random_directions(latent, self.pool, n_random, (seed,))
        if not drawn:
            return own[None]
        pool = self.pool[latent.layer]
        at = torch.searchsorted(pool.indices, torch.tensor([each.index for each in drawn]))
        others = pool.w_dec[at].to(own)
        return torch.cat([own[None], others * (own.norm() / others.norm(dim=1, keepdim=True))])

    def _batches(self, places: np.ndarray) -> Iterator[np.ndarray]:
        lengths = np.array([len(each.token_ids) for each in self.prompts])
        ordered = places[np.argsort(-lengths[places], kind="stable")]
        for start in range(0, len(ordered), self.batch_rows):
            yield ordered[start : start + self.batch_rows]

    def _laid_out(self, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return tokens, padded behind, and which of their positions count."""
        rows = [self.prompts[place].token_ids for place in places]
        width = max(len(row) for row in rows)
        # Padding stands behind the text and attention looks back only: no mask is needed.
        tokens = torch.tensor([[*row, *(0,) * (width - len(row))] for row in rows])
        inside = torch.tensor(
            [
                [place > 0 and token not in self.special_ids for place, token in enumerate(row)]
                + [False] * (width - len(row))
                for row in rows
            ]
        )
        return tokens.to(self._device), inside.to(self._device)

    def _activations(self, layer: int, x: Tensor) -> Tensor:
        rows, full = self._on_device[layer], (self.full or {}).get(layer)
        if full is None:
            return rows.activations(x)
        return full.encode(x)[..., rows.indices.to(x.device)]

    def _hook(self, layer: int, act: Callable[[Tensor], Tensor | None]) -> Any:
        module = self._taps.module(self._taps.whole(HookPoint(layer)))
        return self._taps.hooked(module, False, act)

    def _halving(self, places: np.ndarray, read: Callable[[np.ndarray], T]) -> Iterator[T]:
        """Return what is read of some prompts; out of memory, of their halves, in order."""
        return by_halves(
            places,
            read,
            too_much=lambda one: (
                f"One prompt of {len(self.prompts[one[0]].token_ids)} tokens does not fit "
                "the device's memory."
            ),
        )

    def _read(
        self, places: np.ndarray, mask: Bool[np.ndarray, " n_latents"], values: Tensor
    ) -> Float[np.ndarray, " n"]:
        tokens, inside = self._laid_out(places)

        def replaced(layer: int, chosen: Tensor, x: Tensor) -> Tensor:
            rows = self._on_device[layer]
            f = self._activations(layer, x)[..., chosen]
            shift = (values[self._spans[layer]][chosen] - f) * inside.unsqueeze(-1)
            return _written(x, rows, shift, rows.w_dec[chosen])

        with torch.inference_mode(), ExitStack() as stack:
            for layer, span in self._spans.items():
                chosen = torch.from_numpy(np.flatnonzero(mask[span])).to(self._device)
                if len(chosen):
                    stack.enter_context(self._hook(layer, partial(replaced, layer, chosen)))
            states = self.model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
            return self._decided(places, states)

    def _read_ablated(
        self, places: np.ndarray, place: int, directions: Float[Tensor, "directions d"]
    ) -> Float[np.ndarray, "directions n"]:
        layer = self.latents[place].layer
        rows, own = self._on_device[layer], place - self._spans[layer].start
        tokens, inside = self._laid_out(places)
        with torch.inference_mode():
            upper = run_whole(self.model, self._taps, layer, tokens)
            shift = -(self._activations(layer, upper.x)[..., own] * inside).unsqueeze(-1)
            decided = [
                self._decided(places, upper.run(_written(upper.x, rows, shift, direction[None])))
                for direction in directions
            ]
            return np.asarray(np.stack(decided) - self._decided(places, upper.clean))

    def _decided(self, places: np.ndarray, states: Tensor) -> Float[np.ndarray, " n"]:
        """Return the decision of each prompt from the states behind the final norm."""
        last = torch.tensor([len(self.prompts[place].token_ids) - 1 for place in places])
        ends = states[torch.arange(len(places)), last.to(self._device)]
        logits = self._answer_logits(ends)
        return (logits[:, 0] - logits[:, 1]).cpu().double().numpy()

    def _answer_logits(self, states: Tensor) -> Tensor:
        head = self.model.get_output_embeddings()
        chosen = list(self.answers)
        bias = None if head.bias is None else head.bias[chosen].float()
        logits = torch.nn.functional.linear(states.float(), head.weight[chosen].float(), bias)
        return capped(self.model, logits)


def _written(
    x: Float[Tensor, "*n d"],
    rows: LatentRows,
    shift: Float[Tensor, "*n some"],
    directions: Float[Tensor, "some d"],
) -> Float[Tensor, "*n d"]:
    """Return the stream with a change of activations written, in its dictionary's scale."""
    scale = normalised(x.to(rows.w_enc.dtype), rows.input_norm)[1]
    return x + ((shift.to(directions.dtype) @ directions) * scale).to(x.dtype)


def _finite(decisions: np.ndarray) -> np.ndarray:
    if not np.isfinite(decisions).all():
        raise NonFiniteOutput(
            "A decision's logit is NaN or infinite; look at the dictionaries and the model's "
            "number format."
        )
    return decisions


def pair_places(prompts: Sequence[DecisionPrompt]) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the safe and of the risky prompt of every pair that has both.

    Raises:
        InvalidData: No pair has both, or one has two of a kind.
    """
    places: dict[str, dict[int, int]] = {"safe": {}, "risky": {}}
    for place, prompt in enumerate(prompts):
        if prompt.pair in places[prompt.kind]:
            raise InvalidData(f"pair {prompt.pair} has two {prompt.kind} prompts; it needs one")
        places[prompt.kind][prompt.pair] = place
    shared = sorted(places["safe"].keys() & places["risky"].keys())
    if not shared:
        raise InvalidData("no pair has a safe and a risky prompt, so there is no framing effect")
    return (
        np.array([places["safe"][pair] for pair in shared]),
        np.array([places["risky"][pair] for pair in shared]),
    )
