"""Step 3: contexts are chosen, the sweep runs shard by shard, its gradients become candidates.

A shard is a run of contexts and a band of target layers; what comes of a context does not depend
on the shards. Knows nothing of how gradients are computed.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from glassbox.errors import CorruptArtifact, NotEnoughData
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.corpus.set_cover import choose_contexts
from glassbox.pathways.discovery.gradients import ContextGradients, join_targets
from glassbox.pathways.discovery.sources import HeldSources, Sources, StreamedSources
from glassbox.pathways.discovery.sweep import SweepOptions
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.candidates_file import write_candidates
from glassbox.pathways.orchestration.lent_model import sweeper_of
from glassbox.pathways.orchestration.parallel import Job, Part, Work, run_shards
from glassbox.pathways.orchestration.parts import StudyLatents, selected_ids, study_latents
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.texts import load_contexts, save_contexts, study_corpus
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import Shards, StepKey
from glassbox.wording import counted

OPENED_BY: Final = f"{__name__}:open_sweep"
"""Where a worker finds what makes the sweep's shards."""

_NAME: Final = re.compile(r"c(\d+)-(\d+)_l(\d+)-(\d+)")


@dataclass(frozen=True)
class Piece:
    """Some consecutive contexts, and the targets in them on some consecutive layers."""

    first: int
    """Number of the first context."""
    last: int
    """Number of the last one."""
    low: int
    """Lowest layer of targets."""
    high: int
    """Highest one."""

    @property
    def name(self) -> str:
        """The shard's name."""
        return f"c{self.first:06d}-{self.last:06d}_l{self.low:03d}-{self.high:03d}"

    @classmethod
    def parse(cls, name: str) -> "Piece":
        """Return the piece of a shard's name."""
        found = _NAME.fullmatch(name)
        assert found is not None
        return cls(*(int(each) for each in found.groups()))

    def of(self, context: Context) -> Context | None:
        """Return a context with the targets of these layers alone; None where there are none."""
        targets = tuple(
            each for each in context.targets if self.low <= each.latent.layer <= self.high
        )
        return replace(context, targets=targets) if targets else None


def plan_pieces(
    contexts: Sequence[Context], *, per_shard: int, layers_per_shard: int | None
) -> list[Piece]:
    """Return the pieces that hold every target of every context once."""
    layers = sorted({each.latent.layer for context in contexts for each in context.targets})
    size = layers_per_shard or len(layers)
    bands = [layers[start : start + size] for start in range(0, len(layers), size)]
    pieces = []
    for first in range(0, len(contexts), per_shard):
        last = min(first + per_shard, len(contexts)) - 1
        for band in bands:
            piece = Piece(first, last, band[0], band[-1])
            if any(piece.of(each) for each in contexts[first : last + 1]):
                pieces.append(piece)
    return pieces


def swept_pieces(shards: Shards, contexts: Sequence[Context]) -> list[Piece]:
    """Return the pieces that a finished sweep was cut into, whatever the settings are by now.

    Raises:
        CorruptArtifact: Not every target of every context is in one of them.
    """
    pieces = [Piece.parse(name) for name in shards.names()]
    swept = [
        (at, target)
        for piece in pieces
        for at in range(piece.first, min(piece.last + 1, len(contexts)))
        for cut in [piece.of(contexts[at])]
        if cut is not None
        for target in cut.targets
    ]
    wanted = [(at, target) for at, each in enumerate(contexts) for target in each.targets]
    if sorted(swept) != sorted(wanted):
        raise CorruptArtifact(
            shards.folder,
            f"its shards hold {len(swept)} targets, and the contexts have {len(wanted)}",
            remedy="Run 'glassbox pathways discover' with --fresh.",
        )
    return pieces


def discover_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the selection, its activations, the model and its dictionaries."""
    folder = place.folder
    return {
        **file_inputs({folder.causal_features: "select", folder.activations: "tokens"}),
        **place.model_inputs(),
    }


def discover(place: Workplace, key: StepKey) -> Done:
    """Choose contexts, sweep them, and write the candidates.

    Raises:
        NotEnoughData: No selected latent has another one below it and fires anywhere.
        OutOfMemory: Not even a single target fits.
    """
    folder, config = place.folder, place.config
    contexts = _contexts(place)
    parallel = config.parallel
    pieces = plan_pieces(
        contexts,
        per_shard=parallel.contexts_per_shard,
        layers_per_shard=parallel.layers_per_shard,
    )
    shards = Shards(folder.shards, key)
    with place.stages("Upstream gradients") as report:
        run_shards(place, shards, Job(OPENED_BY, [piece.name for piece in pieces]), report)
    shards.keep(piece.name for piece in pieces)
    found = write_candidates(
        read_gradients(shards, pieces, contexts), config.discover, folder.candidates
    )
    n_pairs = sum(len(each.targets) for each in contexts)
    words = (
        f"{found.n_kept:,} of {counted(found.n_considered, 'pathway')} kept, from "
        f"{counted(n_pairs, 'target')} in "
        f"{counted(len(contexts), 'context')} ({config.discover.mode}, {config.discover.path})"
    )
    return Done(
        (folder.contexts, folder.candidates),
        {
            "n_kept": found.n_kept,
            "n_considered": found.n_considered,
            "n_contexts": len(contexts),
            "n_targets": n_pairs,
            "n_excluded": found.n_excluded,
            "mode": config.discover.mode,
            "path": config.discover.path,
        },
        words,
    )


def read_gradients(
    shards: Shards, pieces: Sequence[Piece], contexts: Sequence[Context]
) -> Iterator[ContextGradients]:
    """Yield the gradients of each context, in order, whatever shards they were made in."""
    by_first: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_first.setdefault(piece.first, []).append(piece)
    for first in sorted(by_first):
        together = by_first[first]
        parts: dict[int, list[ContextGradients]] = {}
        for piece in together:
            shard = shards.load(piece.name)
            mode, path = shard.meta["mode"], shard.meta["path"]
            for at in shard.meta["contexts"]:
                context = piece.of(contexts[at])
                assert context is not None
                arrays = {
                    name.partition("/")[2]: each
                    for name, each in shard.arrays.items()
                    if name.partition("/")[0] == str(at)
                }
                parts.setdefault(at, []).append(
                    ContextGradients.from_arrays(arrays, context, mode, path)
                )
        for at in sorted(parts):
            yield join_targets(parts[at], contexts[at])


@contextmanager
def open_sweep(place: Workplace) -> Iterator[Work]:
    """Lend the model and read the rows; gives what makes a shard."""
    contexts = load_contexts(place.folder.contexts)
    settings = place.config.discover
    with place.lend() as lent:
        device = next(lent.model.parameters()).device
        latents = study_latents(place, device=device)
        options = SweepOptions(
            mode=settings.mode, path=settings.path, chunk_targets=settings.chunk_targets
        )
        sources = study_sources(place, latents)
        sweep = sweeper_of(lent.model, latents.rows, sources)

        def work(name: str) -> Part:
            piece = Piece.parse(name)
            cut = {at: piece.of(contexts[at]) for at in range(piece.first, piece.last + 1)}
            wanted = {at: each for at, each in cut.items() if each is not None}
            found = sweep(list(wanted.values()), options)
            arrays = {
                f"{at}/{name}": array
                for at, gradients in zip(wanted, found, strict=True)
                for name, array in gradients.to_arrays().items()
            }
            meta = {"contexts": list(wanted), "mode": settings.mode, "path": settings.path}
            return arrays, meta

        yield work


def study_sources(place: Workplace, latents: StudyLatents) -> Sources:
    """Return the latents that gradients are wanted for: the selected ones, or all there are."""
    settings = place.config.discover
    if settings.sources == "all":
        return StreamedSources(place.dictionaries)
    if settings.path == "through":
        chosen = {layer: rows.indices.tolist() for layer, rows in latents.rows.items()}
        return StreamedSources(place.dictionaries, chosen)
    return HeldSources(latents.rows, latents.full)


def _contexts(place: Workplace) -> tuple[Context, ...]:
    """Return the contexts of the study's targets; chosen once and kept."""
    folder, settings = place.folder, place.config.contexts
    if not folder.contexts.is_file():
        activations = load_activations(folder.activations)
        with place.lend() as lent:
            special = tuple(lent.tokenizer.all_special_ids)
        corpus = study_corpus(place, special)
        choice = choose_contexts(
            activations,
            corpus,
            _targets(place, selected_ids(place)),
            top=settings.top,
            spread=settings.spread,
            seed=settings.seed,
        )
        save_contexts(choice, folder.contexts)
        if choice.missing:
            place.say(
                f"{counted(len(choice.missing), 'latent is', 'latents are')} active in fewer "
                f"contexts than asked for; see {folder.contexts}"
            )
    contexts = load_contexts(folder.contexts)
    if not contexts:
        raise NotEnoughData(
            "A sweep", 0, 1, unit="latent", remedy="No selected latent fires on the corpus."
        )
    return contexts


def _targets(place: Workplace, ids: Sequence[LatentId]) -> list[LatentId]:
    """Return those that may have a source below them."""
    all_layers = place.config.discover.sources == "all"
    lowest = min(place.dictionaries.layers if all_layers else {each.layer for each in ids})
    found = [each for each in ids if each.layer > lowest]
    if not found:
        raise NotEnoughData(
            "A sweep",
            0,
            1,
            unit="latent",
            remedy=f"All selected latents are on layer {lowest}: nothing is below them. With "
            "discover.sources 'all', every latent of lower layers is a source.",
        )
    return found
