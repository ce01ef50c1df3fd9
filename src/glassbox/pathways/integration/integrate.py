"""Step 5: everything that the steps before found, in one place.

Rows are read, completed with what only the model can tell (what a latent speaks for, what ablating
it does to the decision), joined into a graph, tested by ablating the found sub-graph, and written
as tables, page and graphs. Without the model, what needs it is left out, and the study says so.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from glassbox.errors import AdapterMismatch
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.integration.assembly import Assembled, assemble, write_study
from glassbox.pathways.integration.decisions import LoggedDecisions, read_decisions
from glassbox.pathways.integration.export.circuit_tracer import write_graphs
from glassbox.pathways.integration.faithfulness import judge_subgraph
from glassbox.pathways.integration.firings import Firings, read_firings
from glassbox.pathways.integration.inputs import (
    latent_rows,
    pathway_rows,
    replay_summary,
    token_rows,
)
from glassbox.pathways.integration.measuring import Resident, Told, ask_model, prompt_graphs
from glassbox.pathways.integration.report.page import write_report
from glassbox.pathways.integration.results import GRAPH_FOLDER, StudyResults, read_study
from glassbox.pathways.integration.summary import StudySummary, SubgraphTest
from glassbox.pathways.integration.values import (
    EVERY_CONDITION,
    LatentRow,
    PathwayRow,
    StoredCard,
    TokenRow,
)
from glassbox.pathways.latents import LatentId
from glassbox.pathways.layout import StudyFolder, data_folders, study_folder
from glassbox.pathways.study.log_records import read_log_records
from glassbox.pathways.study.report_file import read_report
from glassbox.pathways.study.selection_file import read_selection
from glassbox.progress import Stages, unwatched
from glassbox.wording import counted

MOST_FAULTS: Final = 500
"""Faults of the audit that the study's summary repeats."""

_ALONE: Final = (
    "Integrated without the model: logit lenses, top contexts, effects on the decision, "
    "faithfulness and prompt graphs are left out."
)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the files of the steps before say."""

    folder: StudyFolder
    latents: tuple[LatentRow, ...]
    tokens: tuple[TokenRow, ...]
    decisions: LoggedDecisions
    n_expected: float
    remarks: tuple[str, ...]


def integrate_study(
    config: StudyConfig, resident: Resident | None, *, stages: Stages = unwatched
) -> StudyResults:
    """Write the integrated results of a study and return them.

    Args:
        config: The study; its selection, candidates, validation and tokens are there.
        resident: The model's side; None leaves out what needs it.
        stages: For progress.

    Raises:
        AdapterMismatch: The activations are of another corpus than the resident's.
        CorruptArtifact: A file of an earlier step is absent or damaged.
        DependencyMissing: jinja2 is not installed.
        NoDiskSpace: The device is full.
        NonFiniteOutput: The model answers NaN or infinity.
        UnsupportedModel: The model's blocks are not known by name.
    """
    found = _read(config)
    told, firings = Told(remarks=(_ALONE,)), {}
    if resident is not None:
        with stages("Ablating latents before the decision") as report:
            selected = [LatentId(row.layer, row.index) for row in found.latents]
            told = ask_model(resident, selected, found.decisions.prompts, config.integrate, report)
        firings = _firings(found, resident, n_contexts=config.tokens.top)
    pathways = pathway_rows(found.folder.candidates, found.folder.validated.with_suffix(".parquet"))
    rows = [_completed(row, told, firings) for row in found.latents]
    study = assemble(
        [*rows, *_others(rows, pathways)],
        pathways,
        found.tokens,
        n_paths=config.integrate.n_paths,
        q=config.replay.q,
        seed=config.integrate.seed,
    )
    subgraph = None
    if told.meter is not None:
        with stages("Ablating the sub-graph") as report:
            subgraph = judge_subgraph(
                told.meter, study.subgraph, told.effects, seed=config.integrate.seed,
                progress=report,
            )  # fmt: skip
    with stages("Writing tables and pages"):
        cards = [_card(row, found, told, firings) for row in study.latents]
        summary = _summary(config, found, study, subgraph, told, resident)
        write_study(found.folder.root, study, cards, summary)
        results = read_study(found.folder.root)
        if resident is not None:
            _write_graphs(config, found, resident, results)
        write_report(results, n_cards=config.integrate.n_cards)
    return results


def _read(config: StudyConfig) -> _Found:
    folder = study_folder(config)
    selection = read_selection(folder.causal_features)
    audit = read_report(folder.audit)
    decisions = read_decisions(read_log_records(data_folders(config)[1]))
    faults = (*audit.errors, *audit.warnings)
    remarks = [str(fault) for fault in faults[:MOST_FAULTS]]
    if len(faults) > MOST_FAULTS:
        more = len(faults) - MOST_FAULTS
        remarks.append(
            f"{counted(more, 'further fault is', 'further faults are')} listed in "
            f"{folder.data_validation.name}."
        )
    if decisions.n_unread:
        remarks.append(
            f"{counted(decisions.n_unread, 'response decides', 'responses decide')} nothing that "
            "could be read."
        )
    return _Found(
        folder=folder,
        latents=tuple(latent_rows(selection)),
        tokens=tuple(token_rows(folder.token_associations.with_suffix(".parquet"))),
        decisions=decisions,
        n_expected=selection.expected_by_chance,
        remarks=tuple(remarks),
    )


def _firings(found: _Found, resident: Resident, *, n_contexts: int) -> dict[str, Firings]:
    activations = load_activations(found.folder.activations)
    corpus = resident.corpus
    if activations.corpus_digest != corpus.digest:
        raise AdapterMismatch(
            f"{found.folder.activations} was read from another corpus than the logs give now. Run "
            "the step 'tokens' anew."
        )
    text = cache(resident.text)
    return {
        row.name: read_firings(
            activations, corpus, LatentId(row.layer, row.index), text, n_contexts=n_contexts
        )
        for row in found.latents
        if LatentId(row.layer, row.index) in activations.columns
    }


def _completed(row: LatentRow, told: Told, firings: Mapping[str, Firings]) -> LatentRow:
    """Return a latent's row with what was measured of it."""
    effect = told.effects.get(LatentId(row.layer, row.index))
    if effect is not None:
        row = replace(
            row,
            decision_effect=effect.effect,
            decision_low=effect.low,
            decision_high=effect.high,
            decision_z=effect.z,
            decision_p=effect.p,
            decision_q=effect.q,
        )
    fires = firings.get(row.name)
    if fires is not None:
        row = replace(
            row,
            n_active=fires.n_active,
            active_share=fires.active_share,
            activation_mean=fires.mean,
            activation_max=fires.largest,
        )
    return row


def _others(selected: Sequence[LatentRow], pathways: Sequence[PathwayRow]) -> list[LatentRow]:
    """Return rows for sources that were not selected: there are some where all latents may be."""
    known = {row.name for row in selected}
    names = {row.source for row in pathways if row.source not in known}
    return [
        LatentRow(latent.name, latent.layer, latent.index)
        for latent in sorted(LatentId.parse(name) for name in names)
    ]


def _card(row: LatentRow, found: _Found, told: Told, firings: Mapping[str, Firings]) -> StoredCard:
    promoted, suppressed = told.lens.get(LatentId(row.layer, row.index), ((), ()))
    fires = firings.get(row.name)
    return StoredCard(
        name=row.name,
        histogram=None if fires is None else fires.histogram,
        contexts=() if fires is None else fires.contexts,
        promoted=promoted,
        suppressed=suppressed,
        rates=found.decisions.rates.get(row.name, ()),
    )


def _summary(
    config: StudyConfig,
    found: _Found,
    study: Assembled,
    subgraph: SubgraphTest | None,
    told: Told,
    resident: Resident | None,
) -> StudySummary:
    replayed = [row for row in study.pathways if row.verified is not None]
    return StudySummary(
        name=config.study.name,
        model=config.model.name,
        n_layers=None if resident is None else len(resident.dictionaries.layers),
        n_latents=len(found.latents),
        n_candidates=len(study.pathways),
        n_replayed=len(replayed),
        n_verified=sum(row.verified is True for row in replayed),
        # Conditions of one text hold the same associations again.
        n_tokens=sum(row.condition == EVERY_CONDITION for row in study.tokens),
        n_expected_by_chance=found.n_expected,
        conventions=_conventions(config, study, resident),
        calibration=tuple(replay_summary(found.folder.validated).items()),
        warnings=(*told.remarks, *found.remarks),
        subgraph=subgraph,
        provenance=_provenance(config, resident),
    )


def _conventions(
    config: StudyConfig, study: Assembled, resident: Resident | None
) -> tuple[tuple[str, str], ...]:
    """Return how things were read and measured, as the files say, else as configured."""
    paths = sorted({row.path for row in study.pathways if row.path})
    modes = sorted({row.mode for row in study.pathways if row.mode})
    words = [
        ("gradients", ", ".join(modes) or config.discover.mode),
        ("later SAEs", ", ".join(paths) or config.discover.path),
        ("cut", _cut_words(config)),
        ("doses", ", ".join(config.replay.doses)),
    ]
    if resident is not None:
        dictionaries = resident.dictionaries
        sources = [dictionaries.reader(layer).facts for layer in dictionaries.layers]
        formats = sorted({f"{each.format} (convention: {each.convention})" for each in sources})
        words.append(("SAE files", "; ".join(formats)))
    return tuple(words)


def _cut_words(config: StudyConfig) -> str:
    discover = config.discover
    if discover.cut == "gradient":
        return f"|gradient| > {discover.min_gradient} per unit of activation, top {discover.top}"
    return f"attribution share of at least {discover.min_share}, top {discover.top}"


def _provenance(config: StudyConfig, resident: Resident | None) -> tuple[tuple[str, str], ...]:
    digests = {} if resident is None else dict(resident.digests)
    found = [("configuration", config.digest)]
    found += [(f"{name} digest", value) for name, value in digests.items()]
    return (*found, ("glassbox", importlib.metadata.version("glassbox-llm")))


def _write_graphs(
    config: StudyConfig, found: _Found, resident: Resident, results: StudyResults
) -> None:
    """Write graphs of a few prompts and the strongest latents' cards for other viewers."""
    study = frozenset(LatentId(row.layer, row.index) for row in found.latents)
    graphs = prompt_graphs(
        resident, found.decisions.prompts, study, n_graphs=config.integrate.n_graphs
    )
    ranked = sorted(results.latents(), key=lambda row: (not row.on_path, -row.out_strength))
    cards = results.cards([row.name for row in ranked[: config.integrate.n_cards]], limit=1)
    write_graphs(results.integrated / GRAPH_FOLDER, graphs, cards, scan=config.study.name)
