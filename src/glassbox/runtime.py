"""The composition root: settings in, working parts out.

The only place that makes things from settings. Everything below takes what it needs as arguments;
the faces above (command line, server) ask here. Nothing heavy is imported before it is needed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassbox.artifacts import CLASSIFIER_FILE, Classifier
from glassbox.errors import UnknownName
from glassbox.settings import Settings, load_settings
from glassbox.types import ModelSpec, Quantization

if TYPE_CHECKING:
    from glassbox.confidence.classify import Labeller
    from glassbox.confidence.job import Job, Report, Stages
    from glassbox.confidence.pipeline import Outcome, Say
    from glassbox.engine.protocol import Engine

SHIPPED_RUN = Path(__file__).parent / "assets" / "run"
"""A finished run of the embedded model, so that charts, report and answers work at once."""

SHIPPED = "shipped"
"""Name under which commands take that run."""

DEMO = "demo"
"""Name of the run that ``glassbox demo`` makes."""


def _unheard(_line: str) -> None:
    """Let a remark go."""


@contextmanager
def _unwatched(_description: str) -> Iterator["Report"]:
    """Open a stage that nobody watches."""
    yield lambda _done, _total: None


@dataclass(frozen=True)
class Runtime:
    """Everything that is made from one set of settings."""

    settings: Settings
    """The settings in force."""

    @classmethod
    def load(cls, overrides: Mapping[str, object] | None = None) -> "Runtime":
        """Return the runtime of the settings in force.

        Raises:
            InvalidSetting: A key or variable that nothing reads, or a value that is not allowed.
        """
        return cls(load_settings(overrides))

    def model_spec(
        self,
        model: str | None = None,
        *,
        adapter: Path | None = None,
        quantization: Quantization | None = None,
    ) -> ModelSpec:
        """Return which model to load and how; what is not given comes from the settings."""
        engine = self.settings.engine
        return ModelSpec(
            model=model or engine.model,
            adapter=None if adapter is None else str(adapter),
            dtype=engine.dtype,
            device=engine.device,
            quantization=quantization,
        )

    def open_engine(self, spec: ModelSpec) -> "Engine":
        """Make a model resident.

        Raises:
            DependencyMissing: torch, transformers or peft is not installed.
            UnknownName: No such model, or the hub cannot be reached.
            UnsupportedModel: The device or format is not to be had.
            CorruptArtifact: The model's files are damaged.
        """
        from glassbox.engine.resident import load_engine

        engine = self.settings.engine
        return load_engine(
            spec,
            threads=engine.threads,
            batch_tokens=engine.batch_tokens,
            prefix_cache_bytes=engine.prefix_cache_bytes,
        )

    def run_folder(self, name: str | Path | None) -> Path:
        """Return where a run is: a path as it is, a bare name below the runs folder.

        ``shipped`` is the finished run that ships with the package; without a name it is the
        demo's run, or the shipped one where there is none.
        """
        if name == SHIPPED:
            return SHIPPED_RUN
        if name is None:
            own = self.settings.paths.runs / DEMO
            return own if (own / CLASSIFIER_FILE).exists() else SHIPPED_RUN
        path = Path(name)
        below = self.settings.paths.runs / path
        return below if not path.exists() and below.exists() else path

    def evaluate(
        self, job: "Job", stages: "Stages | None" = None, say: "Say" = _unheard
    ) -> "Outcome":
        """Return what came of a run of the main job: the call behind ``glassbox evaluate``.

        Args:
            job: What to do.
            stages: Opens a stage to report progress to; None reports nothing.
            say: Told what was found and what it will take.
        """
        from glassbox.confidence.pipeline import MainJob

        return MainJob(job, self.open_engine, stages or _unwatched, say).evaluate()

    def labeller(self, run: Path, *, model: str | None = None) -> "Labeller":
        """Return the classifier that a run made, on its resident model.

        Args:
            run: Run folder.
            model: ``tuned`` or ``base`` of the run, or another model, which is then asked with
                the run's labels and without calibration; None is the run's final model.

        Raises:
            UnknownName: The folder holds no finished run, or the run has no tuned model.
            CorruptArtifact: The manifest is damaged.
            AdapterMismatch: The model or adapter has changed since.
        """
        from glassbox.confidence.classify import bring_to_life, uncalibrated
        from glassbox.confidence.record import base_manifest
        from glassbox.confidence.run import RunFolder

        if not (run / CLASSIFIER_FILE).exists():
            raise UnknownName(
                "finished run", str(run), self.runs(), remedy="Make one with 'glassbox evaluate'."
            )
        manifest = Classifier.load(run)
        if model == "tuned" and manifest.adapter is None:
            raise UnknownName("model of this run", "tuned", ["base"], remedy="It was not tuned.")
        if model not in (None, "base", "tuned"):
            return uncalibrated(manifest, self.open_engine(self.model_spec(model)))
        if model == "base" and manifest.adapter is not None:
            manifest = base_manifest(RunFolder(run), manifest)
        engine = self.open_engine(self.model_spec(manifest.base.path))
        return bring_to_life(manifest, run, engine)

    def runs(self) -> list[str]:
        """Return the finished runs below the runs folder, sorted by name."""
        return sorted(str(each.parent) for each in self.settings.paths.runs.glob("*/results.json"))
