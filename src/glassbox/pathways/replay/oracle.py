"""The slow way, plain to see: one whole forward pass of the library's model for each intervention.

Hooks on the blocks' modules change the stream and read it; nothing is shared, nothing is left out.
It is what the fast way is tested against, the baseline of its benchmark, and the way for models
whose blocks are not known by heart. Needs the architecture's names only. Sizes of changes are those
of the run itself, which differ from the fast way's where one run changes several layers.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glassbox.engine.states.taps import Taps
from glassbox.errors import NonFiniteOutput
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.replay.clean_text import (
    CleanText,
    Latents,
    clean_text,
    read_targets,
    require_fit,
)
from glassbox.pathways.replay.interventions import Effects, Intervention
from glassbox.pathways.saes.rows import normalised
from glassbox.types import HookPoint


@torch.no_grad()
def clean_by_forward(
    model: Any, context: Context, latents: Latents, changed_layers: Sequence[int]
) -> CleanText:
    """Return a text run clean by the library's own modules.

    Args:
        model: The lent causal language model, in evaluation mode.
        context: The text.
        latents: Rows of sources and targets.
        changed_layers: Layers whose activations are needed.

    Raises:
        TextTooLong: The text is longer than the model's context.
        InvalidHookPoint: A layer that the model does not have.
        AdapterMismatch: Rows of another width than the model's residual stream.
        UnsupportedModel: The architecture's blocks are not known by name.
    """
    config = model.config.get_text_config()
    longest = int(getattr(config, "max_position_embeddings", len(context.token_ids)))
    require_fit(config.num_hidden_layers, config.hidden_size, longest, context, latents)
    outputs = _Forward(model, context, latents).run()
    return clean_text(context, latents, changed_layers, [outputs[at] for at in sorted(outputs)])


@torch.no_grad()
def replay_by_forward(
    model: Any, text: CleanText, interventions: Sequence[Intervention]
) -> Effects:
    """Return what changing latents does to the targets of one text, run by run.

    Args:
        model: The lent causal language model, in evaluation mode.
        text: The text, run clean by ``clean_by_forward``.
        interventions: The runs.

    Raises:
        NonFiniteOutput: A run came out as NaN or infinity.
    """
    context = text.context
    forward = _Forward(model, context, text.latents)
    shape = (len(interventions), len(context.targets))
    pre, post = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    flips, n_changed = np.zeros(shape, bool), np.zeros(shape, np.int64)
    change = np.zeros(shape, np.float32)
    is_broken = False
    layers = np.array([each.latent.layer for each in context.targets])
    for row, intervention in enumerate(interventions):
        states, added = forward.changed(intervention, text)
        above = layers > intervention.first_layer
        if intervention.targets is not None:
            above &= np.isin(np.arange(shape[1]), intervention.targets)
        now_pre, now_post = read_targets(context, text.latents, states.__getitem__)
        is_broken |= not np.isfinite(now_pre.numpy()[above]).all()
        pre[row, above] = (now_pre - text.clean_pre).numpy()[above]
        post[row, above] = (now_post - text.clean_post).numpy()[above]
        flips[row, above] = ((now_post > 0) != (text.clean_post > 0)).numpy()[above]
        for at, target in enumerate(context.targets):
            upto = slice(0, target.position + 1)
            change[row, at] = sum(float(by[upto].sum()) for by, _ in added)
            n_changed[row, at] = sum(int((each[upto] != 0).any(dim=1).sum()) for each, _ in added)
    clean_pre, clean_post = text.clean_pre.numpy(), text.clean_post.numpy()
    if not np.isfinite(clean_pre).all() or is_broken:
        raise NonFiniteOutput(f"Context {context.document_id} came out as NaN or infinity.")
    return Effects(
        context, tuple(interventions), clean_pre, clean_post, pre, post, flips,
        change, n_changed,
    )  # fmt: skip


class _Forward:
    """Runs one text through the model's own modules, clean or changed."""

    def __init__(self, model: Any, context: Context, latents: Latents) -> None:
        self.model, self.context, self.latents = model, context, latents
        self.taps = Taps(model)

    def run(self) -> dict[int, Tensor]:
        """Return the stream of every layer with nothing changed."""
        states: dict[int, Tensor] = {}
        self._run(None, states)
        return states

    def changed(
        self, intervention: Intervention, text: CleanText
    ) -> tuple[dict[int, Tensor], list[tuple[Tensor, Tensor]]]:
        """Return what every layer wrote, and coefficients and vectors that were added to it."""
        added: list[tuple[Tensor, Tensor]] = []
        states: dict[int, Tensor] = {}

        def act(layer: int, x: Tensor) -> Tensor:
            y = x
            if layer > intervention.first_layer and layer in text.errors:
                sae = self.latents.full[layer]
                y = (sae.decode(sae.encode(x), x=x) + text.errors[layer]).to(x.dtype)
            if any(each.layer == layer for each in intervention.latents):
                added.append(self._delta(intervention, layer, x, text))
                y = y + added[-1][1].to(y.dtype)
            return y

        self._run(act, states)
        return states, added

    def _delta(
        self, intervention: Intervention, layer: int, x: Tensor, text: CleanText
    ) -> tuple[Tensor, Tensor]:
        own = [at for at, each in enumerate(intervention.latents) if each.layer == layer]
        rows = self.latents.rows[layer].select(
            torch.tensor([self.latents.place(intervention.latents[at]) for at in own])
        )
        was, now = (
            self.latents.gated(rows, rows.preactivations(each), each)
            for each in (text.outputs[layer], x)
        )
        wanted = intervention.dose.factor * was
        if intervention.values is not None:
            wanted = torch.tensor([intervention.values[at] for at in own]).to(was).expand_as(was)
        where = text.changeable
        if intervention.positions is not None:
            where = where & np.isin(np.arange(len(where)), intervention.positions)
        coefficients = (wanted - now) * torch.from_numpy(where)[:, None].to(x.device)
        scale = normalised(x.to(rows.w_enc.dtype), rows.input_norm)[1]
        decoder = rows.w_dec
        if intervention.writes is not None:
            place = torch.tensor([self.latents.place(intervention.writes)])
            other = self.latents.rows[layer].select(place).w_dec
            decoder = other * (decoder.norm() / other.norm())
        return coefficients, coefficients @ decoder * scale

    def _run(self, act: Callable[[int, Tensor], Tensor] | None, states: dict[int, Tensor]) -> None:
        """Fill in what every layer wrote; what ``act`` returns goes on in its place."""

        def hook(layer: int) -> Callable[[Tensor], Tensor | None]:
            def on(x: Tensor) -> Tensor | None:
                states[layer] = x[0]
                return None if act is None else act(layer, x[0])[None]

            return on

        device = next(iter(self.model.parameters())).device
        tokens = torch.tensor([self.context.token_ids], device=device)
        with ExitStack() as stack:
            for layer in range(self.taps.n_layers):
                module = self.taps.module(self.taps.whole(HookPoint(layer)))
                stack.enter_context(self.taps.hooked(module, False, hook(layer)))
            self.model.base_model(input_ids=tokens, use_cache=False)
