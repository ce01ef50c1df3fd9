"""What all steps of one study share: its configuration and folder, the model and its dictionaries.

Model and dictionaries are opened when a step first needs them. Knows nothing of what steps do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from glassbox.artifacts import alone_in, digest_json
from glassbox.engine.protocol import Engine, Lent
from glassbox.errors import InvalidData
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.layout import StudyFolder, study_folder
from glassbox.progress import Say, Stages, unsaid, unwatched
from glassbox.types import TINY, ModelSpec

if TYPE_CHECKING:
    from glassbox.pathways.saes.dictionaries import Dictionaries

LEASE_S: Final = 24 * 3600.0
"""How long a step may have the model to itself."""


@dataclass
class Workplace:
    """One study, where its steps are done."""

    config: StudyConfig
    """What is to be done."""
    open_engine: Callable[[ModelSpec], Engine]
    """Makes a model resident."""
    stages: Stages = unwatched
    """For progress."""
    say: Say = unsaid
    """For remarks."""
    join_ray: Callable[[str], ModuleType] | None = None
    """Connects to the Ray cluster at an address; None has no Ray."""
    _closes: list[Callable[[], None]] = field(default_factory=list)

    @property
    def folder(self) -> StudyFolder:
        """Where the study's files are."""
        return study_folder(self.config)

    @cached_property
    def engine(self) -> Engine:
        """The resident model.

        Raises:
            GlassboxError: It cannot be loaded; see ``Runtime.open_engine``.
        """
        with self.stages("Loading the model"):
            engine = self.open_engine(self._spec)
        self._closes.append(engine.close)
        return engine

    @cached_property
    def dictionaries(self) -> "Dictionaries":
        """The SAEs: those of the configuration, or the experiment's with planted latents.

        Raises:
            InvalidData: There are none, they do not fit the model, or planted ones are missing.
        """
        found = self._opened
        found.require_fits(d_model=self.engine.info.d_model, n_layers=self.engine.info.n_layers)
        return found

    def require_fits(self) -> None:
        """Raise unless the SAEs fit the model, where any are open.

        Raises:
            InvalidData: They do not.
        """
        if "_opened" in self.__dict__:
            _ = self.dictionaries

    def open_dictionaries(self, *, planted: bool) -> "Dictionaries":
        """Return the SAEs of the configuration, or those with planted latents.

        Raises:
            InvalidData: There are none.
        """
        from glassbox.pathways.saes.dictionaries import open_dictionaries

        saes = self.config.saes
        if planted:
            if not self.folder.planted.is_file():
                raise InvalidData(
                    "the latents of 'experiment.plant' are not planted yet: run the step "
                    "'experiment' first",
                    source=str(self.folder.planted),
                )
            return open_dictionaries(self.folder.planted_saes, convention="saelens")
        if saes.files:
            named = {layer: Path(file) for layer, file in saes.files.items()}
            return open_dictionaries(named, convention=saes.convention)
        return open_dictionaries(sae_folder(saes.folder), convention=saes.convention)

    @contextmanager
    def lend(self) -> Iterator[Lent]:
        """Have the model and tokenizer alone for a step; what is changed is put back."""
        with self.engine.lend(lease_s=LEASE_S) as lent:
            yield lent

    def model_inputs(self) -> dict[str, str]:
        """Return the digests of the model and its number format, and of the dictionaries."""
        return {"model": self.model_digest(), "saes": self._opened.digest}

    def model_digest(self) -> str:
        """Return the digest of the model and its number format; its files tell, without loading."""
        from glassbox.engine.model.unloaded import identity_of

        engine: Engine | None = self.__dict__.get("engine")
        found = identity_of(self._spec) if engine is None else engine.info
        return digest_json([found.digest, found.dtype])

    @property
    def _spec(self) -> ModelSpec:
        model = self.config.model
        return ModelSpec(
            model=model.name, revision=model.revision, dtype=model.dtype, device=model.device
        )

    @cached_property
    def _opened(self) -> "Dictionaries":
        return self.open_dictionaries(planted=self.config.experiment.plant)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the study's folder inside the block.

        Raises:
            ConflictError: Another process works there.
        """
        with alone_in(self.folder.root, "use another study.out"):
            yield

    def close(self) -> None:
        """Give the model's memory back."""
        while self._closes:
            self._closes.pop()()
        self.__dict__.pop("engine", None)
        self.__dict__.pop("dictionaries", None)
        self.__dict__.pop("_opened", None)


def sae_folder(name: str) -> Path:
    """Return the folder of SAEs that a configuration names; ``tiny`` is the embedded set."""
    return Path(str(files("glassbox") / "assets" / "saes")) if name == TINY else Path(name)
