"""The table of steps: what decides each one's result, what it reads, and what does it.

The modules that do them are imported when they run, so that reading results needs no torch. Knows
nothing of how they work.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from glassbox.errors import UnknownName
from glassbox.pathways.layout import STEPS, StudyFolder
from glassbox.pathways.orchestration.running import Done, Finished, Step, run_step
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey

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
        _step(
            "prototype", ("model", "saes", "contexts", "prototype"), "prototype", "prototype_inputs"
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
    named = place.config.data
    is_there = named.checkpoints is not None and named.response_logs is not None
    return tuple(name for name in STEPS if not (is_there and name == "experiment"))


def do_step(place: Workplace, name: str, *, fresh: bool = False) -> Finished:
    """Return what came of one step; raises as ``run_step`` and the step itself.

    Raises:
        UnknownName: There is no such step.
    """
    if name not in TABLE:
        raise UnknownName("step", name, STEPS)
    return run_step(place, TABLE[name], fresh=fresh)


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
