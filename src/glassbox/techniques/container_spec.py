"""Where a model is to be resident, as values: the GPU, the image, and how long it stays unused.

Checks what was asked for and translates names that third parties have since changed. Knows neither
Ray nor Modal as libraries; what a GPU is called there is a column of a table.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from glassbox.errors import InvalidValue, UnknownName
from glassbox.techniques.modal_names import translated

Place = Literal["local", "http", "ray", "modal"]
"""Kinds of backend, as ``InterpClient(backend=…)`` names them."""

ANY = "any"
"""Name of whichever GPU can be had."""

SCALEDOWN_WINDOW_S = 300
"""Seconds without a call after which a model that nothing keeps warm is let go."""

MODAL_SCALEDOWN_S = (2, 3600)
"""Shortest and longest ``scaledown_window`` at Modal, seconds.

Source: modal 1.6.4, ``_functions.py``: "must be between 2 and 3600 (inclusive)".
"""


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU, and what it is called elsewhere."""

    name: str
    """Our name for it."""
    modal: tuple[str, ...]
    """Modal's names, tried in this order."""
    ray: str | None
    """Ray's accelerator type; None asks for any GPU."""


GPUS: Mapping[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("T4", ("T4",), "T4"),
        Gpu("L4", ("L4",), "L4"),
        Gpu("A10G", ("A10",), "A10G"),
        Gpu("L40S", ("L40S",), "L40S"),
        Gpu("A100", ("A100",), "A100"),
        Gpu("A100-40GB", ("A100-40GB",), "A100"),
        Gpu("A100-80GB", ("A100-80GB",), "A100"),
        Gpu("RTX-PRO-6000", ("RTX-PRO-6000",), "RTX-PRO-6000"),
        Gpu("H100", ("H100",), "H100"),
        Gpu("H200", ("H200",), "H200"),
        Gpu("B200", ("B200",), "B200"),
        Gpu(ANY, ("L4", "A10", "L40S", "A100", "H100"), None),
    )
}
"""GPUs by our names. Modal no longer lists a name for any GPU, so it is given an order to try.

Source: Modal's guide "GPU acceleration"; ray 2.60, ``util/accelerators/accelerators.py``.
"""

SAME_GPU: Mapping[str, str] = {"A10": "A10G"}
"""Other names of theirs for the same GPU."""

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*([<>=!~@;].*)?")


@dataclass(frozen=True)
class Image:
    """What is installed beside the model."""

    packages: tuple[str, ...] = ()
    """Requirements that are added to our base image, as ``pip install`` takes them."""
    made: object | None = None
    """A whole image that the caller made (a ``modal.Image``), used instead of our own."""


@dataclass(frozen=True)
class Container:
    """Where a model is resident, and for how long."""

    gpu: Gpu | None = None
    """Which GPU; None takes what the machine has."""
    image: Image = Image()
    """What is installed there."""
    min_containers: int = 0
    """Copies of the model that stay resident however long nobody calls; 0 scales to zero."""
    scaledown_window_s: int = SCALEDOWN_WINDOW_S
    """Seconds without a call after which the others are let go."""

    @property
    def idle_s(self) -> float | None:
        """Seconds without a call after which the last copy is let go; None keeps it."""
        return None if self.min_containers else float(self.scaledown_window_s)


def container(
    *,
    gpu: str | None = None,
    image: object | None = None,
    min_containers: int = 0,
    scaledown_window: int = SCALEDOWN_WINDOW_S,
    keep_warm: int | None = None,
    container_idle_timeout: int | None = None,
) -> tuple[Container, tuple[str, ...]]:
    """Return what was asked for, checked, and a note for each name that had to be translated.

    Args:
        gpu: A10G, A100, H100, L4, any and others of ``GPUS``; None takes what there is.
        image: Requirements to add to our base image, one text or several; or a whole image.
        min_containers: Copies that stay resident, 0 or more.
        scaledown_window: Seconds without a call after which a copy is let go, 1 or more.
        keep_warm: Former name of ``min_containers``.
        container_idle_timeout: Former name of ``scaledown_window``.

    Raises:
        UnknownName: No such GPU.
        InvalidValue: A number outside what is allowed, both names of one thing with different
            values, or an image that is neither requirements nor an image.
    """
    numbers = {"min_containers": min_containers, "scaledown_window": scaledown_window}
    usual = {"min_containers": 0, "scaledown_window": SCALEDOWN_WINDOW_S}
    if isinstance(keep_warm, bool):
        keep_warm = int(keep_warm)
    found, notes = translated(
        {name: None if value == usual[name] else value for name, value in numbers.items()},
        {"keep_warm": keep_warm, "container_idle_timeout": container_idle_timeout},
    )
    numbers |= {name: value for name, value in found.items() if value is not None}
    copies, window_s = numbers["min_containers"], numbers["scaledown_window"]
    _check_whole("min_containers", copies, 0, "0 or more copies of the model")
    _check_whole("scaledown_window", window_s, 1, "a whole number of seconds from 1")
    kind = None if gpu is None else gpu_named(gpu)
    return Container(kind, image_of(image), copies, window_s), notes


def gpu_named(name: str) -> Gpu:
    """Return a GPU by one of its names, in upper or lower case.

    Raises:
        UnknownName: No such GPU.
        InvalidValue: More than one GPU, which one resident model does not use; or no name.
    """
    if not isinstance(name, str):
        raise InvalidValue("gpu", name, "one name, such as A100 or any")
    base, colon, count = name.strip().partition(":")
    if colon and count != "1":
        raise InvalidValue("gpu", name, "one GPU, because a model is resident on one device")
    by_upper = {each.upper(): gpu for each, gpu in GPUS.items()}
    by_upper |= {each.upper(): GPUS[ours] for each, ours in SAME_GPU.items()}
    if base.upper() not in by_upper:
        raise UnknownName("GPU", name, GPUS)
    return by_upper[base.upper()]


def image_of(image: object | None) -> Image:
    """Return what is to be installed, from requirements or a whole image.

    Raises:
        InvalidValue: Neither, or a requirement that is none.
    """
    if image is None:
        return Image()
    if isinstance(image, Image):
        return image
    if isinstance(image, str):
        return Image((_requirement(image),))
    if isinstance(image, Sequence) and not isinstance(image, bytes | bytearray):
        return Image(tuple(_requirement(each) for each in image))
    # Recognised by its face, so that Modal need not be installed to say no to something else.
    if callable(getattr(image, "pip_install", None)):
        return Image(made=image)
    raise InvalidValue("image", image, 'requirements such as ["scipy>=1.13"], or a modal.Image')


def meaningless(place: Place, wanted: Container) -> tuple[str, ...]:
    """Return a note for each part of what was asked for that does nothing at a place."""
    notes = []
    if place in ("local", "http") and wanted.image != Image():
        where = "this machine" if place == "local" else "the server"
        notes.append(f"image does nothing with backend={place!r}: install packages on {where}.")
    if place == "http" and (wanted.gpu or wanted.min_containers):
        notes.append("gpu and min_containers do nothing with a server, which decides itself.")
    if place == "local" and wanted.gpu is not None and wanted.gpu.name != ANY:
        notes.append("gpu names no kind with backend='local': the machine's own GPU is used.")
    if place == "local" and wanted.min_containers > 1:
        notes.append("min_containers above 1 is 1 with backend='local': one worker per model.")
    return tuple(notes)


def _check_whole(what: str, value: object, least: int, allowed: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidValue(what, value, allowed)


def _requirement(text: object) -> str:
    # Options ("--index-url …") and line breaks would reach pip's command line.
    if not isinstance(text, str) or not _REQUIREMENT.fullmatch(text.strip()):
        raise InvalidValue("image", text, "requirements such as 'scipy' or 'scipy>=1.13'")
    return text.strip()
