"""The composition root: settings in, working parts out.

The only place that makes things from settings. Everything below takes what it needs as arguments;
the faces above (command line, server) ask here. Nothing heavy is imported before it is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassbox.artifacts import CLASSIFIER_FILE, Classifier
from glassbox.errors import GlassboxError, UnknownName
from glassbox.importing import importing_libraries
from glassbox.progress import Say, Stages, unsaid, unwatched
from glassbox.settings import load_settings
from glassbox.stores import Stores
from glassbox.types import ModelSpec, Quantization

if TYPE_CHECKING:
    from glassbox.confidence.asking.classify import Labeller
    from glassbox.confidence.job import Job
    from glassbox.confidence.pipeline import Outcome
    from glassbox.engine.model.load import LoadedModel
    from glassbox.engine.protocol import Engine
    from glassbox.introspection.evidence.witness import Encode
    from glassbox.introspection.probes.probe import LinearProbe
    from glassbox.introspection.verifier.verify import Verifier
    from glassbox.pathways.config import StudyConfig
    from glassbox.pathways.orchestration.workplace import Workplace
    from glassbox.rollout.assembly.assembling import Watchers
    from glassbox.rollout.assembly.side import RolloutSide
    from glassbox.rollout.prediction import Predictor
    from glassbox.rollout.versions.loaders import Loaders
    from glassbox.techniques.calls import Limits
    from glassbox.techniques.protocol import Backend

SHIPPED_RUN = Path(__file__).parent / "assets" / "run"
"""A finished run of the embedded model, so that charts, report and answers work at once."""

SHIPPED_VERIFIER = Path(__file__).parent / "assets" / "verifier"
"""A verifier of the embedded model, trained on the embedded facts."""

SHIPPED = "shipped"
"""Name under which commands take that run."""

DEMO = "demo"
"""Name of the run that ``glassbox demo`` makes."""


@dataclass(frozen=True)
class Runtime(Stores):
    """Everything that is made from one set of settings."""

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

    def open_engine(self, spec: ModelSpec, *, loaded: "LoadedModel | None" = None) -> "Engine":
        """Make a model resident.

        Args:
            spec: Which model, and how.
            loaded: The same model, in memory already; None reads its files.

        Raises:
            DependencyMissing: torch, transformers or peft is not installed.
            UnknownName: No such model, or the hub cannot be reached.
            UnsupportedModel: The device or format is not to be had.
            CorruptArtifact: The model's files are damaged.
        """
        with importing_libraries():
            from glassbox.engine.model.finding import require_model
        if loaded is None:
            # Before torch is imported, which takes seconds: a name mistyped is told at once.
            require_model(spec.model, spec.revision)
        with importing_libraries():
            from glassbox.engine.batching.answering import Capacity
            from glassbox.engine.lora.bank import AdapterPlaces
            from glassbox.engine.resident import load_engine

        engine = self.settings.engine
        return load_engine(
            spec,
            threads=engine.threads,
            batch_tokens=engine.batch_tokens,
            prefix_cache_bytes=engine.prefix_cache_bytes,
            capacity=Capacity(
                n_waiting=self.settings.server.max_waiting, cache_bytes=engine.prefix_cache_bytes
            ),
            adapters=AdapterPlaces(
                host_bytes=engine.adapter_host_bytes,
                device_bytes=engine.adapter_device_bytes,
                folder=self.settings.paths.adapters,
                disk_bytes=engine.adapter_disk_bytes,
                url_prefix=engine.adapter_url_prefix,
            ),
            loaded=loaded,
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

    def finished_run(self, name: str | Path | None) -> Path:
        """Return where a run is whose classifier can answer; names are those of ``run_folder``.

        Raises:
            UnknownName: The folder holds no finished run.
        """
        folder = self.run_folder(name)
        if not (folder / CLASSIFIER_FILE).exists():
            raise UnknownName(
                "finished run", str(name), self.runs(), remedy="Make one with 'glassbox evaluate'."
            )
        return folder

    def evaluate(self, job: "Job", stages: Stages | None = None, say: Say = unsaid) -> "Outcome":
        """Return what came of a run of the main job: the call behind ``glassbox evaluate``.

        Args:
            job: What to do.
            stages: Opens a stage to report progress to; None reports nothing.
            say: Told what was found and what it will take.
        """
        from glassbox.confidence.pipeline import MainJob

        return MainJob(job, self.open_engine, stages or unwatched, say).evaluate()

    def labeller(self, run: str | Path | None, *, model: str | None = None) -> "Labeller":
        """Return the classifier that a run made, on its resident model.

        Args:
            run: The run, named as for ``run_folder``.
            model: ``tuned`` or ``base`` of the run, or another model, which is then asked with
                the run's labels and without calibration; None is the run's final model.

        Raises:
            UnknownName: The folder holds no finished run, or the run has no tuned model.
            CorruptArtifact: The manifest is damaged.
            AdapterMismatch: The model or adapter has changed since.
        """
        from glassbox.confidence.asking.classify import bring_to_life, uncalibrated
        from glassbox.confidence.record import base_manifest
        from glassbox.confidence.run import RunFolder

        folder = self.finished_run(run)
        manifest = Classifier.load(folder)
        if model == "tuned" and manifest.adapter is None:
            raise UnknownName("model of this run", "tuned", ["base"], remedy="It was not tuned.")
        if model not in (None, "base", "tuned"):
            return uncalibrated(manifest, self.open_engine(self.model_spec(model)))
        if model == "base" and manifest.adapter is not None:
            manifest = base_manifest(RunFolder(folder), manifest)
        engine = self.open_engine(self.model_spec(manifest.base_from(folder)))
        return bring_to_life(manifest, folder, engine)

    def verifier(
        self, engine: "Engine", folder: Path | None = None, *, encode: "Encode | None" = None
    ) -> "Verifier":
        """Return what judges responses with a resident model.

        Without a folder it is the verifier that ships, if that was trained on this model; for any
        other model it is the untrained heuristic, which says so in every verdict.

        Args:
            engine: The model.
            folder: A trained verifier.
            encode: How prompts become tokens; None takes the chat template where there is one.

        Raises:
            UnknownName: The folder holds no verifier.
            CorruptArtifact: It is damaged.
            AdapterMismatch: It, or a probe of it, was made for another model.
        """
        from glassbox.introspection.probes.file import load_probe
        from glassbox.introspection.verifier.file import PROBES_FOLDER, VerifierManifest
        from glassbox.introspection.verifier.verify import Verifier

        if folder is None:
            if not SHIPPED_VERIFIER.exists():
                return Verifier(engine, encode=encode)
            shipped = VerifierManifest.load(SHIPPED_VERIFIER)
            known = shipped if shipped.model_digest == engine.info.digest else None
            return Verifier(engine, known, encode=encode)
        manifest = VerifierManifest.load(folder)
        probes = [load_probe(folder / PROBES_FOLDER / name) for name in manifest.probes]
        for probe in probes:
            probe.check(engine.info)
        return Verifier(engine, manifest, probes=probes, encode=encode)

    def ships_verifier_for(self, engine: "Engine") -> bool:
        """Whether a trained verifier of this model comes with the package."""
        from glassbox.introspection.verifier.file import VerifierManifest

        if not SHIPPED_VERIFIER.exists():
            return False
        return VerifierManifest.load(SHIPPED_VERIFIER).model_digest == engine.info.digest

    def probe(self, engine: "Engine", folder: Path) -> "LinearProbe":
        """Return a trained probe that can read a resident model.

        Raises:
            UnknownName: There is no probe there.
            CorruptArtifact: It is damaged.
            AdapterMismatch: It was made for another model, or for an adapter that is not loaded.
        """
        from glassbox.introspection.probes.file import load_probe

        probe = load_probe(folder)
        loaded = {each.digest for each in engine.adapters}
        adapter = probe.model.adapter_digest
        probe.check(engine.info, adapter if adapter in loaded else None)
        return probe

    def labeller_on(self, engine: "Engine", run: str | Path | None) -> "Labeller":
        """Return the classifier that a run made, on a model that is resident already.

        Args:
            engine: The model.
            run: The run, named as for ``run_folder``.

        Raises:
            UnknownName: The folder holds no finished run.
            CorruptArtifact: The manifest is damaged.
            AdapterMismatch: The run was made on another model, or its adapter has changed.
        """
        from glassbox.confidence.asking.classify import bring_to_life

        folder = self.finished_run(run)
        return bring_to_life(Classifier.load(folder), folder, engine)

    def version_loaders(self, engine: "Engine | None" = None) -> "Loaders":
        """Return what brings versions to life: LLM classifiers on a resident engine.

        Without one, each makes its own base model resident and lets go of it when it is closed.
        """
        from glassbox.rollout.versions.kinds.labelled import labelled
        from glassbox.rollout.versions.opening import open_loaders

        def classifier(base: str, folder: Path) -> "Predictor":
            if engine is not None:
                return labelled(self.labeller_on(engine, folder))
            own = self.open_engine(self.model_spec(base))
            try:
                return labelled(self.labeller_on(own, folder), close=own.close)
            except GlassboxError:
                own.close()
                raise

        return open_loaders(self.settings, classifier)

    def rollout_side(
        self,
        engine: "Engine | None" = None,
        runs: Sequence[Path] = (),
        *,
        watchers: "Watchers | None" = None,
    ) -> "RolloutSide":
        """Return a server's versions, predictions and what is kept of them, not yet begun.

        Args:
            engine: The resident model.
            runs: Runs that are served: the first is the first version of an empty registry.
            watchers: Told of what happens.

        Raises:
            UnknownName: The settings name a version that is not registered.
            CapacityError: The database cannot be reached.
            InvalidSetting: The alert rules are none.
        """
        from glassbox.rollout.assembly.assembling import Given, assemble_side

        registry, loaders = self.registry(runs), self.version_loaders(engine)
        given = Given(registry, self.registrar(registry, loaders), loaders, engine, watchers)
        return assemble_side(self.settings, given)

    def technique_limits(self) -> "Limits":
        """Return the most that one run of a function may use on a server."""
        from glassbox.techniques.calls import Limits

        settings = self.settings.techniques
        return Limits(settings.wall_s, settings.cpu_s, settings.memory_bytes, settings.result_bytes)

    def technique_backend(
        self, engine: "Engine", *, model: str | None = None, hidden: str | None = None
    ) -> "Backend":
        """Return what runs functions for a server, in the mode of the settings.

        Args:
            engine: The serving model, beside which functions run in mode ``shared``.
            model: The model that is served; None takes that of the settings. In mode ``process``
                it is loaded a second time: of its files' memory both share what both map.
            hidden: System prompt that is put before every text and never shown.
        """
        settings = self.settings.techniques
        if settings.mode == "shared":
            from glassbox.techniques.running.desk import Desk

            return Desk(
                engine,
                limits=self.technique_limits(),
                max_waiting=settings.max_waiting,
                hidden_system_prompt=hidden,
                name=engine.info.name,
            )
        from glassbox.techniques.local.backend import LocalBackend
        from glassbox.techniques.worker_spec import WorkerSpec

        spec = WorkerSpec(
            model=model or self.settings.engine.model,
            app_name="server",
            dtype=self.settings.engine.dtype,
            device=self.settings.engine.device,
            threads=self.settings.engine.threads,
            hidden_system_prompt=hidden,
            idle_s=settings.idle_s,
            limits=self.technique_limits(),
            max_waiting=settings.max_waiting,
        )
        return LocalBackend(spec, folder=settings.folder, owned=True)

    def study(
        self, config: "StudyConfig", stages: Stages | None = None, say: Say = unsaid
    ) -> "Workplace":
        """Return where the steps of a study of pathways are done.

        Args:
            config: The study.
            stages: Opens a stage to report progress to; None reports nothing.
            say: Told what a step came to.
        """
        from glassbox.pathways.orchestration.workplace import Workplace
        from glassbox.techniques.remote.ray_cluster import join

        return Workplace(config, self.open_engine, stages or unwatched, say, join)

    def runs(self) -> list[str]:
        """Return the finished runs below the runs folder, sorted by name."""
        return sorted(str(each.parent) for each in self.settings.paths.runs.glob("*/results.json"))


def load_version(
    version: Mapping[str, Any], overrides: Mapping[str, object] | None = None
) -> "Predictor":
    """Return a version brought to life in this process, with all that it needs.

    Args:
        version: The fields of a ``Version``, as JSON.
        overrides: Settings by dotted name, beside environment and file.

    Raises:
        GlassboxError: It cannot be loaded: says why.
    """
    from glassbox.rollout.version import Version

    return Runtime.load(overrides).version_loaders().load(Version(**version))
