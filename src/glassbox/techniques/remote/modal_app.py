"""Our settings as a Modal app: weights, secrets, and one class that holds a model.

Defining an app needs neither network nor token. Modal is imported inside the functions; the class
is made in one, so Modal ships it by value together with this package.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from glassbox.artifacts import digest_files
from glassbox.engine.model.files import ADAPTER_FILES, model_files
from glassbox.errors import InvalidValue, UnknownName
from glassbox.settings.loading import HIDDEN_PROMPT_VARIABLE
from glassbox.techniques.container_spec import MODAL_SCALEDOWN_S, Container
from glassbox.techniques.remote.modal_account import Upload
from glassbox.techniques.remote.modal_container import ModalResidence
from glassbox.techniques.remote.modal_image import (
    STARTUP_S,
    VOLUME_NAME,
    WEIGHTS,
    base_image,
    modal_library,
    with_this_package,
)
from glassbox.techniques.worker_spec import WorkerSpec

CLASS_NAME = "Resident"
"""Name of the class in every app of ours."""

N_INPUTS = 100
"""Questions that a container answers at a time: most wait for a run; one technique runs at a time.

Source: chosen; the desk, not Modal, gives the model to one technique after another.
"""

INPUT_S = 86_400
"""Seconds that a run may take where its limits say nothing.

Source: Modal's guide "Timeouts": from 1 second to 24 hours.
"""


@dataclass(frozen=True, eq=False)
class ModalApp:
    """An app, ready to be deployed or tried here."""

    name: str
    """Its name at Modal; equal specs give equal names."""
    app: Any
    """The ``modal.App``."""
    resident: Any
    """The ``modal.Cls`` that holds the model."""
    uploads: tuple[Upload, ...]
    """Files of the model and the adapter that are on this machine."""


def app_name(spec: WorkerSpec) -> str:
    """Return what the app of a spec is called at Modal, where 64 characters are allowed."""
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", spec.app_name).strip("-.")[:32] or "app"
    return f"glassbox-{words}-{spec.digest[:12]}"


def check(wanted: Container) -> None:
    """Check what Modal would refuse only when it is deployed, or not at all.

    Raises:
        InvalidValue: A number that Modal, or one container per model, does not allow.
    """
    shortest, longest = MODAL_SCALEDOWN_S
    if not shortest <= wanted.scaledown_window_s <= longest:
        raise InvalidValue(
            "scaledown_window", wanted.scaledown_window_s, f"{shortest} to {longest} s at Modal"
        )
    if wanted.min_containers > 1:
        raise InvalidValue(
            "min_containers", wanted.min_containers, "0 or 1 at Modal",
            remedy="Runs and sessions live in one container; give a further copy of the model "
            "an app_name of its own.",
        )  # fmt: skip


def define(
    spec: WorkerSpec,
    wanted: Container | None = None,
    *,
    secrets: Sequence[str] = (),
    rehearsal: bool = False,
) -> ModalApp:
    """Return the app of a spec; nothing is sent anywhere.

    Args:
        spec: Which model, and how. Local folders are uploaded when it is deployed.
        wanted: GPU, image, and how long a container stays.
        secrets: Names of Modal secrets for it, such as one that holds HF_TOKEN.
        rehearsal: It is to run in this process, which has neither the volume nor the secrets: the
            spec is taken as it is.

    Raises:
        InvalidValue: Numbers outside what is allowed.
        UnknownName: A folder that holds no model, or no adapter.
        DependencyMissing: Modal is not installed.
    """
    wanted = wanted or Container()
    check(wanted)
    modal = modal_library()
    name = app_name(spec)
    travelling, uploads = (spec, ()) if rehearsal else _in_the_volume(spec, wanted)
    app = modal.App(name)
    weights = {WEIGHTS: modal.Volume.from_name(VOLUME_NAME, create_if_missing=True)}
    wall_s = spec.limits.wall_s
    options: dict[str, Any] = {
        "image": with_this_package(wanted.image.made or base_image(wanted.image.packages)),
        "gpu": None if wanted.gpu is None else list(wanted.gpu.modal),
        "volumes": {} if rehearsal else weights,
        "secrets": [*_hidden(modal, spec), *(modal.Secret.from_name(each) for each in secrets)],
        "min_containers": wanted.min_containers,
        "max_containers": 1,
        "scaledown_window": wanted.scaledown_window_s,
        "timeout": INPUT_S if wall_s is None else int(wall_s) + 60,
        "startup_timeout": STARTUP_S,
        "enable_memory_snapshot": True,
        "serialized": True,
        # Answers are bytes: they come as CBOR, not as a pickle that this side would open.
        "_experimental_restrict_output": True,
    }
    made = _resident_class(modal, travelling.to_json())
    concurrent = modal.concurrent(max_inputs=N_INPUTS)(made)
    return ModalApp(name, app, app.cls(**options)(concurrent), uploads)


def _resident_class(modal: ModuleType, spec: bytes) -> type:
    """Return the class that Modal runs; it carries the spec with it."""

    class Resident:
        def load(self) -> None:
            self.residence = ModalResidence(spec)
            self.residence.load()

        def settle(self) -> None:
            self.residence.settle()

        def answer(self, framed: bytes) -> bytes:
            return self.residence.answer(framed)

        def hold(self, run_id: str) -> None:
            self.residence.hold(run_id)

        def leave(self) -> None:
            self.residence.close()

    marks = {
        "load": modal.enter(snap=True),
        "settle": modal.enter(),
        "answer": modal.method(),
        "hold": modal.method(),
        "leave": modal.exit(),
    }
    for name, mark in marks.items():
        setattr(Resident, name, mark(vars(Resident)[name]))
    assert Resident.__name__ == CLASS_NAME
    return Resident


def _in_the_volume(spec: WorkerSpec, wanted: Container) -> tuple[WorkerSpec, tuple[Upload, ...]]:
    """Return the spec as the container reads it, and which files must be there for it."""
    uploads = []
    moved: dict[str, Any] = {"hidden_system_prompt": None}
    for field in ("model", "adapter"):
        given = getattr(spec, field)
        folder = None if given is None else Path(given).expanduser()
        if folder is not None and folder.is_dir():
            files = model_files(folder) if field == "model" else _adapter_files(folder)
            if not files:
                remedy = f"No file of {'a model' if field == 'model' else 'an adapter'} is there."
                raise UnknownName(f"{field} in a folder", str(folder), remedy=remedy)
            place = f"/{field}s/{digest_files(files)[:16]}"
            uploads.append(Upload(folder, place, tuple(files)))
            moved[field] = WEIGHTS + place
    if wanted.gpu is not None and spec.dtype == "auto" and spec.quantization is None:
        # Loading is on the CPU, whose own preference must not decide for the GPU.
        moved["dtype"] = "float16" if wanted.gpu.name == "T4" else "bfloat16"
    return replace(spec, **moved), tuple(uploads)


def _adapter_files(folder: Path) -> list[Path]:
    return [each for each in map(folder.joinpath, ADAPTER_FILES) if each.is_file()]


def _hidden(modal: ModuleType, spec: WorkerSpec) -> list[Any]:
    if spec.hidden_system_prompt is None:
        return []
    return [modal.Secret.from_dict({HIDDEN_PROMPT_VARIABLE: spec.hidden_system_prompt})]
