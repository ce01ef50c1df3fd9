"""``GET /v1/models``: OpenAI's list, and what each model is."""

from typing import Literal

from glassbox.wire.shapes import Absent, Answered


class ModelFacts(Answered):
    """What the list of OpenAI leaves out."""

    kind: Literal["base", "adapter", "classifier"]
    """`classifier` answers `/v1/classify` only; the others write text."""
    digest: str
    """SHA-256 (hex) of weights and configuration, or of the classifier's manifest."""
    architecture: str | None = Absent
    """Class name of the model."""
    n_parameters: int | None = Absent
    """Parameters in all."""
    n_layers: int | None = Absent
    """Blocks: layers are 0 to one less."""
    d_model: int | None = Absent
    """Width of a hidden state."""
    context: int | None = Absent
    """Most tokens of prompt and text together."""
    dtype: str | None = Absent
    """Number format of the weights."""
    device: str | None = Absent
    """Where they are."""
    has_states: bool | None = Absent
    """Whether hidden states can be captured."""
    has_chat_template: bool | None = Absent
    """Whether chat has a template; without one the messages' texts are joined."""
    probes: list[str] | None = Absent
    """Probes that a request may name."""
    classes: list[str] | None = Absent
    """Labels of a classifier."""


class ServedModel(Answered):
    """One name that a request may give as its model."""

    id: str
    """The name."""
    object: Literal["model"] = "model"
    """What this is."""
    created: int
    """Unix time in seconds at which the server began to serve it."""
    owned_by: str = "glassbox"
    """Who serves it."""
    root: str | None = None
    """Base model that it stands on."""
    parent: str | None = None
    """Base model of an adapter; null for the base model."""
    glassbox: ModelFacts
    """What it is."""


class ServedModels(Answered):
    """All of them."""

    object: Literal["list"] = "list"
    """What this is."""
    data: list[ServedModel]
    """Base model first."""
