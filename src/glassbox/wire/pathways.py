"""``/v1/pathways``: finished studies of which SAE latents drive which, and what fires them.

What was not measured is null. Shares and probabilities are fractions.
"""

from typing import Literal

from pydantic import Field

from glassbox.wire.shapes import Answered

MOST_EDGES = 2000
"""Most edges of one answer."""


class StudyBrief(Answered):
    """A study in the list of all."""

    name: str
    """Names it in the other addresses: its folder's name."""
    title: str
    """What its configuration calls it."""
    model: str
    """The model under study."""
    made_s: float | None
    """When its results were put together, Unix time."""
    n_latents: int
    """Latents that were studied."""
    n_replayed: int
    """Pathways that replay measured."""
    n_verified: int
    """Pathways that replay confirmed."""
    problem: str | None = None
    """Why it cannot be shown; null where it can."""


class StudiesAnswered(Answered):
    """All finished studies."""

    studies: list[StudyBrief]
    """By name."""


class AblationPointAnswered(Answered):
    """The decision with only the strongest latents left alone."""

    n_kept: int
    """Latents left alone."""
    faithfulness: float
    """Share of the framing's effect on the decision that is left; 1 is all of it."""


class SubgraphAnswered(Answered):
    """What ablating the found sub-graph, and everything but it, does to the decision."""

    n_latents: int
    """Latents of the study."""
    n_kept: int
    """Of these, those of the sub-graph."""
    n_prompts: int
    """Pairs of prompts that it was measured on."""
    full: float
    """Framing effect of the untouched model, difference of logits."""
    empty: float
    """The same with every latent of the study at its mean."""
    kept: float
    """The same with all but the sub-graph at their means."""
    without: float
    """The same with the sub-graph at its means."""
    faithfulness: float | None
    """(kept − empty) / (full − empty)."""
    faithfulness_low: float | None = None
    """Lower end of its 95 % interval."""
    faithfulness_high: float | None = None
    """Upper end of it."""
    completeness: float | None
    """How much of the effect ablating the sub-graph takes away."""
    completeness_low: float | None = None
    """Lower end of its 95 % interval."""
    completeness_high: float | None = None
    """Upper end of it."""
    random_faithfulness: list[float] = Field(default_factory=list)
    """Faithfulness of random sub-graphs of the same size."""
    p: float | None = None
    """Share of random sub-graphs at least as faithful."""
    curve: list[AblationPointAnswered] = Field(default_factory=list)
    """Faithfulness over the number of latents kept."""


class CommunityAnswered(Answered):
    """Latents that drive one another more than they drive others."""

    number: int
    """0 is the largest."""
    members: list[str]
    """Latents, strongest first."""
    share_inside: float
    """Share of their edges' weight that stays inside, [0, 1]."""
    tokens: list[str] = Field(default_factory=list)
    """Tokens that fire most of them."""


class DecisionPathAnswered(Answered):
    """A way from a token over latents to the decision."""

    nodes: list[str]
    """Names in order."""
    weight: float
    """Product of the weights of its edges; positive pushes towards stopping."""
    verified: bool
    """Whether an intervention confirmed every edge."""


class StudyAnswered(StudyBrief):
    """A study in its figures."""

    n_layers: int | None = None
    """Layers that have an SAE."""
    n_candidates: int
    """Pathways that the gradients proposed."""
    n_tokens: int
    """Pairs of latent and token that go together beyond chance."""
    n_expected_by_chance: float | None = None
    """Latents that would have been selected from noise."""
    layers: list[int] = Field(default_factory=list)
    """Layers with a latent of the study, ascending."""
    conventions: dict[str, str] = Field(default_factory=dict)
    """How things were read and measured."""
    calibration: dict[str, float] = Field(default_factory=dict)
    """How predictions compare with what replay measured: Spearman, slope, sign agreement."""
    warnings: list[str] = Field(default_factory=list)
    """What a reader should know."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """What it was made from."""
    subgraph: SubgraphAnswered | None = None
    """Faithfulness and completeness; null where not measured."""
    communities: list[CommunityAnswered] = Field(default_factory=list)
    """The largest first."""
    paths: list[DecisionPathAnswered] = Field(default_factory=list)
    """Ways from tokens to the decision, the strongest first."""


class GraphNodeAnswered(Answered):
    """A node of a study's graph."""

    name: str
    """Unique."""
    kind: Literal["token", "latent", "error", "logit"]
    """What it stands for; `logit` is the decision."""
    label: str
    """What a reader should see."""
    layer: int | None = None
    """Block of a latent; null for others."""
    community: int | None = None
    """Number of its community."""
    on_path: bool = False
    """Whether it lies on a verified path from a token to the decision."""


class EdgeAnswered(Answered):
    """An arrow of the graph."""

    source: str
    """Name of a node."""
    target: str
    """Name of a node."""
    weight: float
    """How much the source moves the target, in [-1, 1]."""
    verified: bool | None = None
    """Whether an intervention confirmed it; null where none was made."""


class GraphAnswered(Answered):
    """A study's graph, or its strongest part."""

    nodes: list[GraphNodeAnswered]
    """Ends of the edges."""
    edges: list[EdgeAnswered]
    """Those of paths to the decision first, then the verified ones, then by weight."""
    n_nodes: int
    """Nodes of the whole graph."""
    n_edges: int
    """Edges of the whole graph."""
