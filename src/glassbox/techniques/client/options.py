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
    model_name: str, base_model: str | None, is_peft: bool
) -> tuple[str, str | None]:
    """Return which model to load and which adapter to put on it.

    Raises:
        InvalidValue: A base model without an adapter, or an adapter whose base nobody names.
    """
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
        UsageError: Something was asked for that another backend has.
        DependencyMissing: Its library is not installed.
    """
    if not isinstance(backend, str):
        return backend, ()
    if is_address(backend):
        from glassbox.settings import client_key
        from glassbox.techniques.remote.http_backend import HttpBackend

        notes = meaningless("http", wanted)
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
        return LocalBackend(spec, folder=folder), meaningless("local", wanted)
    if backend == "ray":
        from glassbox.techniques.remote.ray_backend import RayBackend

        address = reach.address or "local"
        return RayBackend(spec, container=wanted, address=address), meaningless("ray", wanted)
    if backend == "modal":
        from glassbox.techniques.remote.modal_backend import ModalBackend

        deployed = ModalBackend(spec, container=wanted, deploy=reach.deploy)
        return deployed, meaningless("modal", wanted)
    raise UnknownName("backend", backend, NAMES)
