"""The run folder: where each part of the main job is kept, and what was asked of it.

A run can be killed at any moment and started again with the same command: every file appears whole
or not at all, and each carries the digest of what it was made from. Knows nothing of models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassbox.artifacts import RUN_SCHEMA, is_of_newer, read_object, write_json
from glassbox.errors import ConflictError, InvalidData, UnknownName


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

    def create(self) -> None:
        """Make the folder, if it is not there."""
        self.root.mkdir(parents=True, exist_ok=True)

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        write_json(self.run_json, {"schema_version": RUN_SCHEMA, **content})

    def read_run(self) -> dict[str, Any]:
        """Return ``run.json``.

        Raises:
            UnknownName: The folder holds no run.
            CorruptArtifact: The file is damaged.
        """
        self._require(self.run_json)
        return read_object(self.run_json, schema=RUN_SCHEMA)

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
