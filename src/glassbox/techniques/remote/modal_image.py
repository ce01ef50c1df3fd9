"""What every app of ours at Modal is built from: the library, the image, the volume's name.

Defining any of it needs neither network nor token. Modal is imported inside the functions.
"""

import importlib
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from glassbox.errors import DependencyMissing
from glassbox.techniques.container_spec import image_of

DISTRIBUTION: Final = "glassbox-llm"
"""Name under which this package is installed."""

VOLUME_NAME: Final = "glassbox-weights"
"""Modal Volume in which weights stay between containers."""

WEIGHTS: Final = "/weights"
"""Where it is in a container."""

STARTUP_S: Final = 1800
"""Seconds that a container may take to fetch and load its model."""

_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<name>[\w-]+)['"]""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def modal_library() -> ModuleType:
    """Return Modal.

    Raises:
        DependencyMissing: It is not installed.
    """
    try:
        return importlib.import_module("modal")
    except ModuleNotFoundError as error:
        raise DependencyMissing("modal", "modal") from error


def python_version() -> str:
    """Return the minor version of this program's Python, which code from here meets there."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def base_image(packages: str | Sequence[str] = (), *, extras: Sequence[str] = ("serve",)) -> Any:
    """Return our base image (a ``modal.Image``), which may be extended like any other.

    It has the Python of this program and the very versions of torch, transformers and the rest
    that are installed here, so that code from here meets there what it knows. This package itself
    is added last, when an app is defined.

    Args:
        packages: Further requirements, one text or several.
        extras: Extras of this package whose requirements it has.

    Raises:
        InvalidValue: A requirement that is none.
        DependencyMissing: Modal is not installed.
    """
    modal = modal_library()
    packages = image_of(packages).packages
    image = modal.Image.debian_slim(python_version=python_version())
    image = image.pip_install(*requirements(extras))
    if packages:
        image = image.pip_install(*packages)
    return image.env({"HF_HOME": f"{WEIGHTS}/hub", "TOKENIZERS_PARALLELISM": "false"})


def requirements(extras: Sequence[str] = ("serve",)) -> tuple[str, ...]:
    """Return what the model side needs, each at the version that is installed here.

    Args:
        extras: Extras of this package whose requirements are among them.
    """
    found = []
    for line in requires(DISTRIBUTION) or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        extra = _EXTRA.search(marker)
        if extra is not None and extra["name"] not in extras:
            continue
        name = _NAME.match(requirement)
        assert name is not None, requirement
        try:
            # A local build such as 2.13.0+cpu is of this machine, not of the index.
            is_at = version(name[0]).partition("+")[0]
            extended = requirement[len(name[0]) :].startswith("[")
            options = requirement[len(name[0]) : requirement.index("]") + 1] if extended else ""
            found.append(f"{name[0]}{options}=={is_at}")
        except PackageNotFoundError:
            found.append(requirement)
    return tuple(sorted(found))


def with_this_package(image: Any) -> Any:
    """Return an image with this package as it is here, its metadata included."""
    package = Path(__file__).resolve().parents[2]
    image = image.add_local_dir(package, "/root/glassbox", ignore=["**/__pycache__", "**/*.pyc"])
    files = distribution(DISTRIBUTION).files or ()
    metadata = next((each for each in files if each.name == "METADATA"), None)
    if metadata is None:
        return image
    folder = Path(str(metadata.locate())).parent
    return image.add_local_dir(folder, f"/root/{folder.name}")
