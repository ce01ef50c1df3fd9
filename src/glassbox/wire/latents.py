"""``/v1/pathways/{study}/…``: latents of a study, pathways between them, tokens that fire them.

What was not measured is null. Shares and probabilities are fractions.
"""

from typing import Literal

from pydantic import Field

from glassbox.wire.shapes import Answered

PathwayOrder = Literal["attribution", "mediated", "effect", "q"]
"""How pathways can be ordered: strongest first, or smallest q."""

MOST_ROWS = 1000
"""Most rows of one answer."""


class LatentAnswered(Answered):
    """One latent of a study."""

    name: str
    """As `L13-2044`."""
    layer: int
    """Block, counted from 0."""
    index: int
    """Row in its SAE, counted from 0."""
    is_causal: bool | None = None
    """What the patching study said."""
    cohen_d: float | None = None
    """Effect size as the study gave it."""
    hedges_g: float | None = None
    """Effect size corrected for few trials."""
    effect_low: float | None = None
    """Lower end of its 95 % interval."""
    effect_high: float | None = None
    """Upper end of it."""
    q: float | None = None
    """Adjusted p-value of the effect (Benjamini-Hochberg)."""
    n_active: int | None = None
    """Positions where it fires."""
    active_share: float | None = None
    """The same as a share of all positions."""
    activation_mean: float | None = None
    """Mean activation where it fires."""
    activation_max: float | None = None
    """Largest activation."""
    decision_effect: float | None = None
    """Change of the decision's logit difference when it is ablated."""
    decision_low: float | None = None
    """Lower end of its 95 % interval."""
    decision_high: float | None = None
    """Upper end of it."""
    decision_q: float | None = None
    """Adjusted p-value of that change against random directions in the latent's place."""
    community: int | None = None
    """Number of its community; null where it has no pathway."""
    n_upstream: int = 0
    """Kept pathways that end in it."""
    n_downstream: int = 0
    """Kept pathways that start in it."""
    in_strength: float = 0.0
    """Sum of absolute weights of the first."""
    out_strength: float = 0.0
    """Sum of absolute weights of the second."""
    betweenness: float = 0.0
    """Share of the strongest paths between others that go through it."""
    on_path: bool = False
    """Whether it lies on a verified path from a token to the decision."""
    top_tokens: list[str] = Field(default_factory=list)
    """Tokens that fire it beyond chance, strongest first."""


class LatentsAnswered(Answered):
    """Latents of a study."""

    latents: list[LatentAnswered]
    """By layer and index."""


class DoseAnswered(Answered):
    """What one change of a source did to a target."""

    dose: str
    """`ablate`, `half` or `double`."""
    predicted_pre: float | None
    """Gradient times change of activation."""
    measured_pre: float | None
    """Change of the target's pre-activation."""
    measured_post: float | None
    """Change of its activation."""
    flips: float | None
    """Measurements in which its gate opened or closed."""
    n_measured: int
    """Contexts in which it was measured."""


class PathwayAnswered(Answered):
    """One pathway, from a source latent to a target of a later layer."""

    source: str
    """Latent that is changed."""
    target: str
    """Latent that is read."""
    source_layer: int
    """Block of the source."""
    target_layer: int
    """Block of the target."""
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
    """Mean of gradient times activation over the target's contexts; 0 where the source is
    silent."""
    attribution_share: float | None = None
    """Its share of all absolute attribution to the target, [0, 1]."""
    direct: float | None = None
    """Virtual weight: what the skip connection alone carries of one unit of the source."""
    mediated: float | None = None
    """Of the mean attribution, what the skip connection does not carry: what attention and MLPs
    add."""
    same_position_share: float | None = None
    """Share of the attribution that stays at one position, [0, 1]."""
    path: str | None = None
    """`past` later SAEs, or `through` them."""
    mode: str | None = None
    """`total` or `frozen`."""
    effect: float | None = None
    """Change of the target's pre-activation when the source is ablated."""
    doses: list[DoseAnswered] = Field(default_factory=list)
    """What replay measured."""
    sign_agreement: float | None = None
    """Share of measurements with the predicted sign."""
    p: float | None = None
    """P-value against random directions in the source's place."""
    q: float | None = None
    """The same, adjusted over all pathways."""
    verified: bool | None = None
    """Whether replay confirmed it; null where it was not replayed."""


class PathwaysAnswered(Answered):
    """Some of a study's pathways."""

    pathways: list[PathwayAnswered]
    """In the order asked for."""
    n_rows: int
    """Pathways that fit the question, shown or not."""


class AssociationAnswered(Answered):
    """One token that goes with one latent."""

    latent: str
    """The latent."""
    token: str
    """As the tokenizer writes it."""
    token_id: int | None = None
    """Its number in the vocabulary."""
    condition: str = "all"
    """Condition whose responses were counted."""
    offset: int = 0
    """Position of the firing relative to the token: 1 is one token later."""
    n_fires: int | None = None
    """Firings on, or beside, the token."""
    n_token: int | None = None
    """Occurrences of the token."""
    log_odds: float | None = None
    """Log-odds ratio with an informative prior."""
    z: float | None = None
    """The same over its standard deviation."""
    pmi: float | None = None
    """Pointwise mutual information, nats; a description, no test."""
    p: float | None = None
    """Hypergeometric p-value."""
    q: float | None = None
    """The same, adjusted (Benjamini-Hochberg)."""
    p_shift: float | None = None
    """P-value of circular shifts within responses."""
    q_shift: float | None = None
    """The larger of both p-values, adjusted: what must be small for the pair to be called out."""
    activation_mean: float | None = None
    """Mean activation on the token."""


class TokensAnswered(Answered):
    """Some of a study's token associations."""

    tokens: list[AssociationAnswered]
    """By z, the largest first."""
    n_rows: int
    """Associations that fit the question, shown or not."""


class HistogramAnswered(Answered):
    """How often which activation occurs."""

    edges: list[float]
    """Borders of the bins, one more than counts."""
    counts: list[int]
    """Firings in each bin."""


class TopContextAnswered(Answered):
    """A piece of text around a strong firing."""

    tokens: list[str]
    """In order."""
    activations: list[float]
    """One for each token; 0 where the latent is silent."""
    peak: int
    """Place of the strongest token."""
    condition: str = ""
    """Condition of its response."""
    document: int | None = None
    """Number of the response in the corpus."""
    start: int = 0
    """Position of the first token in it."""


class LensTokenAnswered(Answered):
    """What a latent does to one token's logit."""

    token: str
    """The token."""
    token_id: int
    """Its number in the vocabulary."""
    logit: float
    """Per unit of activation, mean over the vocabulary taken off."""


class ConditionRateAnswered(Answered):
    """Decisions under one condition."""

    condition: str
    """One of the six."""
    n_trials: int
    """Trials whose decision could be read."""
    n_stop: int
    """Of these, those that stopped."""
    stop_share: float | None
    """The same as a fraction."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end of it."""


class LatentCardAnswered(Answered):
    """All that is known of one latent."""

    latent: LatentAnswered
    """Its figures."""
    histogram: HistogramAnswered | None = None
    """Of its activations, where it fires."""
    contexts: list[TopContextAnswered] = Field(default_factory=list)
    """Where it fires most."""
    promoted: list[LensTokenAnswered] = Field(default_factory=list)
    """Tokens whose logits it raises most."""
    suppressed: list[LensTokenAnswered] = Field(default_factory=list)
    """Tokens whose logits it lowers most."""
    tokens: list[AssociationAnswered] = Field(default_factory=list)
    """Tokens that go with it."""
    rates: list[ConditionRateAnswered] = Field(default_factory=list)
    """Decisions under each condition when it was patched."""
    upstream: list[PathwayAnswered] = Field(default_factory=list)
    """Pathways that end in it, strongest first."""
    downstream: list[PathwayAnswered] = Field(default_factory=list)
    """Pathways that start in it, strongest first."""
