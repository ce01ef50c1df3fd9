"""One configuration for all steps of a study of pathways, frozen, with digests.

A key that nobody reads is refused. Knows nothing of how steps are done; the keys are in
``sections``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError

from glassbox.artifacts import digest_json
from glassbox.errors import InvalidSetting
from glassbox.pathways.sections import (
    AuditSection,
    ContextsSection,
    DataSection,
    DiscoverSection,
    ExperimentSection,
    IntegrateSection,
    LimitsSection,
    ModelSection,
    ParallelSection,
    PrototypeSection,
    ReplaySection,
    SaesSection,
    Section,
    SelectSection,
    StudySection,
    TokensSection,
)


class StudyConfig(Section):
    """All of it; frozen, and the same value gives the same digests."""

    study: StudySection = StudySection()
    """Name and folder."""
    model: ModelSection = ModelSection()
    """The model under study."""
    saes: SaesSection = SaesSection()
    """Its dictionaries."""
    data: DataSection = DataSection()
    """A study that is there already."""
    experiment: ExperimentSection = ExperimentSection()
    """The study that is made where there is none."""
    audit: AuditSection = AuditSection()
    """What that study is held to."""
    select: SelectSection = SelectSection()
    """Which latents go on."""
    prototype: PrototypeSection = PrototypeSection()
    """The rehearsal."""
    contexts: ContextsSection = ContextsSection()
    """Texts for each target."""
    discover: DiscoverSection = DiscoverSection()
    """Upstream gradients."""
    replay: ReplaySection = ReplaySection()
    """Verification."""
    tokens: TokensSection = TokensSection()
    """Token association."""
    integrate: IntegrateSection = IntegrateSection()
    """Table, graph, report."""
    limits: LimitsSection = LimitsSection()
    """What the machine may be asked for."""
    parallel: ParallelSection = ParallelSection()
    """How work is spread."""

    @property
    def out(self) -> Path:
        """The folder of all results."""
        return self.study.out

    def settings(self, sections: Iterable[str]) -> dict[str, Any]:
        """Return ``section.key`` to value for all keys of some sections that change results."""
        whole = self.to_json()
        return {
            f"{section}.{key}": value
            for section in sections
            for key, value in whole[section].items()
            if (section, key) not in NEUTRAL
        }

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that changes a result."""
        return digest_json(self.settings(name for name in self.to_json() if name not in SILENT))

    def to_json(self) -> dict[str, Any]:
        """Return sections and keys as JSON values, defaults filled in."""
        content = self.model_dump(mode="json")
        # JSON has no number keys.
        content["saes"]["files"] = {
            str(layer): file for layer, file in sorted(self.saes.files.items())
        }
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, source: str = "configuration") -> Self:
        """Return the configuration of sections and keys; what is not there is the default.

        Args:
            content: Section to keys.
            source: Where it came from, for the error's words.

        Raises:
            InvalidSetting: A section or key nobody reads, or a value that is not allowed.
        """
        try:
            return cls(**content)
        except ValidationError as error:
            raise _refused(error, source) from error
        except TypeError as error:
            raise InvalidSetting(
                str(next(iter(content), "")), source, problem="is no section"
            ) from error


SILENT: Final = frozenset({"study", "limits", "parallel"})
"""Sections that change no result."""

NEUTRAL: Final = frozenset(
    {
        ("model", "name"),
        ("model", "revision"),
        ("model", "device"),
        ("saes", "folder"),
        ("saes", "files"),
        ("data", "checkpoints"),
        ("data", "response_logs"),
        ("experiment", "prompts"),
        ("experiment", "batch_rows"),
        ("discover", "chunk_targets"),
        ("replay", "batch_tokens"),
        ("saes", "max_l0"),
        ("saes", "min_explained_variance"),
    }
)
"""Further keys that change no result beyond rounding, or name an input whose digest counts."""


def _refused(error: ValidationError, source: str) -> InvalidSetting:
    first = error.errors()[0]
    # The library marks what is wrong with a key itself.
    parts = [str(part) for part in first["loc"] if part != "[key]"]
    if first["type"] == "extra_forbidden":
        fields = StudyConfig.model_fields
        known: Iterable[str] = fields
        if len(parts) > 1:
            section = fields[parts[0]].annotation
            keys = section.model_fields if isinstance(section, type) else {}
            known = [f"{parts[0]}.{key}" for key in keys]
        return InvalidSetting(".".join(parts[:2]), source, known)
    message = first["msg"].removeprefix("Value error, ")
    problem = f"is {first['input']!r}: {message[:1].lower()}{message[1:]}"
    return InvalidSetting(".".join(parts), source, problem=problem)
