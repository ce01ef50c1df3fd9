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
from jaxtyping import Bool, Float, Int
from torch import Tensor

from glassbox.engine.model.devices import beside_float64
from glassbox.engine.states.taps import Taps
from glassbox.errors import InvalidData, NonFiniteOutput
from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.halving import by_halves
from glassbox.pathways.integration.lens import capped
from glassbox.pathways.integration.upper_blocks import run_whole
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.clean_text import CleanText, Latents, clean_text
from glassbox.pathways.replay.ends import ends_of
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.replay.matching import join_rows, random_directions
from glassbox.pathways.saes.rows import LatentRows, normalised
from glassbox.pathways.saes.sae import Sae
from glassbox.progress import Progress, untold
from glassbox.types import HookPoint, TokenIds

T = TypeVar("T")
K = TypeVar("K")

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
        pool: Random latents by layer, whose directions may be written (``draw_pool``).
        blocks: The model's, where they are known by heart: single ablations then begin where the
            latent first fires. None runs the library's own modules.
        batch_rows: Prompts of one forward pass; halved where memory runs out.
    """

    model: Any
    rows: Mapping[int, LatentRows]
    prompts: tuple[DecisionPrompt, ...]
    answers: tuple[int, int]
    special_ids: frozenset[int] = frozenset()
    full: Mapping[int, Sae] | None = None
    pool: Mapping[int, LatentRows] = field(default_factory=dict)
    blocks: ModelBlocks | None = None
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
        self, set_aside: Bool[np.ndarray, "n_sets n_latents"], progress: Progress = untold
    ) -> Float[np.ndarray, "n_sets n_prompts"]:
        """Return logit of stopping less that of going on, for every set and prompt.

        Args:
            set_aside: Which latents each set puts at their means, in the order of ``latents``.
            progress: Is told of every set.

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
            progress(number + 1, len(set_aside))
        return _finite(result)

    def directions(self, latent: LatentId, n: int, *, seed: int) -> list[LatentId]:
        """Return random latents whose directions stand in for a latent's own.

        Fewer than asked for where its layer's pool is smaller.
        """
        return random_directions(latent, self.pool, n, (seed,))

    def ablated(
        self, runs: Sequence[Intervention], progress: Progress = untold
    ) -> Float[np.ndarray, "n_runs n_prompts"]:
        """Return by how much each decision changes when one latent is put to 0, run by run.

        Args:
            runs: Each ablates one latent of the study, or has a random direction written in its
                place. Where the latent does not fire, the change is 0.
            progress: Is told as they are read, by prompt or by latent.

        Raises:
            NonFiniteOutput: A logit is NaN or infinite.
            OutOfMemory: Even one prompt, or one run, does not fit.
        """
        if self.blocks is None:
            return _finite(self._ablated_by_modules(runs, progress))
        return _finite(self._ablated_by_blocks(self.blocks, runs, progress))

    def _ablated_by_blocks(
        self, blocks: ModelBlocks, runs: Sequence[Intervention], progress: Progress
    ) -> Float[np.ndarray, "n_runs n_prompts"]:
        """Return it prompt by prompt, a layer's runs packed and each from where it begins on."""
        layers = _rows_by([each.first_layer for each in runs])
        change = np.zeros((len(runs), len(self.prompts)))
        with torch.inference_mode():
            for place in range(len(self.prompts)):
                text = self._clean_text(blocks, place, list(layers))
                for rows in layers.values():
                    for at, states in ends_of(blocks, text, [runs[row] for row in rows.tolist()]):
                        decided = self._decided(self._taps.final_norm(states))
                        change[rows[at], place] = decided[1:] - decided[0]
                progress(place + 1, len(self.prompts))
        return change

    def _clean_text(self, blocks: ModelBlocks, place: int, layers: Sequence[int]) -> CleanText:
        """Return one prompt run with nothing changed."""
        token_ids = self.prompts[place].token_ids
        excluded = np.flatnonzero(~self._counted(token_ids)).tolist()
        context = make_context(place, token_ids, (), excluded=excluded)
        run = run_context(blocks, torch.tensor(token_ids))
        return clean_text(context, self._in_reach, layers, run.inputs[1:], run.caches)

    def _ablated_by_modules(
        self, runs: Sequence[Intervention], progress: Progress
    ) -> Float[np.ndarray, "n_runs n_prompts"]:
        """Return the same by the library's own modules, all blocks above a latent run whole."""
        change = np.zeros((len(runs), len(self.prompts)))
        by_latent = _rows_by([each.latents[0] for each in runs])
        for done, (latent, rows) in enumerate(by_latent.items(), start=1):
            read = partial(self._read_ablated, runs=[runs[row] for row in rows.tolist()])
            # Where it does not fire there is nothing to take away.
            for places in self._batches(np.flatnonzero(self._clean[1][self.latents.index(latent)])):
                found = np.concatenate([*self._halving(places, read)], axis=1)
                change[np.ix_(rows, places)] = found
            progress(done, len(by_latent))
        return change

    @cached_property
    def _in_reach(self) -> Latents:
        """The study's latents, and those whose directions are drawn."""
        return Latents(join_rows(self._on_device, self.pool), self.full or {})

    def _direction(self, run: Intervention) -> Float[Tensor, " d"]:
        """Return what a run's latent writes, or what stands in for it, made as long."""
        (latent,) = run.latents
        rows = self._in_reach.rows[latent.layer]
        own = rows.w_dec[self._in_reach.place(latent)]
        if run.writes is None:
            return own
        other = rows.w_dec[self._in_reach.place(run.writes)]
        stretched: Float[Tensor, " d"] = other * (own.norm() / other.norm())
        return stretched

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
        inside = torch.zeros(tokens.shape, dtype=torch.bool)
        for at, row in enumerate(rows):
            inside[at, : len(row)] = torch.from_numpy(self._counted(row))
        return tokens.to(self._device), inside.to(self._device)

    def _counted(self, token_ids: TokenIds) -> Bool[np.ndarray, " n"]:
        """Return which positions of a prompt count."""
        counted = ~np.isin(token_ids, list(self.special_ids))
        counted[0] = False
        return counted

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
            return self._decided(self._ends(places, states))

    def _read_ablated(
        self, places: np.ndarray, runs: Sequence[Intervention]
    ) -> Float[np.ndarray, "n_runs n"]:
        (latent,) = runs[0].latents
        layer, rows = latent.layer, self._on_device[latent.layer]
        own = self.latents.index(latent) - self._spans[layer].start
        tokens, inside = self._laid_out(places)
        with torch.inference_mode():
            upper = run_whole(self.model, self._taps, layer, tokens)
            shift = -(self._activations(layer, upper.x)[..., own] * inside).unsqueeze(-1)
            decided = []
            for run in runs:
                x = _written(upper.x, rows, shift, self._direction(run)[None])
                decided.append(self._decided(self._ends(places, upper.run(x))))
            return np.asarray(np.stack(decided) - self._decided(self._ends(places, upper.clean)))

    def _ends(self, places: np.ndarray, states: Float[Tensor, "n t d"]) -> Float[Tensor, "n d"]:
        """Return what stands at the last position of each prompt."""
        last = torch.tensor([len(self.prompts[place].token_ids) - 1 for place in places])
        return states[torch.arange(len(places)), last.to(self._device)]

    def _decided(self, ends: Float[Tensor, "n d"]) -> Float[np.ndarray, " n"]:
        """Return the decision from states behind the final norm."""
        head, chosen = self.model.get_output_embeddings(), list(self.answers)
        bias = None if head.bias is None else head.bias[chosen].float()
        logits = torch.nn.functional.linear(ends.float(), head.weight[chosen].float(), bias)
        logits = capped(self.model, logits)
        return (logits[:, 0] - logits[:, 1]).cpu().double().numpy()


def _written(
    x: Float[Tensor, "*n d"],
    rows: LatentRows,
    shift: Float[Tensor, "*n some"],
    directions: Float[Tensor, "some d"],
) -> Float[Tensor, "*n d"]:
    """Return the stream with a change of activations written, in its dictionary's scale."""
    scale = normalised(x.to(rows.w_enc.dtype), rows.input_norm)[1]
    return x + ((shift.to(directions.dtype) @ directions) * scale).to(x.dtype)


def _rows_by(keys: Sequence[K]) -> dict[K, Int[np.ndarray, " _"]]:
    """Return the rows that share a key, by key."""
    found: dict[K, list[int]] = {}
    for row, key in enumerate(keys):
        found.setdefault(key, []).append(row)
    return {key: np.array(rows, dtype=np.int64) for key, rows in found.items()}


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
