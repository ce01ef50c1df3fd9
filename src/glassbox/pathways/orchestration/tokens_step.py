"""Step 4: one pass over the corpus for all latents, and which tokens fire which of them.

The pass is cut into shards of some forward passes each, which are the same however they are spread;
once all are there they become one file. Knows nothing of how latents are read or tested.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from glassbox.pathways.association.associating import associate
from glassbox.pathways.association.tables import write_associations
from glassbox.pathways.corpus.activation_pass import Read, batches, join_read, open_reader
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.file_steps import data_inputs
from glassbox.pathways.orchestration.parallel import Job, Part, Work, run_shards
from glassbox.pathways.orchestration.parts import row_bank, study_latents
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.texts import study_corpus
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import Shards, StepKey
from glassbox.wording import counted

OPENED_BY: Final = f"{__name__}:open_reading"
"""Where a worker finds what makes the shards of the pass."""


def tokens_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the selection, the logs, the model and its dictionaries."""
    return {
        **file_inputs({place.folder.causal_features: "select"}),
        "response_logs": data_inputs(place)["response_logs"],
        **place.model_inputs(),
    }


def tokens(place: Workplace, key: StepKey) -> Done:
    """Read all latents over the corpus, then test them against every token.

    Raises:
        NotEnoughData: The logs hold no text that can be read.
        OutOfMemory: Not even one document fits.
    """
    folder, config = place.folder, place.config
    corpus = _corpus(place)
    if not folder.activations.is_file():
        _read(place, key, corpus)
    # Only now: what was read is whole, in one file.
    shutil.rmtree(folder.activation_shards, ignore_errors=True)
    activations = load_activations(folder.activations)
    with place.stages("Testing tokens against latents") as report:
        found = associate(activations, corpus, config.tokens, progress=report)
    n_called = sum(family.n_associated for family in found.families if family.condition == "all")
    words = (
        f"{counted(n_called, 'token association')} at q ≤ {config.tokens.q:g}, from "
        f"{counted(len(corpus), 'distinct text')} and {counted(len(activations), 'activation')}"
    )
    outputs = write_associations(
        found, activations, corpus, place.engine.codec, config.tokens, folder.token_associations
    )
    return Done(
        (folder.activations, *outputs),
        {"n_associated": n_called, **corpus.summary()},
        words,
    )


@contextmanager
def open_reading(place: Workplace) -> Iterator[Work]:
    """Lend the model and read the rows; gives what makes a shard."""
    corpus = _corpus(place)
    passes = batches(corpus)
    with place.lend() as lent:
        latents = study_latents(place, device=next(lent.model.parameters()).device)
        with open_reader(lent.model, corpus, latents.rows, full=latents.full) as reader:

            def work(name: str) -> Part:
                first, _, last = name.partition("-")
                found = reader.read(passes[int(first) : int(last) + 1])
                arrays = {"token": found.token, "latent": found.latent, "value": found.value}
                return arrays, {"latents": [each.name for each in reader.latents]}

            yield work


def _read(place: Workplace, key: StepKey, corpus: Corpus) -> None:
    """Write what every selected latent does on the corpus."""
    n_passes, size = len(batches(corpus)), place.config.parallel.passes_per_shard
    names = [
        f"{first:06d}-{min(first + size, n_passes) - 1:06d}" for first in range(0, n_passes, size)
    ]
    # Written before there are workers: of several, one could take away what another is reading.
    row_bank(place)
    shards = Shards(place.folder.activation_shards, key)
    with place.stages("Reading latents over the corpus") as report:
        run_shards(place, shards, Job(OPENED_BY, names), report)
    parts = [shards.load(name) for name in names]
    activations = join_read(
        (Read(**part.arrays) for part in parts),
        tuple(LatentId.parse(name) for name in parts[0].meta["latents"]),
        corpus,
        place.dictionaries.digest,
    )
    activations.save(place.folder.activations)


def _corpus(place: Workplace) -> Corpus:
    with place.lend() as lent:
        special = tuple(lent.tokenizer.all_special_ids)
    return study_corpus(place, special)
