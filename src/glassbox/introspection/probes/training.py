"""From rows to a probe: capture, choose on folds, calibrate, set the threshold, measure.

Three parts that never share a group: the training part chooses and fits, the calibrator part fits
the calibrator and the threshold, the test part measures and shapes nothing. Knows nothing of files
of rows, charts or the terminal.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from glassbox.artifacts import digest_json
from glassbox.engine.protocol import Engine
from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.introspection.probes.capture_cache import CapturedSet, capture_rows, plan_capture
from glassbox.introspection.probes.choice import Subset, choose_place, fit_chosen
from glassbox.introspection.probes.figures import (
    BaselineFigures,
    Choice,
    Detection,
    DomainFigures,
    against_baselines,
    by_domain,
    detection,
    has_both,
)
from glassbox.introspection.probes.norm_proxy import NormProxy
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel, ProbePooling
from glassbox.introspection.probes.rows import ProbeRows
from glassbox.progress import Progress, Stages, unwatched
from glassbox.stats.calibrators.choice import choose_calibrator
from glassbox.stats.calibrators.parametric import Calibrator, Platt
from glassbox.stats.checking import checked_fraction
from glassbox.stats.classification.detection import (
    FEW_FALSE_ALARMS,
    negatives_needed,
    one_of_each,
    threshold_for_fpr,
)
from glassbox.stats.classification.linear_probe import (
    difference_in_means,
    hash_order,
    logistic_path,
)
from glassbox.types import HookPoint, Scope

SHARES: Final = {"training": 0.6, "calibrator": 0.2, "test": 0.2}
"""Share of the rows in each part."""

FEWEST: Final = 10
"""Rows of the rarer kind that every part needs. Source: Peduzzi et al. 1996."""

DOMAIN_FOLDS: Final = 3
"""Folds in which a place is chosen anew for each left-out domain."""

ALL_BASELINES: Final = "all baselines together"
"""Name of the logistic regression on every trivial reading."""


@dataclass(frozen=True)
class ProbeJob:
    """How a probe is made."""

    name: str = "probe"
    """Key of its readings."""
    layers: tuple[int, ...] | None = None
    """Blocks to try, negative from the end; None is all."""
    pooling: tuple[ProbePooling, ...] = ("last", "mean")
    """Poolings to try."""
    scope: Scope | None = None
    """Positions covered; None takes the response, or the text where there is none."""
    adapter: str | None = None
    """Adapter that runs."""
    revision: str | None = None
    """Hub revision of the model, where one was named."""
    n_folds: int = 5
    """Folds of the training part."""
    max_fpr: float = FEW_FALSE_ALARMS
    """False-positive rate that the threshold keeps."""
    seed: int = 0
    """Decides parts, folds and resamples."""

    def __post_init__(self) -> None:
        # Said here, because reading states may take hours.
        checked_fraction("max_fpr", self.max_fpr)
        is_path = Path(self.name).name != self.name
        if is_path or self.name in ("", "..", NormProxy.name):
            raise InvalidValue(
                "the probe's name",
                self.name,
                f"a name that is no path, and not {NormProxy.name!r}, which is the heuristic's",
            )


@dataclass(frozen=True, eq=False)
class TestReadings:
    """What was read on the test part, for charts."""

    logits: Float[np.ndarray, " n"]
    """Of the probe."""
    probs: Float[np.ndarray, " n"]
    """The same, calibrated."""
    baselines: dict[str, Float[np.ndarray, " n"]]
    """Trivial readings, turned so that larger means positive on the training part."""
    is_positive: Bool[np.ndarray, " n"]
    """The target."""


@dataclass(frozen=True, eq=False)
class TrainedProbe:
    """A probe and everything that was measured about it."""

    probe: LinearProbe
    """Ready to be saved and served."""
    parts: dict[str, tuple[int, int]]
    """Rows and positive rows of each part."""
    choice: Choice
    """What was tried, on folds of the training part."""
    test: Detection
    """On the test part, which shaped nothing."""
    baselines: tuple[BaselineFigures, ...]
    """Trivial readings on the test part, best first."""
    domains: tuple[DomainFigures, ...]
    """By domain on the test part; empty where there is but one."""
    negatives_needed: int | None
    """Negative rows of different groups that a threshold takes; None where there is one."""
    readings: TestReadings
    """For charts."""


def train_probe(
    engine: Engine,
    rows: ProbeRows,
    job: ProbeJob,
    cache: Path,
    stages: Stages = unwatched,
) -> TrainedProbe:
    """Return a probe with its figures.

    Args:
        engine: The resident model.
        rows: What to learn from.
        job: How.
        cache: Folder in which captured states are kept.
        stages: Opens a stage to report progress to.

    Raises:
        NotEnoughData: Too few rows or groups of either kind.
        InvalidData: A row that the model cannot read, by line.
        InvalidValue: Rows with and without a response together, without a scope that fits both.
        InvalidHookPoint: A layer that the model does not have.
        UnsupportedModel: The model shows no states.
    """
    scope = job.scope or _natural_scope(rows)
    plan = plan_capture(engine, job.layers, job.pooling, scope, job.adapter)
    parts = divide(rows, job.seed)
    training = subset_of(rows, parts["training"])
    # What the states cannot lead to is said before they are read.
    training.folds(job.n_folds, job.seed)
    with stages("Reading states") as report:
        captured = capture_rows(engine, rows.rows, plan, cache, report)
    train, middle = parts["training"], parts["calibrator"]
    with stages("Fitting probes") as report:
        choice = choose_place(
            captured, training, n_folds=job.n_folds, seed=job.seed, progress=report
        )
    place = choice.chosen.place
    features = captured.features(place)
    rule = fit_chosen(choice.chosen, features[train], rows.is_positive[train])
    logits = rule.logits(features)
    calibrator = fit_probe_calibrator(logits[middle], rows.is_positive[middle], job.seed)
    negative = _independent(rows, middle[~rows.is_positive[middle]], job.seed)
    probe = LinearProbe(
        name=job.name,
        target=rows.target,
        model=_model(engine, job, captured.adapter_digest),
        point=HookPoint(place.layer),
        pooling=place.pooling,
        scope=scope,
        kind=choice.chosen.kind,
        rule=rule,
        calibrator=calibrator,
        threshold_logit=threshold_for_fpr(logits[negative], job.max_fpr),
        max_fpr=job.max_fpr,
        made_from=digest_json([rows.digest, asdict(job), engine.info.digest]),
        trained_on=frozenset(rows.rows[i].key for i in (*train, *middle)),
    )
    with stages("Leaving out domains") as report:
        outside = _without_each_domain(captured, rows, parts, choice, report)
    material = _Material(captured, rows, parts, logits, outside)
    return _measured(probe, choice, material, job.seed)


def divide(rows: ProbeRows, seed: int) -> dict[str, Int[np.ndarray, " m"]]:
    """Return the row numbers of each part; groups stay whole, their order is that of a seeded hash.

    Raises:
        NotEnoughData: A part holds fewer than ten rows of either kind.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(rows.groups):
        members.setdefault(group, []).append(number)
    ends = np.cumsum([*SHARES.values()]) * len(rows.rows)
    taken: dict[str, list[int]] = {name: [] for name in SHARES}
    n_dealt = 0
    for group in sorted(members, key=lambda each: hash_order(each, seed)):
        part = int(np.searchsorted(ends, n_dealt + len(members[group]) / 2))
        taken[[*SHARES][min(part, 2)]] += members[group]
        n_dealt += len(members[group])
    parts = {name: np.array(sorted(numbers), dtype=np.intp) for name, numbers in taken.items()}
    for name, numbers in parts.items():
        n_positive = int(rows.is_positive[numbers].sum())
        n_rarer = min(n_positive, len(numbers) - n_positive)
        if n_rarer < FEWEST:
            raise NotEnoughData(
                f"A probe (rows of the rarer kind in the {name} part, which holds "
                f"{len(numbers)} rows)",
                n_rarer,
                FEWEST,
                remedy="Bring more rows, or groups that are less uneven.",
            )
    return parts


def subset_of(rows: ProbeRows, numbers: Int[np.ndarray, " m"]) -> Subset:
    """Return some rows with their targets and groups."""
    groups = tuple(rows.rows[i].group for i in numbers)
    return Subset(numbers, rows.is_positive[numbers], groups)


def _independent(
    rows: ProbeRows, numbers: Int[np.ndarray, " m"], seed: int
) -> Int[np.ndarray, " n_groups"]:
    """Return one row of each group among some rows: the threshold counts independent ones."""
    groups = np.array([rows.groups[i] for i in numbers], dtype=str)
    return np.asarray(numbers[one_of_each(groups, seed=seed)])


def fit_probe_calibrator(
    logits: Float[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"], seed: int = 0
) -> Calibrator:
    """Return the calibrator of lowest cross-validated NLL that keeps the order of the logits."""
    # Of both kinds, negative first.
    probs = np.stack([expit(-logits), expit(logits)], axis=1)
    labels = is_positive.astype(np.intp)
    kinds: Any = ("identity", "temperature", "platt")
    chosen = choose_calibrator(probs, labels, kinds=kinds, seed=seed).calibrator
    if isinstance(chosen, Platt) and chosen.slope <= 0:
        # A probe at chance: turning its order round would be noise made a rule.
        chosen = choose_calibrator(probs, labels, kinds=kinds[:2], seed=seed).calibrator
    return chosen


def _natural_scope(rows: ProbeRows) -> Scope:
    with_response = {row.response is not None for row in rows.rows}
    if len(with_response) > 1:
        raise InvalidValue("scope", None, "'prompt' or 'all' for texts mixed with responses")
    return "generated" if with_response.pop() else "prompt"


def _model(engine: Engine, job: ProbeJob, adapter_digest: str | None) -> ProbeModel:
    info = engine.info
    return ProbeModel(
        info.name, info.digest, info.d_model, info.n_layers, job.revision, adapter_digest
    )


def _without_each_domain(
    captured: CapturedSet,
    rows: ProbeRows,
    parts: dict[str, Int[np.ndarray, " m"]],
    choice: Choice,
    report: Progress,
) -> dict[str, Float[np.ndarray, " n_test"]]:
    """Log-odds of the test part by probes whose place and weights never saw one domain."""
    domains = np.asarray(rows.domains, dtype=object)
    train, test = parts["training"], parts["test"]
    names = sorted(set(rows.domains))
    found: dict[str, Float[np.ndarray, " n_test"]] = {}
    penalty = choice.chosen.penalty or 100.0
    for done, domain in enumerate(names if len(names) > 1 else (), start=1):
        rest = train[domains[train] != domain]
        usable = has_both(rows.is_positive[rest], FEWEST) and has_both(
            rows.is_positive[test[domains[test] == domain]]
        )
        if usable:
            chosen = choose_place(
                captured, subset_of(rows, rest), penalties=(penalty,), n_folds=DOMAIN_FOLDS
            ).chosen
            features = captured.features(chosen.place)
            rule = fit_chosen(chosen, features[rest], rows.is_positive[rest])
            found[domain] = rule.logits(features[test])
        report(done, len(names))
    return found


def _baselines(
    captured: CapturedSet, rows: ProbeRows, train: Int[np.ndarray, " m"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Trivial readings of all rows, their direction found on the training part."""
    columns = {**captured.readings(), **rows.baselines}
    usable = {name: column for name, column in columns.items() if np.isfinite(column).all()}
    positive = rows.is_positive[train]
    found = {}
    for name, column in usable.items():
        rule = difference_in_means(column[train, None], positive)
        found[name] = rule.logits(column[:, None])
    together = np.stack([*usable.values()], axis=1)
    found[ALL_BASELINES] = logistic_path(together[train], positive, (1.0,))[0].logits(together)
    return found


@dataclass(frozen=True, eq=False)
class _Material:
    """What the figures are made from."""

    captured: CapturedSet
    rows: ProbeRows
    parts: dict[str, Int[np.ndarray, " m"]]
    logits: Float[np.ndarray, " n"]
    outside: dict[str, Float[np.ndarray, " n_test"]]


def _measured(probe: LinearProbe, choice: Choice, made: _Material, seed: int) -> TrainedProbe:
    rows, parts, logits = made.rows, made.parts, made.logits
    test = parts["test"]
    positive, groups = rows.is_positive[test], [rows.groups[i] for i in test]
    trivial = {
        name: values[test]
        for name, values in _baselines(made.captured, rows, parts["training"]).items()
    }
    probs, thresholds = probe.probs(logits[test]), probe.thresholds
    domains = [rows.domains[i] for i in test]
    outcome = TrainedProbe(
        probe=probe,
        parts={
            name: (len(numbers), int(rows.is_positive[numbers].sum()))
            for name, numbers in parts.items()
        },
        choice=choice,
        test=detection(logits[test], probs, positive, groups, thresholds=thresholds, seed=seed),
        baselines=against_baselines(logits[test], trivial, positive, groups, seed=seed),
        domains=by_domain(logits[test], made.outside, positive, groups, domains, seed=seed),
        negatives_needed=None if thresholds else negatives_needed(probe.max_fpr or 0.01),
        readings=TestReadings(logits[test], probs, trivial, positive),
    )
    return replace(outcome, probe=replace(probe, figures=figures_json(outcome)))


def figures_json(outcome: TrainedProbe) -> dict[str, Any]:
    """Return the figures as JSON values, as they are kept beside the probe."""
    choice = outcome.choice
    return {
        "parts": {name: {"n_rows": n, "n_positive": m} for name, (n, m) in outcome.parts.items()},
        "choice": {
            **asdict(choice),
            "corrected_auroc": choice.corrected_auroc,
        },
        "test": asdict(outcome.test),
        "baselines": [asdict(each) for each in outcome.baselines],
        "domains": [asdict(each) for each in outcome.domains],
    }
