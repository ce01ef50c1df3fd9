"""Step 2: one latent end to end on its representative prompt, its memory by stage, a forecast.

Nothing of the full study begins that the forecast says will not fit. Knows nothing of how a sweep
or a replay works.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassbox.artifacts import write_json
from glassbox.engine.protocol import Lent
from glassbox.errors import NotEnoughData, UnknownName
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.activation_pass import read_activations
from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.building import build_corpus
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.discovery.sources import HeldSources, StreamedSources
from glassbox.pathways.discovery.sweep import SweepOptions
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.decision_runs import decision_runs
from glassbox.pathways.orchestration.file_steps import data_inputs
from glassbox.pathways.orchestration.fitting import Rehearsed, forecast_run
from glassbox.pathways.orchestration.lent_model import runnable, sweeper_of
from glassbox.pathways.orchestration.memory import MemoryMeter
from glassbox.pathways.orchestration.parts import StudyLatents, study_latents
from glassbox.pathways.orchestration.prototype_file import SCHEMA
from glassbox.pathways.orchestration.room import require_fits
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.either_way import clean_of, effects_on
from glassbox.pathways.replay.interventions import Intervention, doses_named
from glassbox.pathways.replay.replaying import Limits
from glassbox.pathways.saes.gate import LoadReport, require_plausible, usual_limits
from glassbox.pathways.saes.inspecting import inspect_dictionaries
from glassbox.pathways.shards import StepKey
from glassbox.pathways.study.prompts_sample import read_prompts
from glassbox.pathways.study.selection_file import read_selection
from glassbox.wording import counted, size_of

MOST_TEXTS = 64
"""Representative prompts that are looked at."""

MANY_TARGETS = 32
"""Targets that are swept together to tell a target's cost from a text's."""


@dataclass(frozen=True)
class _Sampled:
    """A representative prompt as the corpus takes it."""

    condition: str
    prompt: str
    response: str


def prototype_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the selection, its prompts, the model and its dictionaries."""
    folder = place.folder
    return {
        **file_inputs({folder.causal_features: "select", folder.prompts_sample: "select"}),
        "response_logs": data_inputs(place)["response_logs"],
        **place.model_inputs(),
    }


def prototype(place: Workplace, key: StepKey) -> Done:
    """Rehearse with one latent, measure, forecast, and refuse what will not fit.

    Raises:
        NotEnoughData: No selected latent fires on its representative prompt.
        InvalidData: An SAE does not do what an SAE should.
        OutOfMemory: The forecast is over ``limits``; says what would fit.
        NoDiskSpace: The results would not fit the disk.
    """
    del key
    sample = _sampled(place)
    meter = MemoryMeter(place.engine.info.device)
    with place.stages("Checking the dictionaries"), meter.stage("dictionaries"):
        reports = _checked(place, [each.prompt + each.response for each in sample])
    with place.lend() as lent, place.stages("Rehearsing with one latent"):
        tried = _tried(place, lent, sample, meter)
        forecast = forecast_run(place, lent, meter, tried.rehearsed)
    path = place.folder.single_feature_test
    write_json(path, _content(tried, meter, reports, forecast))
    require_fits(forecast)
    words = (
        f"{tried.latent.name}: {counted(len(tried.candidates), 'candidate')}; forecast of the rest "
        f"{forecast['seconds']:.0f} s, peak {size_of(forecast['peak_bytes'])}, files "
        f"{size_of(forecast['disk_bytes'])}"
    )
    figures = {name: forecast[name] for name in ("peak_bytes", "seconds", "disk_bytes")}
    return Done((path,), {"n_candidates": len(tried.candidates), **figures}, words)


@dataclass(frozen=True, eq=False)
class _Tried:
    """What came of the one latent."""

    context: Context
    """The text, with the latent as its target."""
    activation: float
    """The latent's activation there."""
    whole: ContextGradients
    """Its gradients by all latents below."""
    candidates: list[dict[str, Any]]
    """The strongest of these, with what ablating them does to it."""
    rehearsed: Rehearsed
    """How much there was of everything."""

    @property
    def latent(self) -> LatentId:
        """The latent."""
        return self.context.targets[0].latent


def _tried(place: Workplace, lent: Lent, sample: Sequence[_Sampled], meter: MemoryMeter) -> _Tried:
    """Do everything that the study does, for one latent in one text, each stage measured."""
    with meter.stage("corpus"):
        corpus = _sample_corpus(place, lent, sample)
    with meter.stage("rows"):
        latents = study_latents(place, device=next(lent.model.parameters()).device)
    with meter.stage("activations"):
        found = read_activations(lent.model, corpus, latents.rows, full=latents.full)
        context = _context(place, corpus, found)
    with meter.stage("sweep, whole dictionaries"):
        whole = _sweep(place, lent, context, latents, streamed=True)
    with meter.stage("sweep, selected latents"):
        selected = _sweep(place, lent, context, latents, streamed=False)
    candidates = _candidates(whole, place.config.prototype.top)
    activation, effects = _replay(place, lent, context, candidates, meter)
    many = _crowded(context, latents)
    with meter.stage("many targets"):
        _sweep_many(place, lent, many, latents)
    decision = decision_runs(
        found,
        corpus,
        n_layers=place.engine.info.n_layers,
        by_blocks=isinstance(runnable(lent.model), ModelBlocks),
    )
    return _Tried(
        context=context,
        activation=activation,
        whole=whole,
        candidates=[{**each, "ablated": effects.get(each["source"])} for each in candidates],
        rehearsed=Rehearsed(
            selected, int(corpus.lengths.sum()), len(found), many, len(candidates), decision
        ),
    )


def _content(
    tried: _Tried, meter: MemoryMeter, reports: Sequence[LoadReport], forecast: dict[str, Any]
) -> dict[str, Any]:
    """Return what ``single_feature_test.json`` holds."""
    whole, selected = tried.whole, tried.rehearsed.found
    return {
        "schema_version": SCHEMA,
        "feature": tried.latent.name,
        "n_tokens": len(tried.context.token_ids),
        "position": tried.context.targets[0].position,
        "activation": tried.activation,
        "upstream_candidates": tried.candidates,
        "n_excluded": whole.n_excluded,
        "n_selected_sources": sum(len(layer.positions) for layer in selected.layers),
        "mode": whole.mode,
        "path": whole.path,
        "memory": meter.kind,
        "stages": [stage.to_json() for stage in meter.stages],
        "memory_usage_gb": meter.peak_bytes / 1e9,
        "saes": [report.to_json() for report in reports],
        "forecast": forecast,
    }


def _sampled(place: Workplace) -> list[_Sampled]:
    """Return representative prompts of latents of all layers."""
    found = read_prompts(place.folder.prompts_sample)
    names = sorted(found, key=LatentId.parse)
    step = max(1, len(names) // MOST_TEXTS)
    return [
        _Sampled(each["condition"], each["prompt"], each["response"])
        for each in (found[name] for name in names[::step])
    ]


def _checked(place: Workplace, texts: Sequence[str]) -> list[LoadReport]:
    """Return what every dictionary does on the model's residuals; an implausible one is refused."""
    saes = place.config.saes
    try:
        found = inspect_dictionaries(place.engine, place.dictionaries, texts)
    except NotEnoughData as error:
        place.say(f"The dictionaries could not be checked: {error}")
        return []
    reports = [each.report for each in found]
    for report in reports:
        reader = place.dictionaries.reader(report.layer)
        limits = usual_limits(reader.source, d_sae=report.d_sae)
        if saes.max_l0 is not None:
            limits = replace(limits, min_l0=min(limits.min_l0, saes.max_l0), max_l0=saes.max_l0)
        limits = replace(limits, min_explained_variance=saes.min_explained_variance)
        require_plausible(report, limits)
    return reports


def _sample_corpus(place: Workplace, lent: Lent, sample: Sequence[_Sampled]) -> Corpus:
    return build_corpus(
        sample,
        place.engine.codec,
        context=min(place.config.contexts.max_tokens, place.engine.info.context),
        special_ids=tuple(lent.tokenizer.all_special_ids),
    )


def _context(place: Workplace, corpus: Corpus, found: Activations) -> Context:
    """Return the text and position at which the rehearsed latent is most active."""
    # Ascending by value, so that each latent's last entry is its peak.
    order = np.argsort(found.value, kind="stable")
    where = {
        found.latents[column]: int(entry)
        for column, entry in zip(found.latent[order].tolist(), order, strict=True)
    }
    peaks = {latent: float(found.value[entry]) for latent, entry in where.items()}
    latent = _chosen(place, peaks)
    entry = where[latent]
    document = int(found.document[entry])
    return make_context(
        document,
        corpus.token_ids(document),
        [(latent, int(found.position[entry]))],
        excluded=corpus.excluded(document),
        n_prompt=int(corpus.n_prompt[document]),
    )


def _chosen(place: Workplace, peaks: dict[LatentId, float]) -> LatentId:
    """Return the named latent, or of the deepest layer the one with the largest |d| that fires."""
    named = place.config.prototype.latent
    if named is not None:
        latent = LatentId.parse(named)
        if latent not in peaks:
            raise UnknownName(
                "latent that fires on its prompt", named, [each.name for each in sorted(peaks)]
            )
        return latent
    lowest = min(place.dictionaries.layers)
    effects = {
        each.latent: abs(each.evidence.effect or 0.0)
        for each in read_selection(place.folder.causal_features).latents
        if each.latent in peaks and each.latent.layer > lowest
    }
    if not effects:
        raise NotEnoughData(
            "A rehearsal",
            0,
            1,
            unit="latent",
            remedy=f"No selected latent above layer {lowest} fires on its representative prompt.",
        )
    return max(effects, key=lambda each: (each.layer, effects[each], each))


def _sweep(
    place: Workplace, lent: Lent, context: Context, latents: StudyLatents, *, streamed: bool
) -> ContextGradients:
    settings = place.config.discover
    target = context.targets[0].latent
    rows = {target.layer: latents.rows[target.layer]}
    sources = (
        StreamedSources(place.dictionaries)
        if streamed or settings.path == "through"
        else HeldSources(latents.rows, latents.full)
    )
    options = SweepOptions(mode=settings.mode, path=settings.path)
    return next(sweeper_of(lent.model, rows, sources)([context], options))


def _candidates(found: ContextGradients, top: int) -> list[dict[str, Any]]:
    """Return the strongest latents of every layer by |attribution|, all positions together."""
    rows = []
    for layer in found.layers:
        indices, inverse = np.unique(layer.indices, return_inverse=True)
        attribution = np.bincount(inverse, layer.attributions[0], len(indices))
        activation = np.zeros(len(indices))
        np.maximum.at(activation, inverse, layer.activations)
        total = np.bincount(inverse, layer.activations, len(indices))
        order = np.lexsort((indices, -np.abs(attribution)))[:top]
        rows += [
            {
                "source": LatentId(layer.layer, int(indices[at])).name,
                "source_layer": layer.layer,
                "activation": float(activation[at]),
                "gradient": float(attribution[at] / total[at]) if total[at] else 0.0,
                "attribution": float(attribution[at]),
            }
            for at in order
        ]
    return sorted(rows, key=lambda row: (-abs(row["attribution"]), row["source"]))


def _replay(
    place: Workplace,
    lent: Lent,
    context: Context,
    candidates: Sequence[dict[str, Any]],
    meter: MemoryMeter,
) -> tuple[float, dict[str, float]]:
    """Return the target's activation, and what ablating each candidate does before its gate."""
    sources = [LatentId.parse(each["source"]) for each in candidates]
    target = context.targets[0].latent
    device = next(lent.model.parameters()).device
    read = place.dictionaries.rows([*sources, target])
    rows = {layer: each.to(device) for layer, each in read.items()}
    full = {
        layer: place.dictionaries.load(layer, device=device)
        for layer, each in rows.items()
        if each.k is not None
    }
    (ablate,) = doses_named(["ablate"])
    model = runnable(lent.model)
    layers = sorted({each.layer for each in sources})
    with meter.stage("clean text"):
        text = clean_of(model, context, Latents(rows, full), layers)
    with meter.stage("replay"):
        effects = effects_on(
            model,
            text,
            [Intervention((each,), ablate) for each in sources],
            Limits(batch_tokens=place.config.replay.batch_tokens),
        )
    changes = np.asarray(effects.pre)[:, 0] if sources else np.zeros(0)
    return float(np.asarray(effects.clean_post)[0]), {
        source.name: float(change)
        for source, change in zip(sources, changes, strict=True)
        if np.isfinite(change)
    }


def _crowded(context: Context, latents: StudyLatents) -> Context:
    """Return the same text with many targets, so that a target's cost can be told from a text's.

    They are selected latents of the deepest layers, firing or not.
    """
    at = context.targets[0].position
    chosen = [each for each in reversed(latents.ids) if each.layer > latents.ids[0].layer]
    return make_context(
        context.document_id,
        context.token_ids,
        [(each, at) for each in chosen[:MANY_TARGETS]],
        excluded=context.excluded,
    )


def _sweep_many(place: Workplace, lent: Lent, context: Context, latents: StudyLatents) -> None:
    options = SweepOptions(mode=place.config.discover.mode)
    sources = HeldSources(latents.rows, latents.full)
    for _ in sweeper_of(lent.model, latents.rows, sources)([context], options):
        pass
