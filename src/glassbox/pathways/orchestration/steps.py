"""The table of steps: what decides each one's result, what it reads, and what does it.

The modules that do them are imported when they run, so that reading results needs no torch. Knows
nothing of how they work.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from glassbox.errors import ConflictError, UnknownName
from glassbox.pathways.layout import STEPS, StudyFolder
from glassbox.pathways.orchestration.running import Done, Finished, Step, run_step
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey, made_key

_HERE: Final = "glassbox.pathways.orchestration"


def _step(name: str, sections: Sequence[str], module: str, inputs: str) -> Step:
    def find(attribute: str) -> Any:
        return getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)

    def digests(place: Workplace) -> Mapping[str, str]:
        found: Mapping[str, str] = find(inputs)(place)
        return found

    def work(place: Workplace, key: StepKey) -> Done:
        found: Done = find(name)(place, key)
        return found

    def remains(folder: StudyFolder) -> Sequence[Path]:
        return _remains(folder, name)

    return Step(name, tuple(sections), digests, work, remains)


def _remains(folder: StudyFolder, name: str) -> Sequence[Path]:
    return {
        "experiment": (
            folder.checkpoints,
            folder.response_logs,
            folder.planted_saes,
            folder.planted,
            folder.experiment_work,
        ),
        "audit": (folder.data_validation, folder.latent_evidence),
        "select": (folder.causal_features, folder.prompts_sample),
        "prototype": (folder.single_feature_test,),
        "tokens": (
            folder.activation_shards,
            folder.activations,
            folder.token_associations,
            folder.token_associations.with_suffix(".parquet"),
        ),
        "discover": (folder.contexts, folder.shards, folder.candidates),
        "validate": (
            folder.replay_shards,
            folder.validated,
            folder.validated.with_suffix(".parquet"),
        ),
        "integrate": (folder.integrated,),
    }[name]


TABLE: Final[Mapping[str, Step]] = {
    step.name: step
    for step in (
        _step("experiment", ("model", "experiment"), "experiment_step", "experiment_inputs"),
        _step("audit", ("audit",), "file_steps", "data_inputs"),
        _step("select", ("audit", "select"), "file_steps", "selection_inputs"),
        # What it measures goes the way of the sweep, and its forecast is of all that follows.
        _step(
            "prototype",
            ("model", "saes", "contexts", "discover", "replay", "tokens", "integrate", "prototype"),
            "prototype",
            "prototype_inputs",
        ),
        _step("tokens", ("model", "saes", "tokens", "contexts"), "tokens_step", "tokens_inputs"),
        _step(
            "discover",
            ("model", "saes", "contexts", "discover"),
            "discover_step",
            "discover_inputs",
        ),
        _step("validate", ("model", "saes", "replay"), "validate_step", "validate_inputs"),
        _step("integrate", ("integrate",), "integrate_step", "integrate_inputs"),
    )
}
"""Every step by name, in the order of ``STEPS``."""


def steps_of(place: Workplace) -> tuple[str, ...]:
    """Return the steps of a whole study; one that is there already has no experiment."""
    is_there = place.config.data.checkpoints is not None
    return tuple(name for name in STEPS if not (is_there and name == "experiment"))


def do_step(place: Workplace, name: str, *, fresh: bool = False) -> Finished:
    """Return what came of one step; raises as ``run_step`` and the step itself.

    Raises:
        UnknownName: There is no such step.
        ConflictError: A step that it builds on was made under other settings; named.
    """
    if name not in TABLE:
        raise UnknownName("step", name, STEPS)
    for earlier in STEPS[: STEPS.index(name)]:
        # Nothing reads the rehearsal, and only a study that makes its own data the experiment.
        if earlier != "prototype" and earlier in steps_of(place):
            require_settings(place, earlier, f"'{name}' builds on")
    return run_step(place, TABLE[name], fresh=fresh)


def require_settings(place: Workplace, name: str, why: str) -> None:
    """Return if a step's files, where there are any, were made under the study's settings.

    Args:
        place: The study.
        name: The step.
        why: What they are needed for, as the beginning of a sentence that goes on with them.

    Raises:
        ConflictError: They were made under other ones; what differs is named.
        CorruptArtifact: The step's record is damaged.
    """
    folder = place.folder.of_step(name)
    if not (folder / f"{name}.step.json").is_file():
        return
    made = made_key(folder, name)
    asked = replace(made, settings=place.config.settings(TABLE[name].sections))
    if asked.digest != made.digest:
        differences = "; ".join(asked.differences(made.to_json()))
        raise ConflictError(
            f"{why} results of '{name}' in {folder} that were made under another configuration: "
            f"{differences}. {asked.ages(made.to_json())}Run 'glassbox pathways {name}' with "
            "--fresh first, or use another study.out."
        )


def run_study(place: Workplace, *, fresh: bool = False) -> list[Finished]:
    """Return what came of all steps, one after another; finished ones are not done again.

    Args:
        place: The study.
        fresh: Have all of them made anew.

    Raises:
        GlassboxError: A step's own; what is finished is kept, and the same call goes on there.
    """
    finished = []
    for name in steps_of(place):
        done = do_step(place, name, fresh=fresh)
        finished.append(done)
        again = " (done before)" if done.was_there else f" ({done.seconds:.1f} s)"
        place.say(f"{name}: {done.words}{again}")
    return finished
