"""Step 5: all that was found becomes one table, one graph and one page."""

from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.integration.integrate import integrate_study
from glassbox.pathways.integration.measuring import Resident
from glassbox.pathways.orchestration.lent_model import runnable
from glassbox.pathways.orchestration.running import Done, file_inputs
from glassbox.pathways.orchestration.texts import study_corpus
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey, results_in
from glassbox.wording import counted


def integrate_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of what the other steps made, of the model and its dictionaries."""
    folder = place.folder
    return {
        **file_inputs(
            {
                folder.causal_features: "select",
                folder.activations: "tokens",
                folder.token_associations: "tokens",
                folder.candidates: "discover",
                folder.validated: "validate",
            }
        ),
        **place.model_inputs(),
    }


def integrate(place: Workplace, key: StepKey) -> Done:
    """Join, test and show everything."""
    del key
    with place.lend() as lent:
        special = tuple(lent.tokenizer.all_special_ids)
        blocks = runnable(lent.model)
        resident = Resident(
            model=lent.model,
            codec=place.engine.codec,
            special_ids=special,
            dictionaries=place.dictionaries,
            corpus=study_corpus(place, special),
            blocks=blocks if isinstance(blocks, ModelBlocks) else None,
            digests=place.model_inputs(),
        )
        results = integrate_study(place.config, resident, stages=place.stages)
    words = (
        f"{counted(len(results.communities), 'community', 'communities')}, "
        f"{counted(len(results.decision_paths), 'path')} to the "
        f"decision; report: {results.report}"
    )
    return Done(
        [*results_in([place.folder.integrated])], {"n_paths": len(results.decision_paths)}, words
    )
