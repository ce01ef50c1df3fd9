"""What a registered version is, and one consistent look at all of them. Knows no database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

VersionKind = Literal["llm-classifier", "sklearn", "callable"]
"""``llm-classifier``: base model, adapter, calibrator. ``sklearn``: a skops file. ``callable``:
a Python function by import path."""

DEFAULT_MODEL: Final = "default"
"""Registered model that requests mean unless they name one."""

DEFAULT_VERSION: Final = "default_model_v1"
"""Name of the version that is there when nothing was registered."""

CHAMPION: Final = "champion"
"""Alias of the version that answers. Source: MLflow's model registry, aliases."""

CHALLENGER: Final = "challenger"
"""Alias of the first version that only sees; further ones are ``challenger-2``, and so on."""

PREVIOUS_CHAMPION: Final = "previous_champion"
"""Alias of the version that answered before, to go back to."""


def option_of(model: str) -> str:
    """Return what a command needs to be about a model; nothing where it is the default one."""
    return "" if model == DEFAULT_MODEL else f" --model {model}"


@dataclass(frozen=True)
class Version:
    """One version of a model; it never changes."""

    model: str
    """Registered model that it is a version of."""
    number: int
    """From 1, without gaps, per model."""
    name: str
    """Unique over all models; the wire's ``model_version``."""
    kind: VersionKind
    """How it is brought to life."""
    digest: str
    """SHA-256 over what it consists of (hex)."""
    source: str
    """Folder or file in the store of versions, or ``module:function``."""
    created_s: float
    """Unix time of its registration."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Data hash, evaluation metrics, label set, calibrator, threshold, input schema: JSON."""

    @property
    def uri(self) -> str:
        """The version under the words of MLflow, as in ``models:/default/3``."""
        return f"models:/{self.model}/{self.number}"


@dataclass(frozen=True)
class AliasMove:
    """One line of the history: an alias was set, moved or taken away."""

    sequence: int
    """Place in the history, from 1."""
    time_s: float
    """Unix time."""
    model: str
    """Registered model."""
    alias: str
    """As in ``champion``."""
    before: int | None
    """Version number it named; None if it was not there."""
    after: int | None
    """Version number it names now; None if it was taken away."""
    actor: str
    """Who did it."""
    reason: str
    """Why."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What the decision rested on, as JSON."""


@dataclass(frozen=True)
class Snapshot:
    """The registry at one moment; a request is answered under one of these from start to end."""

    revision: int
    """Grows with every change."""
    versions: tuple[Version, ...]
    """All versions, by model and number."""
    aliases: Mapping[str, Mapping[str, int]]
    """For each model: alias to version number."""

    def number_of(self, alias: str, model: str = DEFAULT_MODEL) -> int | None:
        """Return the number of the version that an alias names, None where it names none."""
        return self.aliases.get(model, {}).get(alias)

    def aliases_of(self, version: Version) -> list[str]:
        """Return the aliases that name a version, sorted."""
        named = self.aliases.get(version.model, {}).items()
        return sorted(alias for alias, number in named if number == version.number)

    def aliased(self, alias: str, model: str = DEFAULT_MODEL) -> Version | None:
        """Return the version that an alias names, None where it names none."""
        number = self.number_of(alias, model)
        return None if number is None else self.numbered(number, model)

    def numbered(self, number: int, model: str = DEFAULT_MODEL) -> Version | None:
        """Return a version by its number, None where there is none."""
        for each in self.versions:
            if each.model == model and each.number == number:
                return each
        return None

    def named(self, name: str) -> Version | None:
        """Return a version by its unique name, None where there is none."""
        return next((each for each in self.versions if each.name == name), None)

    def challengers(self, model: str = DEFAULT_MODEL) -> tuple[Version, ...]:
        """Return the versions that only see, in the order of their aliases."""
        aliases = [a for a in self.aliases.get(model, {}) if is_challenger(a)]
        found = (self.aliased(each, model) for each in sorted(aliases, key=_place))
        return tuple(each for each in found if each is not None)


def is_challenger(alias: str) -> bool:
    """Whether an alias is ``challenger``, ``challenger-2``, and so on."""
    head, _, number = alias.partition("-")
    return head == CHALLENGER and (alias == CHALLENGER or (number.isdigit() and int(number) > 1))


def _place(alias: str) -> int:
    return int(alias.partition("-")[2] or 1)
