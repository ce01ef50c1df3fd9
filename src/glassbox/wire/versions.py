"""``/api/v2/models/versions``: versions, their aliases, who moved them, and their curves."""

from typing import Annotated, Any, Literal

from pydantic import Field

from glassbox.wire.shapes import Answered, Asked, FilledText, PathText


class VersionAnswered(Answered):
    """One version; it never changes, its aliases do."""

    model: str
    """Registered model that it is a version of."""
    number: int
    """From 1, per model."""
    name: str
    """Unique over all models."""
    kind: Literal["llm-classifier", "sklearn", "callable"]
    """How it is brought to life."""
    digest: str
    """SHA-256 over what it consists of (hex)."""
    uri: str
    """In MLflow's words, as `models:/default/3`."""
    created_s: float
    """Unix time of its registration."""
    aliases: list[str]
    """As `champion`, `challenger`, `challenger-2`, `previous_champion`."""
    metadata: dict[str, Any]
    """Data hash, evaluation metrics, label set, calibrator, threshold, input schema."""


class VersionsAnswered(Answered):
    """All versions."""

    revision: int
    """Grows with every change of the registry."""
    versions: list[VersionAnswered]
    """By model and number."""
    aliases: dict[str, dict[str, int]]
    """For each model: alias to version number."""


class RegisterAsked(Asked):
    """A version to register."""

    source: PathText
    """Run folder, `.skops` file or `module:function` on the server."""
    kind: Literal["llm-classifier", "sklearn", "callable"] | None = None
    """Null finds it out."""
    model: Annotated[FilledText, Field(max_length=200)] = "default"
    """Registered model that it becomes a version of."""
    name: Annotated[FilledText, Field(max_length=200)] | None = None
    """Unique name; null makes one, as `default_model_v3`."""
    input_schema: dict[str, Any] | None = None
    """Names, types and ranges of its features, as a version's metadata shows them; null takes what
    the version tells of itself."""
    trusted_types: tuple[FilledText, ...] = ()
    """Types that a `.skops` file may make beside those that skops trusts."""
    example: dict[str, Any] | None = None
    """Features asked once before it is registered; null takes a text for a classifier."""
    metadata: dict[str, Any] | None = None
    """More to keep with it; null is nothing."""


class AliasAsked(Asked):
    """Where an alias is to point."""

    model: Annotated[FilledText, Field(max_length=200)] = "default"
    """Registered model."""
    number: int | None
    """Version number; null takes the alias away."""
    expected: int | None = None
    """Number that it has now, null for none: otherwise somebody was faster, and nothing moves."""
    reason: Annotated[str, Field(max_length=1000)] = ""
    """Why; kept in the history."""


class AliasMoveAnswered(Answered):
    """One line of the history."""

    sequence: int
    """Place in it, from 1."""
    time_s: float
    """Unix time."""
    model: str
    """Registered model."""
    alias: str
    """The alias that moved."""
    before: int | None
    """Version number it named; null if it was not there."""
    after: int | None
    """Version number it names; null if it was taken away."""
    actor: str
    """Who did it."""
    reason: str
    """Why."""
    evidence: dict[str, Any]
    """What the decision rested on."""


class CalibrationAnswered(Answered):
    """The curves of the evaluation that a version comes from."""

    version: str
    """Its name."""
    charts: dict[str, Any]
    """Chart name, as `reliability`, to the JSON that was saved beside its picture."""
