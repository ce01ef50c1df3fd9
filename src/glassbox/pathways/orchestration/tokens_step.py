"""Step 4: one pass over the corpus for all latents, and which tokens fire which of them."""

from glassbox.pathways.association.associating import associate
from glassbox.pathways.association.tables import write_associations
from glassbox.pathways.corpus.activation_pass import read_activations
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.orchestration.file_steps import data_inputs
from glassbox.pathways.orchestration.parts import study_latents
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.texts import study_corpus
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey


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
    del key
    folder, config = place.folder, place.config
    with place.lend() as lent:
        corpus = study_corpus(place, tuple(lent.tokenizer.all_special_ids))
        if not folder.activations.is_file():
            device = next(lent.model.parameters()).device
            latents = study_latents(place, device=device)
            with place.stages("Reading latents over the corpus") as report:
                activations = read_activations(
                    lent.model,
                    corpus,
                    latents.rows,
                    full=latents.full,
                    source_digest=place.dictionaries.digest,
                    progress=report,
                )
            activations.save(folder.activations)
    activations = load_activations(folder.activations)
    with place.stages("Testing tokens against latents") as report:
        found = associate(activations, corpus, config.tokens, progress=report)
    n_called = sum(family.n_associated for family in found.families if family.condition == "all")
    words = (
        f"{n_called:,} token associations at q ≤ {config.tokens.q:g}, from {len(corpus):,} "
        f"distinct texts and {len(activations):,} activations"
    )
    outputs = write_associations(
        found, activations, corpus, place.engine.codec, config.tokens, folder.token_associations
    )
    return Done(
        (folder.activations, *outputs),
        {"n_associated": n_called, **corpus.summary()},
        words,
    )
