"""One prompt's graph: tokens, latents, SAE errors and answers at positions, with attributions.

Plain autograd on the lent model, one backward pass for each latent kept: a handful of prompts are
shown this way, the study's tables come from the sweep. Every weight is gradient times value, with
the total derivative past later SAEs; it is a total effect, not a direct one, so the weights that
come into a node count what flows along several ways more than once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from glassbox.engine.states.taps import Taps
from glassbox.errors import InvalidData
from glassbox.pathways.integration.lens import capped
from glassbox.pathways.integration.values import NodeKind
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.sae import Sae
from glassbox.types import HookPoint, TokenIds

WEIGHT: Final = (
    "gradient times value; total derivative of the target's pre-activation (of the logit less the "
    "mean logit, for an answer) past later SAEs"
)
"""What the weights of the edges are, for those who get the file."""


class LoadsSaes(Protocol):
    """Dictionaries that give one layer's SAE at a time."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that have an SAE."""

    def load(self, layer: int, *, device: Any = ..., dtype: Any = ...) -> Sae:
        """Return a layer's SAE."""


@dataclass(frozen=True)
class PromptNode:
    """A node at one position of the prompt."""

    kind: NodeKind
    position: int
    index: int
    """The latent's index, the token's id; -1 for an error."""
    layer: int | None = None
    """Block of a latent or error."""
    value: float | None = None
    """Activation of a latent."""
    prob: float | None = None
    """Probability of an answer."""
    influence: float = 0.0
    """Share of all absolute attribution to the decision, of latents, errors and tokens, kept or
    not, in [0, 1]."""
    label: str = ""


@dataclass(frozen=True)
class PromptEdge:
    """An arrow between two nodes, by their places."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True)
class PromptGraph:
    """One prompt's nodes and edges."""

    prompt: str
    tokens: tuple[str, ...]
    n_layers: int
    nodes: tuple[PromptNode, ...]
    edges: tuple[PromptEdge, ...]
    n_latents_active: int
    """Latents that fire on the prompt, of which the strongest are nodes."""
    n_positions_left_out: int
    """First and special positions: nothing there is a node but its token."""


@dataclass(frozen=True)
class Tracing:
    """How much of a prompt's graph is kept."""

    n_latents: int = 60
    """Latent nodes: those with the largest attribution to the decision."""
    n_errors: int = 12
    """Error nodes, likewise."""
    n_sources: int = 12
    """Edges that come into one node, the largest."""


@dataclass(frozen=True)
class Prompt:
    """What is traced."""

    token_ids: TokenIds
    texts: tuple[str, ...]
    """Each token as it is to be shown."""
    special_ids: frozenset[int] = frozenset()
    """Token ids whose positions hold no nodes but their tokens, as the first position does."""

    @property
    def counted(self) -> list[bool]:
        """Which positions hold latents and errors."""
        return [
            place > 0 and token not in self.special_ids
            for place, token in enumerate(self.token_ids)
        ]


@dataclass(frozen=True, eq=False)
class _Part:
    """A node, and how it writes and reads the residual stream."""

    node: PromptNode
    direction: Tensor | None = None
    """What it adds to its place; none for an answer."""
    encoder: Tensor | None = None
    """What it reads with; latents only."""


@dataclass(frozen=True, eq=False)
class _Run:
    """The forward pass: the embeddings' leaf, then each block's output that has an SAE."""

    places: tuple[Tensor, ...]
    layers: tuple[int, ...]
    logits: Tensor
    """At the last position, float32."""

    def where(self, node: PromptNode) -> int:
        """Return at which place a node writes."""
        return 0 if node.layer is None else 1 + self.layers.index(node.layer)

    def gradients(self, target: Tensor, n_places: int) -> list[Tensor]:
        """Return the target's derivative by the first places, ``[position, d]``."""
        places = self.places[:n_places]
        found = torch.autograd.grad(target, places, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(place[0]) if gradient is None else gradient[0]
            for place, gradient in zip(places, found, strict=True)
        ]


def trace_prompt(
    model: Any,
    prompt: Prompt,
    saes: LoadsSaes,
    answers: Mapping[int, str],
    *,
    study: frozenset[LatentId] = frozenset(),
    tracing: Tracing = Tracing(),
) -> PromptGraph:
    """Return the graph of one prompt, up to the logits of the answers at its end.

    Args:
        model: The lent causal language model, in evaluation mode.
        prompt: What is traced.
        saes: Dictionaries; each layer's is loaded once and let go.
        answers: Token id to name of each answer; the decision is the first less the second.
        study: Latents of the study, which are marked.
        tracing: How much is kept.

    Raises:
        InvalidData: Fewer than two answers, or no token.
        UnsupportedModel: The model's blocks are not known by name.
    """
    if len(answers) < 2 or not prompt.token_ids:
        raise InvalidData("a prompt's graph needs a token and two answers")
    run = _forward(model, prompt, saes.layers)
    first, second = list(answers)[:2]
    with torch.enable_grad():
        decision = run.logits[first] - run.logits[second]
        targets = {token: run.logits[token] - run.logits.mean() for token in answers}
    parts, n_active = _chosen(run, prompt, saes, run.gradients(decision, len(run.places)), tracing)
    parts = [_marked(part, study) for part in parts]
    probs = run.logits.detach().softmax(dim=-1)
    last = len(prompt.token_ids) - 1
    for token, name in answers.items():
        node = PromptNode("logit", last, token, prob=float(probs[token]), label=name)
        parts.append(_Part(node))
    edges: list[PromptEdge] = []
    for place, part in enumerate(parts):
        if part.node.kind == "logit":
            edges += _incoming(run, parts, place, targets[part.node.index], tracing)
        elif part.encoder is not None:
            with torch.enable_grad():
                state = run.places[run.where(part.node)][0, part.node.position]
                pre_activation = state @ part.encoder
            edges += _incoming(run, parts, place, pre_activation, tracing)
    return PromptGraph(
        prompt="".join(prompt.texts),
        tokens=prompt.texts,
        n_layers=int(model.config.get_text_config().num_hidden_layers),
        nodes=tuple(part.node for part in parts),
        edges=tuple(edges),
        n_latents_active=n_active,
        n_positions_left_out=prompt.counted.count(False),
    )


def _forward(model: Any, prompt: Prompt, layers: tuple[int, ...]) -> _Run:
    taps = Taps(model)
    points = [taps.whole(HookPoint(layer)) for layer in layers]
    ids = torch.tensor([prompt.token_ids], device=next(iter(model.parameters())).device)
    with torch.enable_grad(), taps.tapped(points) as seen:
        leaf = model.get_input_embeddings()(ids).detach().requires_grad_()
        states = model.base_model(inputs_embeds=leaf, use_cache=False).last_hidden_state
        logits = capped(model, model.get_output_embeddings()(states[0, -1]).float())
    return _Run((leaf, *(seen[point] for point in points)), layers, logits)


def _chosen(
    run: _Run, prompt: Prompt, saes: LoadsSaes, gradients: Sequence[Tensor], tracing: Tracing
) -> tuple[list[_Part], int]:
    """Return tokens, errors and latents by attribution to the decision, and how many fire."""
    latents: list[_Part] = []
    errors: list[_Part] = []
    counted = torch.tensor(prompt.counted, device=run.logits.device).unsqueeze(-1)
    n_active, total = 0, 0.0
    for place, layer in enumerate(run.layers, start=1):
        x = run.places[place][0].detach()
        sae = saes.load(layer, device=x.device, dtype=x.dtype)
        f = sae.encode(x) * counted
        attribution = (gradients[place] @ sae.w_dec.T) * f
        n_active += int((f > 0).sum())
        total += float(attribution.abs().sum())
        latents += _strongest_latents(layer, sae, f, attribution, tracing.n_latents)
        error = sae.error(x) * counted
        shares = (gradients[place] * error).sum(dim=-1).tolist()
        total += sum(map(abs, shares))
        errors += [
            _Part(PromptNode("error", position, -1, layer, None, None, share,
                             f"error of layer {layer}"), error[position])
            for position, share in enumerate(shares)
            if share
        ]  # fmt: skip
    start = run.places[0][0].detach()
    shares = (gradients[0] * start).sum(dim=-1).tolist()
    total += sum(map(abs, shares))
    tokens = [
        _Part(PromptNode("token", place, token, influence=shares[place], label=text), start[place])
        for place, (token, text) in enumerate(zip(prompt.token_ids, prompt.texts, strict=True))
    ]
    errors.sort(key=_by_influence)
    latents.sort(key=_by_influence)
    kept = [*tokens, *errors[: tracing.n_errors], *latents[: tracing.n_latents]]
    scale = total or 1.0
    return [
        replace(part, node=replace(part.node, influence=abs(part.node.influence) / scale))
        for part in kept
    ], n_active


def _by_influence(part: _Part) -> float:
    return -abs(part.node.influence)


def _strongest_latents(
    layer: int, sae: Sae, f: Tensor, attribution: Tensor, n_latents: int
) -> list[_Part]:
    flat = attribution.abs().flatten()
    strongest = flat.topk(min(n_latents, int((flat > 0).sum()))).indices.tolist()
    found = []
    for position, index in (divmod(where, sae.d_sae) for where in strongest):
        value = float(f[position, index])
        node = PromptNode(
            "latent", position, index, layer, value, None, float(attribution[position, index])
        )
        found.append(_Part(node, value * sae.w_dec[index], sae.w_enc[index].clone()))
    return found


def _marked(part: _Part, study: frozenset[LatentId]) -> _Part:
    if part.node.kind != "latent" or part.node.layer is None:
        return part
    latent = LatentId(part.node.layer, part.node.index)
    label = f"{latent.name} (of the study)" if latent in study else latent.name
    return replace(part, node=replace(part.node, label=label))


def _incoming(
    run: _Run, parts: Sequence[_Part], target: int, value: Tensor, tracing: Tracing
) -> list[PromptEdge]:
    """Return the strongest edges into a node."""
    node = parts[target].node
    n_places = len(run.places) if node.layer is None else run.where(node)
    gradients = run.gradients(value, n_places)
    rows, directions, sources = [], [], []
    for place, part in enumerate(parts):
        where = run.where(part.node)
        if part.direction is not None and where < n_places:
            rows.append(gradients[where][part.node.position])
            directions.append(part.direction)
            sources.append(place)
    weights = (torch.stack(rows) * torch.stack(directions)).float().sum(dim=-1).tolist()
    found = [
        PromptEdge(source, target, weight)
        for source, weight in zip(sources, weights, strict=True)
        if weight
    ]
    found.sort(key=lambda edge: (-abs(edge.weight), edge.source))
    return found[: tracing.n_sources]
