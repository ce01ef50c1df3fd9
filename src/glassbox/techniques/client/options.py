"""From what a researcher says about model and machine to a backend; names of old are translated.

Backends are imported when they are chosen. Knows nothing of calls.
"""

from dataclasses import dataclass
from pathlib import Path

from glassbox.artifacts import read_json
from glassbox.errors import InvalidValue, UnknownName, UsageError
from glassbox.techniques.container_spec import Container, meaningless
from glassbox.techniques.protocol import Backend
from glassbox.techniques.worker_spec import WorkerSpec

NAMES = ("local", "ray", "modal", "http://…", "https://…")
"""What ``backend`` may be, beside a backend itself."""

_OWN = "One of your own has the methods of glassbox.techniques.protocol.Backend."


@dataclass(frozen=True)
class Reach:
    """How the other side is reached."""

    api_key: str | None = None
    """Key with the scope ``techniques``; servers only."""
    address: str | None = None
    """Of a Ray cluster; None starts or finds one on this machine."""
    deploy: bool = False
    """Deploy to Modal first; else what was deployed under the same name is looked up."""


def model_and_adapter(
    model_name: str | Path, base_model: str | Path | None, is_peft: bool
) -> tuple[str, str | None]:
    """Return which model to load and which adapter to put on it.

    Raises:
        InvalidValue: A base model without an adapter, an adapter whose base nobody names, or
            neither a name nor a folder.
    """
    for what, given in (("model_name", model_name), ("base_model", base_model)):
        if not isinstance(given, str | Path | None) or given == "":
            raise InvalidValue(what, given, "a folder, a hub name, tiny, or None")
    model_name, base_model = str(model_name), None if base_model is None else str(base_model)
    if not is_peft:
        if base_model is not None:
            raise InvalidValue(
                "base_model", base_model, "nothing, unless is_peft=True",
                remedy="Say is_peft=True if model_name is an adapter on that model.",
            )  # fmt: skip
        return model_name, None
    if base_model is not None:
        return base_model, model_name
    config = Path(model_name).expanduser() / "adapter_config.json"
    if config.is_file():
        named = read_json(config).get("base_model_name_or_path")
        if named:
            return str(named), model_name
    raise InvalidValue(
        "base_model", None, "the model that the adapter was made for",
        remedy=f"{model_name!r} does not say it by itself.",
    )  # fmt: skip


def is_address(backend: str | Backend) -> bool:
    """Whether a backend is named by a server's address."""
    return isinstance(backend, str) and backend.startswith(("http://", "https://"))


def open_backend(
    backend: str | Backend, spec: WorkerSpec, wanted: Container, reach: Reach
) -> tuple[Backend, tuple[str, ...]]:
    """Return what runs techniques, and a note for each wish that means nothing to it.

    Raises:
        UnknownName: No such backend.
        InvalidValue: Neither a name nor a backend.
        UsageError: Something was asked for that another backend has.
        DependencyMissing: Its library is not installed.
    """
    if not isinstance(backend, str):
        if not isinstance(backend, Backend):
            raise InvalidValue("backend", backend, ", ".join(NAMES), remedy=_OWN)
        return backend, _idle("a backend of your own", spec, reach)
    if is_address(backend):
        from glassbox.settings import client_key
        from glassbox.techniques.remote.http_backend import HttpBackend

        notes = meaningless("http", wanted) + _idle("a server", spec, reach)
        if spec.hidden_system_prompt is not None:
            raise UsageError(
                "hidden_system_prompt belongs to whoever starts the server: start it with one "
                "there, or use backend='local'."
            )
        if spec.adapter is not None:
            raise InvalidValue(
                "is_peft", True, "false with a server, which keeps the model that it has"
            )
        return HttpBackend(backend, api_key=reach.api_key or client_key()), notes
    if backend == "local":
        from glassbox.settings import load_settings
        from glassbox.techniques.local.backend import LocalBackend

        folder = load_settings().paths.workers
        notes = meaningless("local", wanted) + _idle("backend='local'", spec, reach)
        return LocalBackend(spec, folder=folder), notes
    if backend == "ray":
        from glassbox.techniques.remote.ray_backend import RayBackend

        address = reach.address or "local"
        notes = meaningless("ray", wanted) + _idle("backend='ray'", spec, reach)
        return RayBackend(spec, container=wanted, address=address), notes
    if backend == "modal":
        from glassbox.techniques.remote.modal_backend import ModalBackend

        deployed = ModalBackend(spec, container=wanted, deploy=reach.deploy)
        return deployed, meaningless("modal", wanted) + _idle("backend='modal'", spec, reach)
    raise UnknownName("backend", backend, NAMES, remedy=_OWN)


def _idle(place: str, spec: WorkerSpec, reach: Reach) -> tuple[str, ...]:
    """Return a note for each option of reaching and loading that does nothing at a place."""
    notes = []
    if reach.deploy and place != "backend='modal'":
        notes.append(f"deploy does nothing with {place}: backend='modal' deploys.")
    if reach.address is not None and place != "backend='ray'":
        notes.append(f"address does nothing with {place}: it is that of a Ray cluster.")
    if reach.api_key is not None and place != "a server":
        notes.append(f"api_key does nothing with {place}: it is that of a server.")
    if (spec.dtype, spec.device) != ("auto", "auto") and place == "a server":
        notes.append("dtype and device do nothing with a server, which has its model already.")
    return tuple(notes)
