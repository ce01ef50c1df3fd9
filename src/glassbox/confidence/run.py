"""The run folder: where each part of the main job is kept, and what was asked of it.

A run can be killed at any moment and started again with the same command: every file appears whole
or not at all, and each carries the digest of what it was made from. Knows nothing of models.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassbox.artifacts import (
    RUN_SCHEMA,
    alone_in,
    is_of_newer,
    read_object,
    sweep_unfinished,
    write_json,
)
from glassbox.errors import ConflictError, CorruptArtifact, InvalidData, UnknownName


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run."""

    root: Path
    """The folder itself."""

    @property
    def run_json(self) -> Path:
        """What was asked, on which data and model, with which versions."""
        return self.root / "run.json"

    @property
    def test_set(self) -> Path:
        """The held-out rows and the part each belongs to."""
        return self.root / "test_set.json"

    @property
    def adapter(self) -> Path:
        """The LoRA weights that tuning wrote."""
        return self.root / "adapter"

    @property
    def evaluation(self) -> Path:
        """Evaluated rows, one Parquet file a model, and the cache they come from."""
        return self.root / "evaluation"

    @property
    def results(self) -> Path:
        """Every figure with its interval and the part it was measured on."""
        return self.root / "results.json"

    @property
    def calibrators(self) -> Path:
        """All fitted calibrators of each model."""
        return self.root / "calibrators.json"

    @property
    def charts(self) -> Path:
        """PNG, SVG and JSON of every chart."""
        return self.root / "charts"

    @property
    def report(self) -> Path:
        """The self-contained HTML report."""
        return self.root / "report.html"

    def check(self) -> None:
        """Refuse a path that cannot become a folder, and one that a newer Glassbox uses.

        Raises:
            InvalidData: The path is a file.
            ConflictError: A newer Glassbox made the run in it, which would be overwritten.
        """
        if self.root.exists() and not self.root.is_dir():
            raise InvalidData("a run needs a folder, this is a file", source=str(self.root))
        self.check_age(self.run_json, RUN_SCHEMA)

    def check_age(self, path: Path, schema: int) -> None:
        """Refuse a file of the run that is of a newer Glassbox.

        Raises:
            ConflictError: It says that it is of a later layout than ``schema``.
        """
        if is_of_newer(path, schema):
            raise ConflictError(
                f"{path} was written by a newer Glassbox. Upgrade this one to go on with the run, "
                "or give another folder for --out."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the folder alone inside the block, without what a killed process left half-written.

        Raises:
            ConflictError: Another process works there.
        """
        with alone_in(self.root, "use another run folder"):
            # The folder may hold other runs, or be somebody's home: the rest of it is not ours.
            sweep_unfinished(self.root, below=False)
            for own in (self.adapter, self.evaluation, self.charts):
                sweep_unfinished(own)
            yield

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``, which says that the run is finished: it comes last."""
        write_json(self.run_json, {"schema_version": RUN_SCHEMA, **content})

    def read_run(self, *, changing: bool = False) -> dict[str, Any]:
        """Return ``run.json``.

        Args:
            changing: Whether calibrator and threshold are about to be replaced, and so may be left
                half replaced by a killed process.

        Raises:
            UnknownName: The folder holds no finished run.
            CorruptArtifact: The file is damaged, or a change of the run was interrupted.
        """
        self._require(self.run_json)
        content = read_object(self.run_json, schema=RUN_SCHEMA)
        if not changing and content.get("classifier", "") is None:
            raise CorruptArtifact(
                self.root,
                "a change of its calibrator or threshold was interrupted",
                remedy="Run that 'glassbox calibrate' or 'glassbox threshold --save' again.",
            )
        return content

    def write_results(self, content: Mapping[str, Any]) -> None:
        """Write ``results.json``."""
        write_json(self.results, {"schema_version": RUN_SCHEMA, **content})

    def _require(self, path: Path) -> None:
        if path.exists():
            return
        inside = sorted(str(each.parent) for each in self.root.glob("*/run.json"))
        if inside:
            raise UnknownName(
                "finished run", str(self.root), inside, remedy="This is a folder of runs: name one."
            )
        siblings = self.root.parent.glob("*/run.json") if self.root.parent.is_dir() else ()
        raise UnknownName(
            "finished run",
            str(self.root),
            sorted(str(each.parent) for each in siblings),
            remedy=f"{path.name} is missing: run 'glassbox evaluate --out {self.root}'.",
        )
