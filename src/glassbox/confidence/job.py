"""What one run of the main job is asked to do.

A value, not behaviour: the command line, Python callers and ``run.json`` share it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from glassbox.engine.protocol import AdapterRecipe, Engine
from glassbox.errors import InvalidValue
from glassbox.stats.checking import checked_count, checked_fraction
from glassbox.stats.selective.business import Costs
from glassbox.types import BadRows, ModelSpec, OverlongPolicy, Quantization

Tuning = Literal["no", "missing", "again"]
"""``no``: use an adapter if one is there; ``missing``: tune unless one is; ``again``: tune."""

OpenEngine = Callable[[ModelSpec], Engine]
"""Makes a model resident; called only when something has to be computed."""


@dataclass(frozen=True)
class DataChoice:
    """Which rows to read, and how."""

    source: str
    """File, folder, hub name, or ``tiny``."""
    text_column: str | None = None
    """Column of the texts; None looks for a usual name."""
    label_column: str | None = None
    """Column of the labels; None looks for a usual name."""
    data_format: str | None = None
    """What the source is read as; None finds out."""
    encoding: str | None = None
    """Python's name of the codec; None detects it."""
    bad_rows: BadRows = "error"
    """Whether a row that cannot be used stops the reading, or is left out and counted."""
    labels_file: Path | None = None
    """``labels.toml``; None makes the label set from the labels in the data."""
    sample: int | None = None
    """Evaluate only so many held-out rows; None takes all."""

    def __post_init__(self) -> None:
        """Refuse another word for bad rows: it would leave them out.

        Raises:
            InvalidValue: There is no such way.
        """
        _check_known("bad_rows", self.bad_rows, get_args(BadRows))


@dataclass(frozen=True)
class Promise:
    """What the threshold has to guarantee."""

    max_error: float = 0.05
    """Largest error rate among automated rows, a fraction in (0, 1)."""
    confidence_level: float = 0.9
    """Probability with which it must hold, a fraction in (0, 1)."""

    def __post_init__(self) -> None:
        """Refuse what no threshold can keep, before anything is measured for it.

        Raises:
            InvalidValue: One of the two is no fraction in (0, 1).
        """
        checked_fraction("max_error", self.max_error)
        checked_fraction("confidence_level", self.confidence_level)


@dataclass(frozen=True)
class Job:
    """One run of the main job."""

    model: ModelSpec
    """Base model, and an adapter if one is brought along."""
    data: DataChoice
    """The labelled texts."""
    out: Path
    """Run folder."""
    tuning: Tuning = "no"
    """Whether LoRA weights are fitted."""
    recipe: AdapterRecipe = field(default_factory=AdapterRecipe)
    """How they are fitted; rank and seed come from below."""
    rank: int | None = None
    """Rank of the LoRA updates; None trains about 2 % of the parameters."""
    promise: Promise = field(default_factory=Promise)
    """What the threshold has to guarantee."""
    costs: Costs | None = None
    """What mistakes and reviews cost; None leaves costs out."""
    overlong: OverlongPolicy = "error"
    """What happens to texts over the context."""
    label_bias: bool = False
    """Whether class offsets are estimated on the calibrator part and taken off."""
    samples: int = 10
    """Consistency samples a text; 0 leaves consistency out."""
    paraphrases: bool = False
    """Whether consistency also asks reworded and reordered prompts (more forward passes)."""
    seed: int = 0
    """Decides split, bootstrap and order of training."""
    charts: bool = True
    """Whether charts are drawn."""

    def __post_init__(self) -> None:
        """Refuse the bare texts of the command line, which would fail in the middle of a run.

        Raises:
            InvalidValue: Model, data or folder is given as something else than its type; there is
                no such tuning, policy or quantization; the seed is negative.
        """
        if not isinstance(self.model, ModelSpec):
            raise InvalidValue("model", self.model, "a ModelSpec, such as ModelSpec('tiny')")
        if not isinstance(self.data, DataChoice):
            raise InvalidValue("data", self.data, "a DataChoice, such as DataChoice('texts.csv')")
        if not isinstance(self.out, Path):
            raise InvalidValue("out", self.out, "a pathlib.Path, such as Path('runs/first')")
        _check_known("tuning", self.tuning, get_args(Tuning))
        _check_known("overlong", self.overlong, get_args(OverlongPolicy))
        if self.model.quantization is not None:
            _check_known("quantization", self.model.quantization, get_args(Quantization))
        checked_count("seed", self.seed, minimum=0)

    def describe(self) -> dict[str, Any]:
        """Return the job as JSON values, for ``run.json``."""
        content = asdict(self)
        content["out"] = str(self.out)
        labels = self.data.labels_file
        content["data"]["labels_file"] = None if labels is None else str(labels)
        return content


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidValue(name, value, f"one of {', '.join(known)}")
