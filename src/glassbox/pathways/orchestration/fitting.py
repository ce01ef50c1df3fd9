"""The forecast of a study from its rehearsal.

Memory is counted from sizes and added to what is in use; time is what the rehearsal's operations
took, times how many there will be. Knows nothing of how steps work.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from glassbox.engine.protocol import Lent
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.corpus.activation_pass import BATCH_TOKENS
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.discovery.cut import candidates
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.discovery.workers import n_workers
from glassbox.pathways.orchestration.candidates_file import cut_of
from glassbox.pathways.orchestration.costs import (
    ContextShape,
    ModelShape,
    runs_of_source,
    sweep_flop,
)
from glassbox.pathways.orchestration.decision_runs import DecisionRuns
from glassbox.pathways.orchestration.memory import MemoryMeter, free_bytes, resident_bytes
from glassbox.pathways.orchestration.parts import selected_ids
from glassbox.pathways.orchestration.sizes import (
    TILE_ROWS,
    Chunking,
    Dictionary,
    corpus_bytes,
    replay_peak,
    sweep_bytes,
)
from glassbox.pathways.orchestration.texts import study_corpus
from glassbox.pathways.orchestration.workplace import Workplace

TARGETS_PER_CONTEXT: Final = 8
"""Targets that are taken to share a text; set cover finds out how many do."""

ROW_BYTES: Final = {
    "candidate": 150, "validated": 260, "effect": 81, "activation": 36, "associations": 86_000,
    "report": 3_000_000,
}  # fmt: skip
"""Bytes of one row on disk, JSON and Parquet together, an activation's in its shard and in the one
file, the associations' of one latent with its contexts; measured on the embedded study. An effect
is a row of ``replay.cells.Cells``."""

JOIN_BYTES: Final = 80
"""Bytes of an activation while all shards are joined: as read, put together, and in order."""


@dataclass(frozen=True)
class Workload:
    """How much the full study has of everything."""

    n_targets: int
    """Targets with sources below them."""
    n_latents: int
    """Selected latents."""
    n_pairs: int
    """Targets times contexts."""
    n_contexts: int
    """Texts that the sweep goes through."""
    n_documents: int
    """Texts of the corpus."""
    n_tokens: int
    """Tokens of the corpus."""
    longest: int
    """Tokens of the longest text."""
    deepest: int
    """Highest layer of a target."""
    n_sources: int
    """Firings that one target sees."""
    n_activations: int
    """Firings of all latents over the corpus."""


@dataclass(frozen=True)
class Rehearsed:
    """How much the rehearsal had of everything, beside its stages."""

    found: ContextGradients
    """Its gradients by the selected latents."""
    n_tokens: int
    """Tokens of the texts whose activations were read."""
    n_activations: int
    """Firings of all latents on them."""
    many: Context
    """The text with the targets of the stage ``many targets``."""
    n_runs: int
    """Replays of the stage ``replay``."""
    decision: DecisionRuns
    """What effects on the decision run in one prompt."""


def forecast_run(
    place: Workplace, lent: Lent, meter: MemoryMeter, rehearsed: Rehearsed
) -> dict[str, Any]:
    """Return what the rest of the study will take, as JSON values.

    Args:
        place: The study.
        lent: The model.
        meter: The rehearsal's stages.
        rehearsed: What they did.
    """
    corpus = study_corpus(place, tuple(lent.tokenizer.all_special_ids))
    load = workload(place, corpus, rehearsed)
    item = next(lent.model.parameters()).element_size()
    shape = ModelShape.of_config(
        lent.model.config.get_text_config(), name=place.engine.info.name, itemsize=item
    )
    device = torch.device(meter.device)
    base = meter.stages[-1].after_bytes if device.type == "cuda" else resident_bytes()
    peaks = step_peaks(place.config, shape, load, kind=device.type, n_sae=_largest(place))
    seconds = step_seconds(place.config, shape, load, rehearsed, meter)
    disk = step_files(place.config, load, rehearsed.found)
    limit = _limit(place.config, device)
    steps = [
        {
            "step": name,
            "seconds": seconds[name],
            "peak_bytes": base + peaks[name],
            "added_bytes": peaks[name],
            "disk_bytes": disk[name],
        }
        for name in ("tokens", "discover", "validate", "integrate")
    ]
    return {
        "steps": steps,
        "seconds": sum(seconds.values()),
        "base_bytes": base,
        "peak_bytes": base + max(peaks.values()),
        "disk_bytes": sum(disk.values()),
        "limit_bytes": limit,
        "free_disk_bytes": _free_disk(place),
        "memory": meter.kind,
        "would_fit": would_fit(place.config, shape, load, room=limit - base, kind=device.type,
                               n_sae=_largest(place)),
        "n_contexts": load.n_contexts,
        "n_targets": load.n_targets,
        "n_pairs": load.n_pairs,
    }  # fmt: skip


def workload(place: Workplace, corpus: Corpus, done: Rehearsed) -> Workload:
    """Return how much the full study has of everything."""
    ids = selected_ids(place)
    config = place.config
    everything = config.discover.sources == "all"
    lowest = min(place.dictionaries.layers if everything else {each.layer for each in ids})
    n_targets = sum(each.layer > lowest for each in ids)
    n_pairs = n_targets * (config.contexts.top + config.contexts.spread)
    n_contexts = min(len(corpus), max(1, math.ceil(n_pairs / TARGETS_PER_CONTEXT)))
    n_tokens = int(corpus.lengths.sum())
    return Workload(
        n_targets=n_targets,
        n_latents=len(ids),
        n_pairs=n_pairs,
        n_contexts=n_contexts,
        n_documents=len(corpus),
        n_tokens=n_tokens,
        longest=int(corpus.lengths.max()),
        deepest=max(each.layer for each in ids),
        n_sources=sum(len(layer.positions) for layer in done.found.layers),
        n_activations=round(done.n_activations * n_tokens / max(1, done.n_tokens)),
    )


def step_peaks(
    config: StudyConfig, shape: ModelShape, load: Workload, *, kind: str, n_sae: int
) -> dict[str, int]:
    """Return the most bytes that each step adds to what is in use: the worst case of its chunks."""
    discover = config.discover
    chunk = min(discover.chunk_targets, load.n_pairs)
    per_context = max(1, math.ceil(load.n_pairs / load.n_contexts))
    worst = ContextShape(load.longest, ((load.deepest, load.longest - 1),) * per_context)
    whole = discover.sources == "all" or discover.path == "through"
    firing = load.n_sources / max(1, load.longest * load.deepest)
    sources = Dictionary(n_sae if whole else load.n_latents, is_streamed=whole, firing=firing)
    n_chunks = max(1, math.ceil(chunk / per_context))
    chunking = Chunking(
        chunk,
        tile_rows=TILE_ROWS.get(kind, TILE_ROWS["cpu"]),
        workers=n_workers(torch.device(kind), n_chunks),
    )
    reading = corpus_bytes(
        shape, batch_tokens=BATCH_TOKENS, longest=load.longest, n_latents=load.n_latents
    )
    return {
        # What was read is joined in the host's memory, when reading is over.
        "tokens": max(reading, JOIN_BYTES * load.n_activations if kind == "cpu" else 0),
        "discover": sweep_bytes(shape, [worst] * n_chunks, chunking, sources),
        "validate": replay_peak(
            shape,
            n_tokens=load.longest,
            batch_tokens=config.replay.batch_tokens,
            n_sources=load.n_latents + 512 * shape.n_layers,
        ),
        # Batches of prompts are halved until they fit: one has to.
        "integrate": corpus_bytes(
            shape, batch_tokens=load.longest, longest=load.longest, n_latents=load.n_latents
        ),
    }


def would_fit(
    config: StudyConfig, shape: ModelShape, load: Workload, *, room: int, kind: str, n_sae: int
) -> dict[str, int] | None:
    """Return the largest chunk sizes that fit some room, by key; None where nothing does.

    Args:
        config: The study.
        shape: The model.
        load: How much there is.
        room: Bytes left beside what is in use.
        kind: Kind of device.
        n_sae: Latents of the largest dictionary.
    """
    targets, tokens = config.discover.chunk_targets, config.replay.batch_tokens
    while True:
        tried = config.model_copy(
            update={
                "discover": config.discover.model_copy(update={"chunk_targets": targets}),
                "replay": config.replay.model_copy(update={"batch_tokens": tokens}),
            }
        )
        peaks = step_peaks(tried, shape, load, kind=kind, n_sae=n_sae)
        if max(peaks.values()) <= room:
            return {"discover.chunk_targets": targets, "replay.batch_tokens": tokens}
        if peaks["tokens"] > room or (targets == 1 and tokens == 1):
            return None
        if peaks["discover"] > room:
            if targets == 1:
                return None
            targets = max(1, targets // 2)
        if peaks["validate"] > room:
            if tokens == 1:
                return None
            tokens = max(1, tokens // 2)


def step_seconds(
    config: StudyConfig, shape: ModelShape, load: Workload, done: Rehearsed, meter: MemoryMeter
) -> dict[str, float]:
    """Return how long each step will take: the rehearsal's pace, for as much as there will be.

    A sweep costs something for each text and something for each operation; two rehearsals, of one
    target and of many in the same text, tell these apart. Targets are taken to stand anywhere in
    their texts. Counting, judging and drawing are left out.
    """
    took = {stage.name: stage.seconds for stage in meter.stages}
    one, many = took["sweep, selected latents"], took["many targets"]
    below = done.found.context.last_layer - 1
    lowest = min((layer.layer for layer in done.found.layers), default=below)

    def operations(contexts: Sequence[ContextShape]) -> int:
        return sweep_flop(shape, contexts, lowest_source=lowest)

    less, more = (operations([_shape_of(each)]) for each in (done.found.context, done.many))
    pace = max(0.0, many - one) / max(1, more - less)
    text = max(0.0, one - pace * less)
    n_runs = load.n_contexts * _runs_of_a_text(config, done.found)
    # Each of the sample below the cut may have a source of its own.
    n_runs += _n_below(config, load, done.found) * (1 + config.replay.n_null)
    return {
        "tokens": took["activations"] * load.n_tokens / max(1, done.n_tokens),
        "discover": load.n_contexts * text + pace * operations(_typical(load, lowest)),
        "validate": load.n_contexts * took["clean text"]
        + n_runs * took["replay"] / max(1, done.n_runs),
        "integrate": _decision_runs(config, load, done)
        * took["activations"]
        / (max(1, done.n_tokens) * shape.n_layers),
    }


def _decision_runs(config: StudyConfig, load: Workload, done: Rehearsed) -> float:
    """Return how much runs for the effects on the decision, at most, in tokens times blocks."""
    integrate = config.integrate
    if not integrate.faithfulness:
        return 0.0
    of_prompt = done.decision.of_prompt(load.n_latents, integrate.n_null)
    return 2 * integrate.n_prompts * of_prompt


def _runs_of_a_text(config: StudyConfig, found: ContextGradients) -> float:
    """Return how many runs the pathways of a text take.

    Sources are those of its targets, taken to have as many as the rehearsed one; and no more than
    fire in the text.
    """
    n_pathways, n_runs = _replayed(config, found)
    return min(TARGETS_PER_CONTEXT * n_pathways, _n_firing(found)) * n_runs


def _replayed(config: StudyConfig, found: ContextGradients) -> tuple[int, float]:
    """Return how many pathways of a target are replayed, and a source's runs in one text.

    What the cut keeps of the rehearsed one; all that fire, where replay is exhaustive.
    """
    n_firing = _n_firing(found)
    n_pathways = n_firing if config.replay.exhaustive else _n_kept(config, found)
    if not n_pathways:
        return 0, 0.0
    of_text = TARGETS_PER_CONTEXT * n_pathways
    return n_pathways, runs_of_source(
        doses=len(config.replay.doses),
        null=config.replay.n_null,
        texts=config.contexts.top + config.contexts.spread,
        close=config.replay.close_texts,
        shared=of_text / min(of_text, n_firing),
    )


def _n_firing(found: ContextGradients) -> int:
    return sum(len(np.unique(layer.indices)) for layer in found.layers)


def _n_kept(config: StudyConfig, found: ContextGradients) -> int:
    return len(candidates([found], cut_of(config.discover), near=0).kept)


def _n_below(config: StudyConfig, load: Workload, found: ContextGradients) -> float:
    """Return how many pairs below the cut are replayed, expected of the draw."""
    replay = config.replay
    if replay.exhaustive:
        return 0.0
    n_below = load.n_pairs * (_n_firing(found) - _n_kept(config, found))
    return min(replay.below_cut * n_below, float(replay.max_below))


def _shape_of(context: Context) -> ContextShape:
    targets = tuple((each.latent.layer, each.position) for each in context.targets)
    return ContextShape(1 + max((position for _, position in targets), default=-1), targets)


def _typical(load: Workload, lowest: int) -> list[ContextShape]:
    """Return texts of mean length with the study's targets at places spread over texts and layers.

    Source of the spread: the golden ratio's multiples fill [0, 1) evenly, whatever their number.
    """
    length = max(2, round(load.n_tokens / load.n_documents))
    each = max(1, round(load.n_pairs / load.n_contexts))
    layers = range(lowest + 1, load.deepest + 1)
    places = [int(length * (at * 0.6180339887498949 % 1.0)) for at in range(each)]
    targets = tuple((layers[at * len(layers) // each], place) for at, place in enumerate(places))
    return [ContextShape(length, targets)] * load.n_contexts


def step_files(config: StudyConfig, load: Workload, found: ContextGradients) -> dict[str, int]:
    """Return the bytes of files that each step leaves."""
    n_sources = max(1, load.n_latents - 1)
    kept = load.n_targets * min(config.discover.top, n_sources)
    rows = load.n_targets * n_sources if config.replay.exhaustive else kept
    n_pathways, n_runs = _replayed(config, found)
    # Each run of a source is a measured effect on each of its targets.
    effects = load.n_pairs * n_pathways * n_runs
    effects += _n_below(config, load, found) * (1 + config.replay.n_null)
    return {
        "tokens": ROW_BYTES["activation"] * load.n_activations
        + ROW_BYTES["associations"] * load.n_latents,
        "discover": 8 * load.n_pairs * load.n_sources + ROW_BYTES["candidate"] * kept,
        "validate": ROW_BYTES["validated"] * rows * len(config.replay.doses)
        + round(ROW_BYTES["effect"] * effects),
        "integrate": ROW_BYTES["report"],
    }


def _limit(config: StudyConfig, device: torch.device) -> int:
    if device.type == "cuda":
        return config.limits.gpu_bytes
    return config.limits.host_bytes or free_bytes(device) + resident_bytes()


def _free_disk(place: Workplace) -> int:
    return place.config.limits.disk_bytes or shutil.disk_usage(place.folder.root).free


def _largest(place: Workplace) -> int:
    return max(place.dictionaries.reader(layer).d_sae for layer in place.dictionaries.layers)
