"""The step before the plan's: makes a patching study where there is none."""

from collections.abc import Sequence

from glassbox.artifacts import digest_files
from glassbox.pathways.experiment.planting import plant_world
from glassbox.pathways.experiment.prompts import prompts_path
from glassbox.pathways.experiment.run import run_experiment
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.running import Done
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey
from glassbox.wording import counted


def experiment_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the prompts, the model and the dictionaries as they are given."""
    prompts = prompts_path(place.config.experiment.prompts)
    return {
        "prompts": digest_files([prompts]),
        "model": place.model_digest(),
        "saes": place.open_dictionaries(planted=False).digest,
    }


def experiment(place: Workplace, key: StepKey) -> Done:
    """Patch every latent under six conditions; finished parts are kept."""
    del key
    folder, section = place.folder, place.config.experiment
    always: Sequence[LatentId] = ()
    if section.plant:
        with place.stages("Planting latents whose effect is known"):
            planted = plant_world(
                section,
                place.engine,
                place.open_dictionaries(planted=False),
                folder.planted_saes,
                folder.planted,
            )
        always = [each.latent for each in planted.latents]
    with place.stages("Patching latents") as report:
        found = run_experiment(
            section,
            place.engine,
            place.dictionaries,
            checkpoints=folder.checkpoints,
            logs=folder.response_logs,
            always=always,
            progress=report,
        )
    outputs = sorted(
        each
        for part in (folder.checkpoints, folder.response_logs)
        for each in part.iterdir()
        if each.is_file() and not each.name.startswith(".")
    )
    words = (
        f"{counted(len(found.results), 'latent')} under six conditions, "
        f"{counted(found.n_responses, 'response')}; "
        f"{len(found.causal):,} called causal"
    )
    return Done(
        outputs,
        {
            "n_latents": len(found.results),
            "n_responses": found.n_responses,
            "n_causal": len(found.causal),
        },
        words,
    )
