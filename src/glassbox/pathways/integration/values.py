"""What a finished study shows: rows of its tables, cards of its latents, its graph. Values only.

Everything here is plain text, numbers and tuples, so that a server, a command and a page can show
it without further work. A figure that was not measured is None, never NaN. Knows nothing of files.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Row = TypeVar("Row")

NodeKind = Literal["token", "latent", "error", "logit"]
"""What a node of the graph stands for; ``logit`` is an answer, ``error`` what an SAE leaves out."""

DECISION = "decision"
"""Name of the node that stands for the decision: the logit of stopping less that of going on."""


EVERY_CONDITION = "all"
"""Stands in a token's row for all of the study's conditions together."""


@dataclass(frozen=True)
class LatentRow:
    """One latent of the study."""

    name: str
    """``L13-2044``."""
    layer: int
    """Block, 0-based."""
    index: int
    """Row in its SAE, 0-based."""
    is_causal: bool | None = None
    """What the patching study said."""
    cohen_d: float | None = None
    """Effect size as the study gave it."""
    hedges_g: float | None = None
    """Effect size corrected for few trials."""
    effect_low: float | None = None
    """Lower end of the effect size's 95 % interval."""
    effect_high: float | None = None
    """Upper end of it."""
    q: float | None = None
    """Benjamini-Hochberg adjusted p-value of the effect."""
    n_active: int | None = None
    """Positions of the corpus where it fires."""
    active_share: float | None = None
    """The same as a fraction of all positions that count."""
    activation_mean: float | None = None
    """Mean activation where it fires."""
    activation_max: float | None = None
    """Largest activation."""
    decision_effect: float | None = None
    """Change of the decision's logit difference (stop less continue) when it is ablated."""
    decision_low: float | None = None
    """Lower end of its 95 % bootstrap interval over prompts."""
    decision_high: float | None = None
    """Upper end of it."""
    decision_z: float | None = None
    """Distance of the effect from those of random directions in its place, in their spread."""
    decision_p: float | None = None
    """P-value against random directions in its place."""
    decision_q: float | None = None
    """Adjusted over the latents (Benjamini-Hochberg)."""
    community: int | None = None
    """Number of its community in the graph, 0 the largest; None where it has no pathway."""
    n_upstream: int = 0
    """Kept pathways that end in it."""
    n_downstream: int = 0
    """Kept pathways that start in it."""
    in_strength: float = 0.0
    """Sum of the absolute weights of those that end in it."""
    out_strength: float = 0.0
    """Sum of the absolute weights of those that start in it."""
    betweenness: float = 0.0
    """Share, in [0, 1], of the strongest paths between other nodes that go through it."""
    on_path: bool = False
    """Whether it lies on one of the strongest verified paths from a token to the decision."""
    top_tokens: tuple[str, ...] = ()
    """Tokens that fire it beyond chance, strongest first."""


@dataclass(frozen=True)
class DoseEffect:
    """What one change of the source did to the target."""

    dose: str
    """``ablate``, ``half`` or ``double``."""
    predicted_pre: float | None
    """Gradient times change of the source's activation."""
    measured_pre: float | None
    """Change of the target's pre-activation."""
    measured_post: float | None
    """Change of its activation."""
    flips: float | None
    """Measurements in which the target's gate opened or closed."""
    n_measured: int
    """Contexts in which it was measured."""


@dataclass(frozen=True)
class PathwayRow:
    """One pathway, from a source latent up to a target latent of a later layer."""

    source: str
    target: str
    source_layer: int
    target_layer: int
    n_contexts: int | None = None
    """Contexts of the target in which the source fires, no later than it."""
    n_active: int | None = None
    """Firings of the source in them."""
    gradient_mean: float | None = None
    """Mean change of the target's pre-activation for one unit more of the source wherever it
    fires."""
    gradient_sd: float | None = None
    """Its standard deviation over contexts."""
    attribution_mean: float | None = None
    """Mean of gradient times activation over the target's contexts, 0 where the source is
    silent."""
    attribution_share: float | None = None
    """Its share of all absolute attribution to the target, in [0, 1]."""
    direct: float | None = None
    """Virtual weight, per unit of the source: the target's encoder row times the source's decoder
    row; 0 where they never stand at one position."""
    mediated: float | None = None
    """Of the mean attribution, what the skip connection does not carry: what goes through
    attention and MLPs, in units of the target."""
    same_position_share: float | None = None
    """Share of the attribution that stays at one position, in [0, 1]."""
    path: str | None = None
    """``past`` or ``through``."""
    mode: str | None = None
    """``total`` or ``frozen``."""
    doses: tuple[DoseEffect, ...] = ()
    """What replay measured."""
    sign_agreement: float | None = None
    """Share of measurements with the predicted sign, in [0, 1]."""
    p: float | None = None
    """P-value against random directions in the source's place."""
    q: float | None = None
    """Adjusted over all pathways (Benjamini-Hochberg)."""
    verified: bool | None = None
    """Whether replay confirmed it; None where it was not replayed."""

    @property
    def effect(self) -> float | None:
        """Change of the target's pre-activation when the source is ablated."""
        ablated = self.ablated
        return None if ablated is None else ablated.measured_pre

    @property
    def ablated(self) -> DoseEffect | None:
        """What ablating the source did, where that was measured."""
        return next((each for each in self.doses if each.dose == "ablate"), None)


@dataclass(frozen=True)
class IntegratedRow:
    """One row of the one table: a pathway with what is known of both its ends.

    A latent without pathways has a row with itself as the target and no source.
    """

    target: str
    target_layer: int
    source: str | None = None
    source_layer: int | None = None
    attribution_share: float | None = None
    """Share of all absolute attribution to the target, in [0, 1]."""
    gradient_mean: float | None = None
    direct: float | None = None
    mediated: float | None = None
    effect_pre: float | None = None
    """Change of the target's pre-activation when the source is ablated."""
    effect_post: float | None = None
    """Change of its activation."""
    q: float | None = None
    """Adjusted p-value against random directions in the source's place."""
    verified: bool | None = None
    on_path: bool = False
    """Whether both ends lie on the strongest verified paths from a token to the decision."""
    source_cohen_d: float | None = None
    target_cohen_d: float | None = None
    source_decision_effect: float | None = None
    target_decision_effect: float | None = None
    source_community: int | None = None
    target_community: int | None = None
    source_tokens: tuple[str, ...] = ()
    """Tokens that fire the source beyond chance."""
    target_tokens: tuple[str, ...] = ()
    """Tokens that fire the target beyond chance."""


@dataclass(frozen=True)
class TokenRow:
    """One token that goes with one latent."""

    latent: str
    token: str
    """As the tokenizer writes it."""
    token_id: int | None = None
    condition: str = EVERY_CONDITION
    """Condition of the study whose responses were counted."""
    offset: int = 0
    """Position of the token relative to the firing: -1 is the token before it."""
    n_fires: int | None = None
    """Firings on (or beside) the token."""
    n_token: int | None = None
    """Occurrences of the token."""
    log_odds: float | None = None
    """Log-odds ratio with an informative Dirichlet prior."""
    z: float | None = None
    """The same over its standard deviation."""
    pmi: float | None = None
    """Pointwise mutual information in nats; a description, no test."""
    p: float | None = None
    """Hypergeometric p-value."""
    q: float | None = None
    """Adjusted (Benjamini-Hochberg)."""
    p_shift: float | None = None
    """P-value of circular shifts within responses."""
    q_shift: float | None = None
    """The larger of both p-values, adjusted: what must be small for the pair to be here."""
    activation_mean: float | None = None
    """Mean activation on the token."""


@dataclass(frozen=True)
class Histogram:
    """How often which activation occurs, where the latent fires."""

    edges: tuple[float, ...]
    """Borders of the bins, one more than counts."""
    counts: tuple[int, ...]


@dataclass(frozen=True)
class TopContext:
    """A piece of text around a strong firing."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    """One for each token; 0 where the latent is silent."""
    peak: int
    """Place of the strongest token in ``tokens``."""
    condition: str = ""
    """Condition under which the text was logged, or how many, in words."""
    document: int | None = None
    """Number of the document in the corpus."""
    start: int = 0
    """Position of the first token in its document."""


@dataclass(frozen=True)
class LensToken:
    """What a latent's decoder row does to one token's logit, read through the final norm."""

    token: str
    token_id: int
    logit: float
    """Per unit of activation, mean over the vocabulary taken off."""


@dataclass(frozen=True)
class ConditionRate:
    """Decisions under one condition of the patching study."""

    condition: str
    n_trials: int
    """Trials with a decision that could be read."""
    n_stop: int
    stop_share: float | None
    """Fraction in [0, 1]."""
    low: float | None
    """Lower end of Wilson's 95 % interval."""
    high: float | None
    """Upper end of it."""


@dataclass(frozen=True)
class StoredCard:
    """The part of a latent's card that no table holds."""

    name: str
    """The latent."""
    histogram: Histogram | None = None
    contexts: tuple[TopContext, ...] = ()
    promoted: tuple[LensToken, ...] = ()
    suppressed: tuple[LensToken, ...] = ()
    rates: tuple[ConditionRate, ...] = ()


@dataclass(frozen=True)
class LatentCard:
    """All that is known of one latent."""

    latent: LatentRow
    histogram: Histogram | None = None
    contexts: tuple[TopContext, ...] = ()
    promoted: tuple[LensToken, ...] = ()
    """Tokens whose logits it raises most."""
    suppressed: tuple[LensToken, ...] = ()
    """Tokens whose logits it lowers most."""
    tokens: tuple[TokenRow, ...] = ()
    """Tokens that fire it: over all texts first, then by condition."""
    rates: tuple[ConditionRate, ...] = ()
    upstream: tuple[PathwayRow, ...] = ()
    """Pathways that end in it, strongest first."""
    downstream: tuple[PathwayRow, ...] = ()
    """Pathways that start in it, strongest first."""


@dataclass(frozen=True)
class GraphNode:
    """A node of the study's graph."""

    name: str
    """A latent's name, ``token:` the``, ``decision``, or ``error:L3``."""
    kind: NodeKind
    label: str
    """What a reader should see."""
    layer: int | None = None
    """Block of a latent; None for tokens and logits."""
    community: int | None = None
    on_path: bool = False
    """Whether it lies on one of the strongest verified paths from a token to the decision."""


@dataclass(frozen=True)
class Edge:
    """An arrow of the graph: how much the source moves the target."""

    source: str
    target: str
    weight: float
    """Latent to latent: mean attribution (gradient times activation) as a signed share of all
    that reaches the target. Token to latent: the association's strength in [0, 1]. Latent to
    decision: effect as a signed share of the largest that there is an arrow for."""
    verified: bool | None = None
    """Whether an intervention confirmed it; None where none was made."""


@dataclass(frozen=True)
class DecisionPath:
    """A way from a token over latents to the decision."""

    nodes: tuple[str, ...]
    """Names in order; the last is ``decision``."""
    weight: float
    """Product of the weights of its edges; its sign says whether it pushes towards stopping."""
    verified: bool
    """Whether every edge behind the token stands out from random directions in its source's place.
    """


@dataclass(frozen=True)
class Community:
    """Latents that drive one another more than they drive others."""

    number: int
    """0 is the largest."""
    members: tuple[str, ...]
    """Latents, by strength inside it."""
    share_inside: float
    """Share of its members' edge weight that stays inside, in [0, 1]."""
    tokens: tuple[str, ...] = ()
    """Tokens that fire most of its members."""


@dataclass(frozen=True)
class GraphView:
    """The graph, or its strongest part."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]
    n_nodes: int
    """Nodes of the whole graph."""
    n_edges: int
    """Edges of the whole graph."""
    communities: tuple[Community, ...] = ()
    paths: tuple[DecisionPath, ...] = ()


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a table."""

    rows: tuple[Row, ...] = ()
    n_rows: int = 0
    """Rows that fit the question, shown or not."""
