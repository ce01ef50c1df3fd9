"""From a name to a folder of files: here, in the hub's cache, or fetched; and whether it is whole.

Apart from the loader because a name that means nothing should be told before torch is imported,
which takes seconds. Knows files and the hub; knows nothing of what is in them.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open

from glassbox.artifacts import read_json
from glassbox.engine.model.files import ADAPTER_FILES, MODEL_FILES, at_revision
from glassbox.errors import CorruptArtifact, UnknownName, UnsupportedModel
from glassbox.types import TINY

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_WEIGHTS_INDEX = "model.safetensors.index.json"


def find_model(name: str, revision: str | None = None) -> Path:
    """Return the folder that holds a model; a hub name is fetched unless it is already here.

    Args:
        name: Folder, ``tiny``, hub name, or ``NAME@REVISION`` on the hub.
        revision: On the hub; None takes that of the name, or the default branch.

    Raises:
        UnknownName: Nothing of that name, here or on the hub.
        InvalidValue: Two different revisions.
        UnsupportedModel: The hub refused access.
    """
    here = _folder_here(name)
    return here or _fetched("model", *_on_hub(name, revision), MODEL_FILES)


def find_config(name: str) -> Path:
    """Return where a model's ``config.json`` is; of a hub name nothing else is fetched.

    Args:
        name: As for ``find_model``, or the file.

    Raises:
        UnknownName: Nothing of that name, here or on the hub.
        UnsupportedModel: The hub refused access.
    """
    file = Path(name).expanduser()
    if file.is_file():
        return file
    folder = _folder_here(name) or _fetched("model", *_on_hub(name), ["config.json"])
    if not (folder / "config.json").is_file():
        raise UnknownName("model", name, remedy="It holds no config.json.")
    return folder / "config.json"


def require_model(name: str, revision: str | None = None) -> None:
    """Raise as ``find_model`` does; of what is whole in the cache the hub is not asked."""
    if _folder_here(name) is None and cached_model(name, revision) is None:
        find_model(name, revision)


def find_adapter(name: str) -> Path:
    """Return the folder that holds a PEFT adapter; a hub name is fetched unless it is here.

    Raises:
        UnknownName: Nothing of that name, here or on the hub.
        UnsupportedModel: The hub refused access.
    """
    folder = Path(name).expanduser()
    if folder.exists():
        return folder
    bare, revision = at_revision(name)
    if "/" not in bare or not _HUB_NAME.fullmatch(bare):
        raise UnknownName("adapter", name, remedy="Give a folder or a hub name.")
    return _fetched("adapter", bare, revision, ADAPTER_FILES)


def _folder_here(name: str) -> Path | None:
    """Return the folder that a name means without the hub; None where it means none."""
    if name != TINY:
        folder = Path(name).expanduser()
        return folder if name and folder.is_dir() else None
    shipped = Path(str(files("glassbox"))) / "assets" / "model"
    if not (shipped / "config.json").is_file():
        raise UnknownName(
            "model", name, remedy="This installation lacks the embedded model: reinstall it."
        )
    return shipped


def _on_hub(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the hub's name of a model and its revision."""
    bare, revision = at_revision(name, revision)
    if not _HUB_NAME.fullmatch(bare) or Path(name).expanduser().exists():
        raise UnknownName("model", name, remedy="Give a folder, a hub name or 'tiny'.")
    return bare, revision


def _fetched(kind: str, name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """Return the folder of what the hub has under a name, in its cache."""
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(wanted)))
    except GatedRepoError as error:
        raise UnsupportedModel(
            f"The hub does not let you have {name!r}: accept its terms there and set HF_TOKEN."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        where = f" with revision {revision!r}" if revision else ""
        raise UnknownName(
            kind, name, remedy=f"It is no folder here, and the hub has none{where}."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        hint = ", or 'tiny' for the embedded model" if kind == "model" else ""
        raise UnknownName(
            kind,
            name,
            remedy="It is no folder here and not in the hub's cache, and the hub cannot be "
            f"reached. Give a folder{hint}.",
        ) from error


def cached_model(name: str, revision: str | None = None) -> Path | None:
    """Return the folder of a hub model that was fetched before; None where it is not whole here."""
    bare, revision = _on_hub(name, revision)
    try:
        folder = Path(
            snapshot_download(
                bare,
                revision=revision,
                allow_patterns=list(MODEL_FILES),
                local_files_only=True,
            )
        )
        check_files(folder)
    except (LocalEntryNotFoundError, HFValidationError, OSError, UnsupportedModel, CorruptArtifact):
        return None
    return folder


def check_files(folder: Path) -> None:
    """Check a model's folder before anything large is read.

    Raises:
        UnsupportedModel: No model at all, an adapter, or weights in another format.
        CorruptArtifact: A weights file is damaged or one of several is missing.
    """
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise UnsupportedModel(
                f"{folder} holds an adapter, not a model: name its base model and give this "
                "folder as the adapter."
            )
        raise UnsupportedModel(f"{folder} is not a model: it has no config.json.")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise CorruptArtifact(folder / "config.json", "expected a JSON object")
    index = folder / _WEIGHTS_INDEX
    weights = sorted(folder.glob("*.safetensors"))
    if index.is_file():
        named = set(read_json(index).get("weight_map", {}).values())
        missing = sorted(named - {path.name for path in weights})
        if missing:
            raise CorruptArtifact(folder, f"weights file {missing[0]} is missing")
    if not weights:
        raise UnsupportedModel(
            f"{folder} has no weights in safetensors. Other formats can run code when loaded and "
            "are not read; convert them with the library's save_pretrained."
        )
    for path in weights:
        try:
            with safe_open(path, framework="numpy") as file:
                file.keys()
        except SafetensorError as error:
            raise CorruptArtifact(
                path, f"not a whole safetensors file ({error})", remedy="Fetch it again."
            ) from error
