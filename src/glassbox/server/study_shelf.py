"""The finished studies in a folder, as a server shows them.

A study is found by its name among the folders that are there: no path is ever joined with what a
request says. Results on disk are opened anew when their file has changed. Computes nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from glassbox.errors import GlassboxError, UnknownName
from glassbox.pathways.integration.results import INTEGRATED, STUDY_FILE, StudyResults, read_study
from glassbox.wire.pathways import StudyAnswered, StudyBrief
from glassbox.wire.shapes import Answered

A = TypeVar("A", bound=Answered)

_MOST_NAMED = 20
"""Studies that an error names."""

_MOST_OPEN = 32
"""Studies that are kept open."""


class StudyShelf:
    """The studies directly below a folder; may be used by many threads at once.

    Args:
        folder: Where each study has a folder of its own; None has no studies.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = Lock()
        self._open: dict[Path, tuple[tuple[int, int], StudyResults]] = {}

    def briefs(self) -> list[StudyBrief]:
        """Return every finished study by name; one that is damaged says why."""
        return [self._brief(folder) for folder in self._folders().values()]

    def open(self, name: str) -> StudyResults:
        """Return the results of a study.

        Raises:
            UnknownName: There is no finished study of that name.
            CorruptArtifact: Its results are damaged.
        """
        folders = self._folders()
        folder = folders.get(name)
        if folder is None:
            where = f"Finished studies are looked for in {self._folder}." if self._folder else ""
            raise UnknownName("finished study", name, list(folders)[:_MOST_NAMED], remedy=where)
        state = (folder / INTEGRATED / STUDY_FILE).stat()
        seen = (state.st_mtime_ns, state.st_size)
        with self._lock:
            known = self._open.get(folder)
        if known is not None and known[0] == seen:
            return known[1]
        results = read_study(folder)
        with self._lock:
            self._open.pop(folder, None)
            while len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[folder] = (seen, results)
        return results

    def _folders(self) -> Mapping[str, Path]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        found = [
            each
            for each in self._folder.iterdir()
            if (each / INTEGRATED / STUDY_FILE).is_file() and _is_text(each.name)
        ]
        return {each.name: each for each in sorted(found)}

    def _brief(self, folder: Path) -> StudyBrief:
        try:
            results = self.open(folder.name)
        except GlassboxError as error:
            return StudyBrief(
                name=folder.name,
                title=folder.name,
                model="",
                made_s=None,
                n_latents=0,
                n_replayed=0,
                n_verified=0,
                problem=str(error),
            )
        return shown(results.summary, StudyBrief, **_named(folder.name, results))


def study_shown(name: str, results: StudyResults) -> StudyAnswered:
    """Return a study in its figures, under the name by which it was asked for."""
    summary = results.summary
    layers = sorted({each.layer for each in results.latents()})
    return shown(
        summary,
        StudyAnswered,
        **_named(name, results),
        layers=layers,
        conventions=dict(summary.conventions),
        calibration=dict(summary.calibration),
        provenance=dict(summary.provenance),
        communities=[asdict(each) for each in results.communities],
        paths=[asdict(each) for each in results.decision_paths],
    )


def shown(value: Any, model: type[A], **further: Any) -> A:
    """Return a room's value as the wire shows it: the same names, what the wire lacks left out."""
    assert is_dataclass(value)
    assert not isinstance(value, type)
    return model.model_validate({**asdict(value), **further})


def _named(name: str, results: StudyResults) -> dict[str, Any]:
    made = (results.integrated / STUDY_FILE).stat().st_mtime
    return {"name": name, "title": results.summary.name, "made_s": made}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
