"""How any step is run: refused under another configuration, skipped when finished, recorded.

Knows nothing of what steps do.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glassbox.artifacts import digest_files, sweep_unfinished
from glassbox.errors import InvalidData
from glassbox.pathways.config_file import save_config
from glassbox.pathways.layout import StudyFolder
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import (
    StepKey,
    begin_step,
    finish_step,
    finished_step,
    forget_step,
    left_nothing,
)


@dataclass(frozen=True)
class Done:
    """What a step's work came to."""

    outputs: Sequence[Path]
    """Files that it made."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Counts worth telling, JSON values."""
    words: str = ""
    """One sentence for people."""


@dataclass(frozen=True)
class Step:
    """One step: what decides its result, and how it is done."""

    name: str
    """As the command is called."""
    sections: tuple[str, ...]
    """Sections of the configuration that decide its result."""
    inputs: Callable[[Workplace], Mapping[str, str]]
    """Digests of what it reads."""
    work: Callable[[Workplace, StepKey], Done]
    """Does it."""
    remains: Callable[[StudyFolder], Sequence[Path]]
    """Files and folders that are removed to have it made anew."""


@dataclass(frozen=True)
class Finished:
    """A step that is finished."""

    step: str
    """Its name."""
    seconds: float
    """How long its work took, also where it was done before."""
    was_there: bool
    """Whether it was finished already."""
    figures: Mapping[str, Any]
    """Counts worth telling."""
    words: str
    """One sentence for people."""
    outputs: tuple[str, ...]
    """Its files, relative to the step's folder."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "was_there": self.was_there,
            "figures": dict(self.figures),
            "words": self.words,
            "outputs": list(self.outputs),
        }


def run_step(place: Workplace, step: Step, *, fresh: bool = False) -> Finished:
    """Return what came of a step; one that is finished with the same key is not done again.

    Args:
        place: The study.
        step: Which step.
        fresh: Have it made anew, whatever is there.

    Raises:
        ConflictError: Its files were made under another configuration; what differs is named. Or
            another process works in the folder.
        CorruptArtifact: A file is damaged.
        InvalidData: What it reads is not there yet.
        NoDiskSpace: The device is full; finished parts are kept.
    """
    folder = place.folder.of_step(step.name)
    with place.alone():
        remains = step.remains(place.folder)
        # Begun under other settings and failed at once: nothing is there that could be mixed up.
        if fresh or left_nothing(folder, step.name, remains):
            forget_step(folder, step.name, remains)
        key = StepKey(step.name, place.config.settings(step.sections), step.inputs(place))
        record = finished_step(folder, key)
        if record is not None:
            return _finished(step.name, record, was_there=True)
        place.require_fits()
        sweep_unfinished(folder)
        begin_step(folder, key)
        save_config(place.config, place.folder.config)
        started = time.perf_counter()
        done = step.work(place, key)
        seconds = round(time.perf_counter() - started, 3)
        figures = {"seconds": seconds, "words": done.words, "counts": dict(done.figures)}
        finish_step(folder, key, done.outputs, figures)
        record = {"figures": figures, "outputs": dict.fromkeys(map(str, done.outputs))}
    return _finished(step.name, record, was_there=False)


def file_inputs(made_by: Mapping[Path, str]) -> dict[str, str]:
    """Return the digests of files by name.

    Args:
        made_by: File to the step that makes it.

    Raises:
        InvalidData: One is not there yet.
    """
    found = {}
    for path, step in made_by.items():
        if not path.is_file():
            raise InvalidData(
                f"not there yet: run 'glassbox pathways {step}' first, or 'glassbox pathways run' "
                "for all steps",
                source=str(path),
            )
        found[path.name] = digest_files([path])
    return found


def folder_input(folder: Path, pattern: str, made_by: str) -> str:
    """Return the digest of a folder's files.

    Raises:
        InvalidData: There is none.
    """
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise InvalidData(f"no {pattern} is here: {made_by}", source=str(folder))
    return digest_files(paths)


def _finished(name: str, record: Mapping[str, Any], *, was_there: bool) -> Finished:
    figures = record["figures"]
    return Finished(
        step=name,
        seconds=float(figures.get("seconds", 0.0)),
        was_there=was_there,
        figures=figures.get("counts", {}),
        words=str(figures.get("words", "")),
        outputs=tuple(sorted(record["outputs"])),
    )
