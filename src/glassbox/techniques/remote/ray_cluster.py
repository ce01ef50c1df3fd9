"""Joining a Ray cluster, or starting one of our own on this machine that ends with the program.

Knows Ray's ways of starting; knows nothing of models. Ray is imported inside the functions.
"""

import atexit
import importlib
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path
from types import ModuleType

from glassbox.errors import AccessDenied, DependencyMissing, InvalidValue, Unreachable, first_line
from glassbox.settings import keep_ray_silent

LOCAL = "local"
"""Address that starts a cluster of our own."""

NAMESPACE = "glassbox"
"""Ray namespace in which resident models have their names."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory for results in a cluster of our own; larger ones are spilled to disk."""

SHORT_TEMP = Path("/tmp")
"""Where its sockets are: their paths may have about 100 characters, and temporary folders of some
systems are longer than that by themselves."""

_LOCK = threading.Lock()


def ray_library() -> ModuleType:
    """Return Ray.

    Raises:
        DependencyMissing: It is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise DependencyMissing("ray", "ray") from error


def join(address: str, *, namespace: str = NAMESPACE, num_cpus: int | None = None) -> ModuleType:
    """Return Ray, connected; a program that is connected already stays where it is.

    Args:
        address: ``local`` starts a cluster on this machine that ends with this program; ``auto``
            finds one that ``ray start`` began on this machine; else ``host:port`` of its head.
        namespace: Where actors have their names.
        num_cpus: Processors that a cluster of our own may give away; None takes all.

    Raises:
        DependencyMissing: Ray is not installed.
        InvalidValue: No address at all.
        Unreachable: No cluster answers there.
        AccessDenied: The cluster asks for a token that this program has not.
    """
    if not address:
        raise InvalidValue("address", address, "local, auto, or host:port of a cluster's head")
    ray = ray_library()
    with _LOCK:
        if ray.is_initialized():
            return ray
        if address == LOCAL:
            _start(ray, namespace, num_cpus)
            return ray
        try:
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise Unreachable(
                f"No Ray cluster answers at {address!r} ({first_line(error)}). Start one with "
                "'ray start --head', or use address='local'. One that is there and asks for a "
                "token answers nobody without it: take ~/.ray/auth_token of its head, and set "
                "RAY_AUTH_MODE=token."
            ) from error
        except ray.exceptions.AuthenticationError as error:
            raise AccessDenied(
                f"The Ray cluster at {address!r} asks for its token ({first_line(error)}). Take "
                "that of its head, ~/.ray/auth_token: into the same file here, or into "
                "RAY_AUTH_TOKEN with RAY_AUTH_MODE=token."
            ) from error
    return ray


def _start(ray: ModuleType, namespace: str, num_cpus: int | None) -> None:
    # A folder of our own: a file that a dead cluster left in the common one would be believed.
    parent = SHORT_TEMP if os.access(SHORT_TEMP, os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="glassbox-ray-", dir=parent)
    keep_ray_silent()
    try:
        ray.init(
            address=LOCAL,
            namespace=namespace,
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Unreachable(f"No Ray cluster could be started here: {first_line(error)}") from error
    atexit.register(_end, ray, folder)


def _end(ray: ModuleType, folder: str) -> None:
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
