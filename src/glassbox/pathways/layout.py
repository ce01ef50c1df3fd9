"""The study folder: where each step's files are. Knows nothing of what is in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassbox.pathways.config import StudyConfig

STEPS: Final = (
    "experiment",
    "audit",
    "select",
    "prototype",
    "tokens",
    "discover",
    "validate",
    "integrate",
)
"""Every step, in the order in which they are run: the corpus pass of ``tokens`` gives ``discover``
its contexts."""


@dataclass(frozen=True)
class StudyFolder:
    """Paths below one folder; none need be there.

    Source: the study's plan, "Revised Structure"; ``experiment/`` is ours.
    """

    root: Path
    """The folder, ``study.out``."""

    @property
    def config(self) -> Path:
        """The configuration, defaults filled in."""
        return self.root / "config.json"

    @property
    def experiment(self) -> Path:
        """What the experiment made: checkpoints, logs, planted dictionaries."""
        return self.root / "experiment"

    @property
    def checkpoints(self) -> Path:
        """Folder of the experiment's checkpoints."""
        return self.experiment / "analysis"

    @property
    def response_logs(self) -> Path:
        """Folder of the experiment's response logs."""
        return self.experiment / "response_logs"

    @property
    def planted_saes(self) -> Path:
        """The dictionaries with planted latents, where some were planted."""
        return self.experiment / "saes"

    @property
    def experiment_work(self) -> Path:
        """Unfinished parts of the experiment."""
        return self.experiment / "work"

    @property
    def planted(self) -> Path:
        """Which latents were planted, and how."""
        return self.experiment / "planted.json"

    @property
    def data(self) -> Path:
        """What is studied on."""
        return self.root / "data"

    @property
    def causal_features(self) -> Path:
        """The selected latents."""
        return self.data / "causal_features.json"

    @property
    def prompts_sample(self) -> Path:
        """A representative prompt of each."""
        return self.data / "prompts_sample.json"

    @property
    def row_bank(self) -> Path:
        """Rows of the selected latents, memory-mapped."""
        return self.data / "rows"

    @property
    def results(self) -> Path:
        """What was found out."""
        return self.root / "results"

    @property
    def audit(self) -> Path:
        """Folder of the audit."""
        return self.results / "audit"

    @property
    def data_validation(self) -> Path:
        """Every fault of the data."""
        return self.audit / "data_validation.json"

    @property
    def latent_evidence(self) -> Path:
        """What checkpoints and logs say of every latent."""
        return self.audit / "latent_evidence.parquet"

    @property
    def prototype(self) -> Path:
        """Folder of the rehearsal."""
        return self.results / "prototype"

    @property
    def single_feature_test(self) -> Path:
        """The rehearsal with one latent, its memory, and the forecast."""
        return self.prototype / "single_feature_test.json"

    @property
    def tokens(self) -> Path:
        """Folder of the corpus pass and token association."""
        return self.results / "tokens"

    @property
    def activations(self) -> Path:
        """Activations of all selected latents over the corpus."""
        return self.tokens / "activations.safetensors"

    @property
    def activation_shards(self) -> Path:
        """Finished parts of the corpus pass, until all of them are one file."""
        return self.tokens / "shards"

    @property
    def token_associations(self) -> Path:
        """Which tokens fire which latents; a Parquet twin stands beside it."""
        return self.tokens / "token_associations.json"

    @property
    def pathways(self) -> Path:
        """Folder of discovery and replay."""
        return self.results / "pathways"

    @property
    def contexts(self) -> Path:
        """The texts on which targets are looked at."""
        return self.pathways / "contexts.json"

    @property
    def shards(self) -> Path:
        """Finished parts of the sweep."""
        return self.pathways / "shards"

    @property
    def replay_shards(self) -> Path:
        """Finished parts of the replay."""
        return self.pathways / "replays"

    @property
    def candidates(self) -> Path:
        """Pathways that the gradients propose."""
        return self.pathways / "candidates.parquet"

    @property
    def validated(self) -> Path:
        """Pathways as measured by replay; a Parquet twin stands beside it."""
        return self.pathways / "validated_pathways.json"

    @property
    def integrated(self) -> Path:
        """Folder of tables, graph and report."""
        return self.results / "integrated"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.integrated / "report.html"

    def of_step(self, step: str) -> Path:
        """Return the folder that holds a step's records."""
        return {
            "experiment": self.experiment,
            "audit": self.audit,
            "select": self.data,
            "prototype": self.prototype,
            "tokens": self.tokens,
            "discover": self.pathways,
            "validate": self.pathways,
            "integrate": self.integrated,
        }[step]


def study_folder(config: StudyConfig) -> StudyFolder:
    """Return the folder of a study."""
    return StudyFolder(config.study.out)


def data_folders(config: StudyConfig) -> tuple[Path, Path]:
    """Return the folders of checkpoints and response logs: those named, or the experiment's."""
    folder = study_folder(config)
    named = config.data
    return (
        Path(named.checkpoints) if named.checkpoints else folder.checkpoints,
        Path(named.response_logs) if named.response_logs else folder.response_logs,
    )
