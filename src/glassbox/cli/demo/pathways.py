"""``glassbox demo pathways``: a study of latents from its experiment to its report, truth known.

A causal chain of latents and ineffective twins are planted, and the study is then done as any
other; at the end what it found is held against what was planted. Knows nothing of how steps work.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glassbox.artifacts import write_bytes
from glassbox.cli.demo.folder import demo_folder
from glassbox.cli.pathways.study import open_place
from glassbox.cli.terminal.console import Column, note, print_table, print_text

if TYPE_CHECKING:
    from glassbox.pathways.experiment.planted import PlantedLatent
    from glassbox.pathways.integration.results import StudyResults
    from glassbox.pathways.integration.values import LatentRow
    from glassbox.pathways.layout import StudyFolder

FOLDER: Final = "demo-pathways"
"""Folder below the runs in which the demo keeps its study."""

CONFIG: Final = """\
# The study that `glassbox demo pathways` makes on the embedded model, small enough for five
# minutes on two cores. `glassbox pathways run study.yaml` does the same; see
# docs/how-to/study-pathways.md for a model of yours.
study:
  name: demo
  out: .
experiment:
  plant: true            # latents whose effect is known, to see that they are found
  n_pairs: 60            # pairs of a safe and a risky prompt
  per_layer: 6           # real latents of each layer
  layers: [0, 1, 2, 3, 4, 5, 6]  # those of the last one write the answer: some really move it
  trials: 60             # twice the usual: four effects shall stand out of fifty after correction
  max_new_tokens: 2
  batch_rows: 240
audit:
  n_permutations: 1000
select:
  top_per_layer: 10      # all of them: the planted nulls and the real latents go on, too
  only_causal: false
contexts:
  top: 3
  spread: 3
replay:
  n_null: 10
tokens:
  n_permutations: 200
"""
"""The demo's configuration, written into its folder."""

LEVEL = 0.05
"""Share of false findings that is accepted among all latents that are said to move the decision."""

_AGREES: Final = {True: "yes", False: "NO", None: "not planted"}


@dataclass(frozen=True)
class Verdict:
    """One thing that was planted, and whether the study says so; or what else it says."""

    what: str
    """What the truth is."""
    found: str
    """What the study says."""
    holds: bool | None
    """Whether they agree; none where nothing was planted, so that there is no truth to hold it
    against."""


def play(folder: Path, *, fresh: bool = True) -> bool:
    """Do the whole study and return whether all that was planted was found, and nothing else.

    Args:
        folder: The demo's own; emptied first.
        fresh: False goes on with what is there.

    Raises:
        ConflictError: The folder is there and not a demo's, or another demo works in it.
    """
    with demo_folder(folder, fresh=fresh):
        return _study_tells_it(folder)


def _study_tells_it(folder: Path) -> bool:
    from glassbox.pathways.integration.results import read_study
    from glassbox.pathways.orchestration.steps import run_study

    config = _written_config(folder)
    started = time.monotonic()
    place = open_place(config)
    try:
        finished = run_study(place)
    finally:
        place.close()
    took = time.monotonic() - started
    print_table(
        ["step", Column("took", "right"), "came to"],
        [(each.step, f"{each.seconds:.1f} s", each.words) for each in finished],
    )
    verdicts = judged(place.folder, read_study(folder))
    print_table(
        ["planted", "found", "agrees"],
        [(each.what, each.found, _AGREES[each.holds]) for each in verdicts],
    )
    holds = not any(each.holds is False for each in verdicts)
    verdict = "tells the planted story" if holds else "does NOT agree with what was planted"
    print_text(f"The study {verdict} ({took:.0f} s).")
    print_text(f"Report: {place.folder.report}")
    note(f"Configuration: {config}. Look further: glassbox pathways show {folder}")
    return holds


def judged(folder: "StudyFolder", study: "StudyResults") -> list[Verdict]:
    """Return what was planted beside what a finished study says of it."""
    from glassbox.pathways.experiment.planted import read_planted

    planted = read_planted(folder.planted)
    rows = {row.name: row for row in study.latents()}
    verdicts = []
    for each in planted:
        row = rows.get(each.name)
        moves = row is not None and _moves_the_decision(row)
        says = "not selected"
        if row is not None:
            says = f"{'a true effect' if moves else 'no evidence'}, {_effect(row.cohen_d, row.q)}"
        verdicts.append(Verdict(_role(each), says, moves is not (each.role == "null")))
    verdicts.append(_others(planted, list(rows.values())))
    verdicts += [_chain(each, study, rows) for each in planted if each.drives]
    verdicts += _arrows_to_the_decision(planted, list(rows.values()))
    return verdicts + _verified(planted, study)


def _arrows_to_the_decision(
    planted: "Sequence[PlantedLatent]", rows: "Sequence[LatentRow]"
) -> list[Verdict]:
    """Return which latents move the decision beyond random directions when they are ablated."""
    nulls = {each.name for each in planted if each.role == "null"}
    causal = {each.name for each in planted} - nulls
    found = {row.name for row in rows if row.decision_q is not None and row.decision_q <= LEVEL}
    of_causal, of_nulls, others = (
        sorted(each) for each in (found & causal, found & nulls, found - causal - nulls)
    )
    verdicts = [
        Verdict(
            "ablated, they move it beyond random directions",
            f"{len(of_causal)} of {len(causal)}: {', '.join(of_causal) or 'none'}",
            of_causal == sorted(causal),
        ),
        Verdict("nulls do not, ablated", ", ".join(of_nulls) or "none of them does", not of_nulls),
    ]
    if others:
        what = "the model's own do, about which nothing was planted"
        verdicts.append(Verdict(what, ", ".join(others), holds=None))
    return verdicts


def _others(planted: "Sequence[PlantedLatent]", rows: "Sequence[LatentRow]") -> Verdict:
    names = {each.name for each in planted}
    moving = [row.name for row in rows if row.name not in names and _moves_the_decision(row)]
    words = ", ".join(moving) or f"none at q ≤ {LEVEL}"
    return Verdict("no other latent moves the decision", words, not moving)


def _moves_the_decision(row: "LatentRow") -> bool:
    """Return whether a latent's effect stands out after correction over all that were tested.

    The experiment's own ``is_causal`` is one latent's test by itself: of fifty latents without
    effect, it calls some.
    """
    return row.q is not None and row.q <= LEVEL


def _verified(planted: "Sequence[PlantedLatent]", study: "StudyResults") -> list[Verdict]:
    """Return whether any null was found to drive anything, and what else was verified, and why.

    A null that shares its encoder row with the second latent of a chain is driven like it, by
    construction. Other latents read what the chains write, and those that carry the decision one
    layer below are read by a chain's second latent as well. Nobody planted the truth about those;
    what was planted is that none of them drives it more than the first (``_chain``).
    """
    page = study.pathways(verified=True, limit=study.summary.n_verified)
    pairs = sorted((row.source, row.target) for row in page.rows)
    nulls = {each.name for each in planted if each.role == "null"}
    chains = {(each.name, each.drives) for each in planted if each.drives}
    twins = {(source, each.name) for each in planted for source, end in chains if each.twin == end}
    from_nulls = [pair for pair in pairs if pair[0] in nulls]
    rest = [pair for pair in pairs if pair[0] not in nulls and pair not in chains]
    to_twins = [pair for pair in rest if pair in twins]
    others = [pair for pair in rest if pair not in twins]
    verdicts = [
        Verdict(
            "nulls drive nothing",
            _arrows(from_nulls) or "none of their pathways is verified",
            not from_nulls,
        )
    ]
    if to_twins:
        what = "a null that reads what a chain's end reads is driven, too"
        verdicts.append(Verdict(what, f"verified: {_arrows(to_twins)}", holds=True))
    if others:
        what = "the model's own pathways, about which nothing was planted"
        verdicts.append(Verdict(what, f"verified: {_arrows(others)}", holds=None))
    return verdicts


def _arrows(pairs: "Sequence[tuple[str, str]]") -> str:
    return ", ".join(f"{source} → {target}" for source, target in pairs)


def _chain(
    first: "PlantedLatent", study: "StudyResults", known: "Mapping[str, LatentRow]"
) -> Verdict:
    """Return whether a chain's first latent drives the second, and nothing else does it more."""
    what = f"{first.name} drives {first.drives}"
    if first.name not in known or first.drives not in known:
        return Verdict(what, "not selected", holds=False)
    page = study.pathways(source=first.name, target=first.drives)
    if not page.rows:
        return Verdict(what, "no such pathway", holds=False)
    (row,) = page.rows
    upstream = study.pathways(target=first.drives, order="mediated").rows
    rank = 1 + [each.source for each in upstream].index(first.name)
    measured = next((dose.measured_pre for dose in row.doses if dose.dose == "ablate"), None)
    verdict = "verified" if row.verified else "not verified"
    q, change = row.q if row.q is not None else 1.0, measured if measured is not None else 0.0
    words = f"{verdict}, q {q:.2g}, ablated {change:+.2f}, rank {rank} by mediated effect"
    return Verdict(what, words, holds=bool(row.verified) and rank == 1)


def _role(each: "PlantedLatent") -> str:
    words = {
        "causal": "moves the decision",
        "driven": "moves the decision",
        "null": f"does nothing, active like {each.twin}",
    }
    return f"{each.name} {words[each.role]}"


def _effect(d: float | None, q: float | None) -> str:
    return f"d {d if d is not None else 0:+.2f}, q {q if q is not None else 1:.2g}"


def _written_config(folder: Path) -> Path:
    config = folder / "study.yaml"
    if not config.is_file():
        write_bytes(config, CONFIG.encode())
    return config
