"""Step 3, second half: every kept pathway is replayed, shard by shard, and judged against chance.

Knows nothing of how replays are run.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.candidates_file import read_kept
from glassbox.pathways.orchestration.discover_step import (
    Piece,
    read_gradients,
    swept_pieces,
)
from glassbox.pathways.orchestration.lent_model import runnable
from glassbox.pathways.orchestration.parallel import Job, Part, Work, run_shards
from glassbox.pathways.orchestration.parts import selected_ids, study_latents
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.texts import load_contexts
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.replay.cells import MeasuredText
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.close_texts import CloseTexts, choose_close_texts
from glassbox.pathways.replay.interventions import doses_named
from glassbox.pathways.replay.judging import judge
from glassbox.pathways.replay.matching import draw_pool
from glassbox.pathways.replay.measuring import Measuring, measure_text
from glassbox.pathways.replay.replaying import Limits
from glassbox.pathways.replay.text_pathways import TextPathways, pathways_in_text
from glassbox.pathways.replay.validated import write_validated
from glassbox.pathways.sections import ReplaySection
from glassbox.pathways.shards import Shards, StepKey, made_key
from glassbox.wording import counted

OPENED_BY: Final = f"{__name__}:open_replays"
"""Where a worker finds what makes the replay's shards."""

Kept = Collection[tuple[LatentId, LatentId]]
"""Target and source of each pathway above the cut."""


def validate_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of contexts and candidates, the model and its dictionaries."""
    folder = place.folder
    return {
        **file_inputs({folder.contexts: "discover", folder.candidates: "discover"}),
        "gradients": made_key(folder.pathways, "discover").digest,
        **place.model_inputs(),
    }


def validate(place: Workplace, key: StepKey) -> Done:
    """Replay every kept pathway in every context that holds it, and judge the effects.

    Raises:
        NotEnoughData: Sources and targets share no text.
        OutOfMemory: Not even one run fits.
    """
    folder, config = place.folder, place.config
    contexts = load_contexts(folder.contexts)
    shards = Shards(folder.replay_shards, key)
    names = list(_by_part(swept_pieces(_gradients(place), contexts), contexts))
    with place.stages("Replaying pathways") as report:
        run_shards(place, shards, Job(OPENED_BY, names), report)
    measured = [each for name in names for each in _measured(shards, name)]
    kept, n_considered = read_kept(folder.candidates)
    found = judge(
        measured,
        doses_named(config.replay.doses),
        q=config.replay.q,
        n_considered=n_considered,
        n_kept=None if config.replay.exhaustive else len(kept),
        path=config.discover.path,
    )
    write_validated(found, folder.validated)
    first = config.replay.doses[0]
    verified = {
        (row.target, row.source) for row in found.rows if row.verified and row.dose == first
    }
    pairs = {(row.target, row.source) for row in found.rows}
    words = (
        f"{len(verified):,} of {counted(len(pairs), 'replayed pathway')} verified at "
        f"q ≤ {config.replay.q:g}"
    )
    return Done(
        (folder.validated, folder.validated.with_suffix(".parquet")),
        {"n_replayed": len(pairs), "n_verified": len(verified), "n_kept": len(kept)},
        words,
    )


@contextmanager
def open_replays(place: Workplace) -> Iterator[Work]:
    """Lend the model, choose close texts and random directions; gives what makes a shard."""
    settings, folder = place.config.replay, place.folder
    contexts = load_contexts(folder.contexts)
    gradients = _gradients(place)
    swept = swept_pieces(gradients, contexts)
    by_part = _by_part(swept, contexts)
    kept, _ = read_kept(folder.candidates)
    cut = None if settings.exhaustive else kept
    plan = _planned(settings, read_gradients(gradients, swept, contexts), cut)
    how = Measuring(
        doses=doses_named(settings.doses),
        n_null=settings.n_null,
        seed=settings.seed,
        limits=Limits(batch_tokens=settings.batch_tokens),
    )
    pool = draw_pool(place.dictionaries, _source_layers(place), seed=settings.seed)
    with place.lend() as lent:
        model = runnable(lent.model)
        device = next(lent.model.parameters()).device

        def work(name: str) -> Part:
            arrays: dict[str, np.ndarray] = {}
            done: list[int] = []
            for found in read_gradients(gradients, by_part[name], contexts):
                wanted = plan.wanted(found, cut, settings.seed)
                latents = _latents(place, wanted, device)
                measured = measure_text(model, wanted, latents, pool, how)
                at = len(done)
                done.append(found.context.document_id)
                arrays |= {f"{at}/{each}": array for each, array in measured.to_arrays().items()}
            return arrays, {"documents": done}

        yield work


def _source_layers(place: Workplace) -> list[int]:
    """Return the layers whose latents may be replayed: above the cut, or of the sample below it."""
    if place.config.discover.sources == "all":
        return list(place.dictionaries.layers)
    return sorted({each.layer for each in selected_ids(place)})


@dataclass(frozen=True, eq=False)
class _Plan:
    """What of each text is replayed and how closely, decided over all texts together."""

    close: CloseTexts
    below_cut: float
    """Share of the pairs below the cut that is sampled."""

    def wanted(self, found: ContextGradients, kept: Kept | None, seed: int) -> TextPathways:
        """Return what is replayed of one text."""
        text = pathways_in_text(
            found.context, found.layers, kept, below_cut=self.below_cut, seed=seed
        )
        return self.close.mark(text)


def _planned(
    settings: ReplaySection, swept: Iterable[ContextGradients], kept: Kept | None
) -> _Plan:
    """Return the plan, the same in every worker: it depends on what the sweep found alone."""
    n_below = 0

    def texts() -> Iterator[TextPathways]:
        nonlocal n_below
        for found in swept:
            text = pathways_in_text(found.context, found.layers, kept, below_cut=0.0)
            n_below += text.n_below
            yield text

    close = choose_close_texts(texts(), settings.close_texts, seed=settings.seed)
    most = settings.max_below / n_below if n_below else 1.0
    return _Plan(close, min(settings.below_cut, most))


def _latents(place: Workplace, wanted: TextPathways, device: torch.device) -> Latents:
    """Return the rows of a text's targets and sources, where the model is."""
    ids = {*wanted.sources(), *(each.latent for each in wanted.context.targets)}
    latents = study_latents(place, device, more=sorted(ids))
    full = dict(latents.full)
    through = place.config.discover.path == "through"
    if through:
        lowest = min((each.layer for each in ids), default=0)
        for layer in place.dictionaries.layers:
            if layer > lowest and layer not in full:
                full[layer] = place.dictionaries.load(layer, device=device)
    rows = {layer: each.to(device) for layer, each in latents.rows.items()}
    return Latents(rows, full, through=through)


def _gradients(place: Workplace) -> Shards:
    """Return what the sweep left."""
    return Shards(place.folder.shards, made_key(place.folder.pathways, "discover"))


def _by_part(swept: Sequence[Piece], contexts: Sequence[Context]) -> dict[str, list[Piece]]:
    """Return the sweep's pieces by the replay's, which hold all layers of the same contexts."""
    layers = [target.latent.layer for each in contexts for target in each.targets]
    parts: dict[str, list[Piece]] = {}
    for piece in sorted(swept, key=lambda each: (each.first, each.low)):
        whole = Piece(piece.first, piece.last, min(layers), max(layers))
        parts.setdefault(whole.name, []).append(piece)
    return parts


def _measured(shards: Shards, name: str) -> list[MeasuredText]:
    shard = shards.load(name)
    return [
        MeasuredText.from_arrays(
            {
                each.partition("/")[2]: array
                for each, array in shard.arrays.items()
                if each.partition("/")[0] == str(at)
            }
        )
        for at in range(len(shard.meta["documents"]))
    ]
