"""The same gradients by plain automatic differentiation: slow, obvious, and for any model.

For each target one forward pass of the model's own modules with the latents in the graph, and one
backward pass. It is what the sweep is checked against, and the way for models whose blocks are not
known by heart.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glassbox.engine.states.taps import NAMES
from glassbox.errors import InvalidValue, UnsupportedModel
from glassbox.pathways.corpus.contexts import Context, Target
from glassbox.pathways.discovery.gradients import ContextGradients, LayerGradients, Path
from glassbox.pathways.discovery.sources import SourceLayer, place_of
from glassbox.pathways.saes.rows import LatentRows


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return a model's blocks, in order.

    Raises:
        UnsupportedModel: They are not known by name.
    """
    config: Any = model.config
    kind = config.get_text_config().model_type
    if kind not in NAMES:
        raise UnsupportedModel(
            f"The layers of a model of type {kind!r} are not known by name. "
            f"Known: {', '.join(NAMES)}."
        )
    return list(model.get_submodule(NAMES[kind].blocks).children())


def plain_gradients(
    model: nn.Module,
    context: Context,
    targets: Mapping[int, LatentRows],
    sources: Mapping[int, SourceLayer],
    path: Path = "past",
) -> ContextGradients:
    """Return a context's gradients, one forward and one backward pass a target.

    Args:
        model: A causal language model of the Hugging Face library.
        context: The text and its targets.
        targets: Rows of the targets, by layer.
        sources: Sources by layer, whole dictionaries where the path goes through them.
        path: Past later SAEs or through their latents.

    Raises:
        InvalidData: A target's row was not given.
        InvalidValue: ``through`` was asked of a few rows.
    """
    seen: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
    for row, target in enumerate(context.targets):
        found = target_gradients(model, context, target, targets, sources, path)
        for layer, pair in found.items():
            seen.setdefault(layer, {})[row] = pair
    layers = [_gather(context, sources[at], targets, seen[at]) for at in sorted(seen)]
    return ContextGradients(context, "total", path, tuple(layers))


def target_gradients(
    model: nn.Module,
    context: Context,
    target: Target,
    targets: Mapping[int, LatentRows],
    sources: Mapping[int, SourceLayer],
    path: Path = "past",
) -> dict[int, tuple[Float[Tensor, "positions n"], Float[Tensor, "positions n"]]]:
    """Return, by source layer, the gradient of one target by each latent, and its activations.

    The plan's way for one latent: a forward pass with the SAEs in the graph, and a backward pass.
    """
    place = place_of(target.latent, targets)
    rows = targets[target.latent.layer]
    blocks = layers_of(model)
    below = {at: each for at, each in sources.items() if at < target.latent.layer}
    values: dict[int, Tensor] = {}
    stream: list[Tensor] = []
    with ExitStack() as hooks, torch.enable_grad():
        for layer, source in below.items():
            hooks.enter_context(_changed(blocks[layer], _spliced(source, values, path)))
        top = blocks[target.latent.layer]
        hooks.enter_context(_changed(top, partial(_kept, stream)))
        tokens = torch.tensor(context.token_ids, device=next(model.parameters()).device)
        trunk: Any = model.base_model
        trunk(input_ids=tokens[None], use_cache=False)
        z = _preactivation(stream[0], target, rows, place, sources)
        order = sorted(values)
        found = torch.autograd.grad(z, [values[at] for at in order]) if order else ()
    return {
        at: (gradient[0], values[at].detach()[0]) for at, gradient in zip(order, found, strict=True)
    }


def _preactivation(
    x: Float[Tensor, "1 positions d"],
    target: Target,
    rows: LatentRows,
    place: int,
    sources: Mapping[int, SourceLayer],
) -> Float[Tensor, ""]:
    """Return the target's z, read off its whole dictionary where that is there."""
    own = sources.get(target.latent.layer)
    if own is not None and own.is_whole:
        return own.latents.preactivations(x)[0, target.position, target.latent.index]
    return x[0, target.position] @ rows.w_enc[place].to(x) + rows.b_enc[place]


def _spliced(
    source: SourceLayer, values: dict[int, Tensor], path: Path
) -> Callable[[Tensor], Tensor]:
    """Return what puts a layer's latents into the graph, their error held constant."""
    if path == "through" and not source.is_whole:
        raise InvalidValue(
            "path", "through", "'past' where sources are a few rows: through needs all latents"
        )

    def splice(x: Tensor) -> Tensor:
        if path == "through":
            f = source.activations(x)
            if not f.requires_grad:
                f.requires_grad_(True)
            rebuilt = f @ source.latents.w_dec.to(x)
            values[source.layer] = f
            return rebuilt + (x - rebuilt).detach()
        f = source.activations(x.detach()).requires_grad_(True)
        values[source.layer] = f
        rebuilt = f @ source.latents.w_dec.to(x)
        return x + rebuilt - rebuilt.detach()

    return splice


def _kept(stream: list[Tensor], x: Tensor) -> Tensor:
    stream.append(x)
    return x


@contextmanager
def _changed(block: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put another output in the place of a block's."""

    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _gather(
    context: Context,
    source: SourceLayer,
    targets: Mapping[int, LatentRows],
    seen: Mapping[int, tuple[Tensor, Tensor]],
) -> LayerGradients:
    """Return one layer's gradients in the sweep's arrangement."""
    reach = max(context.targets[row].position for row in seen)
    activations = next(iter(seen.values()))[1][: reach + 1]
    firing = source.firing_of(activations, context.excluded)
    positions = firing.positions[firing.counted]
    places = firing.places[firing.counted]
    first = min(seen)
    gradients = torch.stack(
        [seen[row][0][positions, places] for row in range(first, len(context.targets))]
    )
    direct = torch.zeros_like(gradients)
    for row, target in enumerate(context.targets[first:]):
        vector = targets[target.latent.layer].w_enc[place_of(target.latent, targets)]
        # Targets' rows may be on the host.
        vector = vector.to(direct.device)
        here = positions == target.position
        direct[row, here] = source.latents.w_dec[places[here]].to(vector) @ vector
    return LayerGradients(
        source.layer,
        positions.cpu().numpy(),
        source.index_of(places).cpu().numpy(),
        firing.activations[firing.counted].cpu().numpy(),
        first,
        gradients.float().cpu().numpy(),
        direct.float().cpu().numpy(),
        firing.n_excluded,
    )
