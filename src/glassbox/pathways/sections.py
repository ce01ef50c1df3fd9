"""The sections of a study's configuration: every key with meaning, unit, range and default.

Knows nothing of where values come from, nor of how steps are done.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from glassbox.types import TINY


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the same value stands there twice")
    return values


class Section(BaseModel):
    """Keys of the configuration that belong together."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class StudySection(Section):
    """What the study is called and where its files are; neither changes a result."""

    name: str = Field(default="study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Name of the study, in titles and in the server's addresses."""
    out: Path = Path("study")
    """Folder of all results; relative to the configuration file."""


class ModelSection(Section):
    """The model under study."""

    name: str = TINY
    """Folder or hub name of a causal language model; `tiny` is the embedded one."""
    revision: str | None = None
    """Hub revision; unset takes the default branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes bfloat16 only where it is multiplied natively."""
    device: str = "auto"
    """`auto` or a torch device name; changes no result beyond rounding."""


class SaesSection(Section):
    """The dictionaries, one SAE for each layer."""

    folder: str = TINY
    """Folder with one SAE per layer; `tiny` is the embedded model's set."""
    files: dict[int, str] = Field(default_factory=dict)
    """Layer to the file or folder of its SAE, in place of `folder`."""
    convention: Literal["openmoss", "saelens"] = "openmoss"
    """How Llama Scope files are read: as their authors do, or as SAELens does."""
    max_l0: float | None = Field(default=None, gt=0)
    """Latents active per token, without special positions, above which an SAE is refused as
    misread; unset goes by what its makers aimed at, or a tenth of its latents."""
    min_explained_variance: float = Field(default=0.3, le=1)
    """Explained variance, a fraction, below which an SAE is refused as misread."""


class DataSection(Section):
    """A patching study that is there already; unset means the one that `experiment` makes."""

    checkpoints: str | None = None
    """Folder with comprehensive_patching_checkpoint_*.json; relative to the configuration file."""
    response_logs: str | None = None
    """Folder with the response logs, *.json; relative to the configuration file."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.checkpoints is None) != (self.response_logs is None):
            raise ValueError(
                "checkpoints and response_logs are of one study: name both, or neither to have "
                "'experiment' make them"
            )
        return self


class ExperimentSection(Section):
    """The patching study that is made where there is none."""

    prompts: str = TINY
    """JSON Lines of paired prompts (prompt, kind, pair); `tiny` is the embedded slot machine."""
    n_pairs: int | None = Field(default=None, ge=1)
    """Pairs of prompts that are used; unset uses all."""
    latents: tuple[str, ...] = ()
    """Names of the latents to patch (L13-2044); empty takes `per_layer` of each layer."""
    per_layer: int = Field(default=16, ge=1)
    """Latents of each layer, those whose mean differs most between the kinds of prompt."""
    layers: Annotated[tuple[int, ...], AfterValidator(_distinct)] = ()
    """Layers whose latents are patched; empty takes all that have an SAE."""
    trials: int = Field(default=30, ge=1)
    """Sampled answers per latent and condition."""
    seed: int = Field(default=0, ge=0)
    """Decides which prompts, and what is sampled."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""
    max_new_tokens: int = Field(default=8, ge=1)
    """Longest response, tokens."""
    amplification: float = Field(default=2.0, gt=0)
    """What a latent's mean is multiplied by in the two amplification conditions."""
    positions: Literal["pair", "last"] = "pair"
    """Where a latent is patched: `pair`, at the tokens in which the two prompts of a pair differ
    and at the last one, each with the mean of its place; `last`, at the last token alone."""
    batch_rows: int = Field(default=64, ge=1)
    """Rows of one forward pass; changes no result beyond rounding."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level of the test that calls a latent causal."""
    min_abs_d: float = Field(default=0.3, ge=0)
    """Smallest |Cohen's d| of a latent that is called causal."""
    plant: bool = False
    """Add a causal latent and nulls that are known, to see that the first is found and no other."""
    plant_layer: int | None = Field(default=None, ge=0)
    """Layer of the planted causal latent; unset takes the one a quarter of the way up."""
    plant_nulls: int = Field(default=4, ge=0)
    """Planted latents without effect, of the same norm and activation."""


class AuditSection(Section):
    """What the patching study is held to."""

    expected_trials: int = Field(default=30, ge=1)
    """Trials per latent and condition that the study meant to have."""
    least_trials: int = Field(default=20, ge=1)
    """Fewer trials than this of a latent and condition are a warning."""
    contrast: tuple[str, str] | None = None
    """Treated condition and baseline that cohen_d compares; unset finds out from the files."""
    outcome: str = "decision"
    """Field of the log that cohen_d is computed on; `decision` counts stop as 1."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate, a fraction."""
    n_permutations: int = Field(default=2000, ge=100)
    """Permutations of the condition labels for max-|d|."""
    seed: int = Field(default=0, ge=0)
    """Of permutations, bootstrap and split halves."""
    despite_errors: bool = False
    """Go on although there are errors, with the latents that have none."""


class SelectSection(Section):
    """Which latents are studied on."""

    top_per_layer: int = Field(default=50, ge=1)
    """Latents of each layer, by |Cohen's d|."""
    rule: Literal["abs_d", "corrected", "both"] = "abs_d"
    """`abs_d` takes the top by |d|, `corrected` what holds after correction, `both` what does both.
    """
    only_causal: bool = True
    """Take only latents that the study itself calls causal."""
    dictionary_size: int | None = Field(default=None, ge=1)
    """Latents of a layer that the study chose from by their effects, where its checkpoints hold the
    chosen alone: q-values and what chance would give are over all of them. Unset counts those in
    the checkpoints."""


class PrototypeSection(Section):
    """The rehearsal with one latent."""

    latent: str | None = None
    """Name of the latent; unset takes the strongest of the deepest layer."""
    top: int = Field(default=10, ge=1)
    """Upstream candidates of each layer that are shown."""


class ContextsSection(Section):
    """On which texts a target is looked at."""

    top: int = Field(default=4, ge=0)
    """Contexts in which the target is most active."""
    spread: int = Field(default=4, ge=0)
    """Further contexts, spread over its other activations."""
    max_tokens: int = Field(default=512, ge=2)
    """Longest document, tokens; longer ones are cut and counted."""
    seed: int = Field(default=0, ge=0)
    """Decides between contexts that are equally good."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.top + self.spread < 1:
            raise ValueError("top and spread are both 0: a target needs a context")
        return self


class DiscoverSection(Section):
    """Upstream gradients, and which of them are worth a replay."""

    mode: Literal["total", "frozen"] = "total"
    """`total` is the true derivative; `frozen` holds attention and norms, and is linear."""
    path: Literal["past", "through"] = "past"
    """`past` passes later SAEs by, as a replay does; `through` goes through their latents."""
    sources: Literal["selected", "all"] = "selected"
    """Sources are the selected latents, or every latent of the dictionaries."""
    cut: Literal["share", "gradient"] = "share"
    """Kept by share of the target's summed |attribution|, or by |gradient| in raw units."""
    min_share: float = Field(default=0.01, ge=0, lt=1)
    """Smallest share, a fraction, of `cut: share`."""
    min_gradient: float = Field(default=0.1, ge=0)
    """Smallest |gradient| of `cut: gradient`. Source: the study's plan, phase B."""
    rank_by: Literal["total", "mediated"] = "total"
    """What the top sources are ranked by; `mediated` leaves out what the skip connection carries.
    """
    top: int = Field(default=25, ge=1)
    """Most sources of a target. Source: the study's plan, phase B."""
    chunk_targets: int = Field(default=256, ge=1)
    """Targets that go through the sweep together; halved where memory runs out."""


class ReplaySection(Section):
    """Changing a source and measuring its targets."""

    doses: Annotated[tuple[Literal["ablate", "half", "double"], ...], AfterValidator(_distinct)] = (
        Field(default=("ablate", "half", "double"), min_length=1)
    )
    """What is done to the source latent's activation."""
    exhaustive: bool = False
    """Replay every selected source and read every target, not only the kept pathways."""
    close_texts: int | None = Field(default=None, ge=1)
    """Texts of each pathway in which its source gets all doses and random directions; in its other
    texts it gets the first dose. Unset is all of them."""
    n_null: int = Field(default=20, ge=0)
    """Random directions that stand in for each source in each text that is looked at closely."""
    below_cut: float = Field(default=0.01, ge=0, le=1)
    """Share of the pathways below the cut that is replayed, to bound what was missed."""
    max_below: int = Field(default=3000, ge=1)
    """Most of them, all texts together, as expected of the draw: 3,000 of which none stands out
    bound their share at 0.1 %."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate of verified pathways, a fraction."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Positions of all runs together in one layer; halved where memory runs out."""
    seed: int = Field(default=0, ge=0)
    """Of the null and of the sample below the cut."""


class TokensSection(Section):
    """Which tokens fire which latents."""

    n_permutations: int = Field(default=200, ge=0)
    """Circular shifts within responses."""
    offsets: Annotated[tuple[int, ...], AfterValidator(_distinct)] = (-1, 0, 1)
    """Positions of the token relative to the activation."""
    min_count: int = Field(default=5, ge=1)
    """Fewest occurrences of a token that is tested."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate, a fraction."""
    top: int = Field(default=10, ge=1)
    """Contexts of each latent that are kept with the activation of every token."""
    max_responses: int | None = Field(default=None, ge=1)
    """Most distinct responses that are read, drawn by a seeded hash; unset reads all."""
    prior: float = Field(default=1000.0, gt=0)
    """Weight, in tokens, of the Dirichlet prior of the log-odds."""
    seed: int = Field(default=0, ge=0)
    """Of the shifts."""


class IntegrateSection(Section):
    """One table, one graph, one report."""

    n_paths: int = Field(default=50, ge=1)
    """Paths from a token to the decision that are listed."""
    faithfulness: bool = True
    """Ablate what is outside the sub-graph, and inside it, and measure the decision."""
    n_cards: int = Field(default=100, ge=1)
    """Latents with a card in the report."""
    n_prompts: int = Field(default=24, ge=1)
    """Pairs of prompts on which the decision is measured."""
    n_null: int = Field(default=20, ge=0)
    """Random directions that stand in for a latent before the decision, on all of these prompts;
    fewer than four leave nothing to hold an effect against. From 15 on, and of many latents, those
    that look ordinary beside five of them get no more."""
    n_graphs: int = Field(default=4, ge=0)
    """Prompts that are exported as graphs for circuit-tracer and Neuronpedia."""
    seed: int = Field(default=0, ge=0)
    """Of the communities, the random directions and sub-graphs, and the intervals."""


class LimitsSection(Section):
    """What the machine may be asked for; exceeding it by forecast refuses the start."""

    gpu_bytes: int = Field(default=28_000_000_000, ge=1)
    """Device memory. Source: the study's plan, "Memory usage < 28GB"."""
    host_bytes: int | None = Field(default=None, ge=1)
    """Host memory; unset is what is free when the prototype ends."""
    disk_bytes: int | None = Field(default=None, ge=1)
    """Size of the results; unset is what is free on the disk."""


class ParallelSection(Section):
    """How work is spread; changes no result."""

    backend: Literal["local", "ray"] = "local"
    """`local` is this process; `ray` runs the shards on a Ray cluster."""
    address: str = "local"
    """Of the cluster: `local` starts one here, `auto` finds one, or `host:port`."""
    workers: int = Field(default=1, ge=1)
    """Ray tasks at a time, each with a copy of the model."""
    gpus_each: float = Field(default=0.0, ge=0)
    """GPUs of each task; a fraction shares one."""
    retries: int = Field(default=3, ge=0)
    """How often a task is done again whose process died."""
    contexts_per_shard: int = Field(default=16, ge=1)
    """Contexts that one shard file of the sweep holds, and one of the replays after it."""
    passes_per_shard: int = Field(default=16, ge=1)
    """Forward passes over the corpus, 4,096 positions each, that one shard file holds."""
    layers_per_shard: int | None = Field(default=None, ge=1)
    """Layers of targets that one shard of the sweep holds; unset holds all, which shares most."""
