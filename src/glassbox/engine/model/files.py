"""Which files of a folder are the model, and which of them its digest covers.

Apart from the loader because ``glassbox doctor`` asks without torch. Knows nothing of contents.
"""

from pathlib import Path

from glassbox.artifacts import digest_files
from glassbox.errors import InvalidValue

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""What a model consists of, and all that is fetched of it; no code, no pickles."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "glassbox.json")
"""What is fetched of a PEFT adapter."""

NOTES = frozenset({"metrics.json", "training_args.json", "trainer_state.json"})
"""Files that lie beside a model and tell of it without changing what it answers."""


def at_revision(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return a hub name and its revision, which ``NAME@REVISION`` may say; None is the default one.

    What is a folder here is that folder, whatever its name holds.

    Raises:
        InvalidValue: Two different revisions.
    """
    bare, _, said = name.partition("@")
    if not bare or not said or Path(name).expanduser().exists():
        return name, revision
    if revision not in (None, said):
        raise InvalidValue("revision", revision, f"{said!r}, which the name {name!r} says")
    return bare, said


def short_name(name: str) -> str:
    """Return the name under which a model is served unless it is given another one."""
    return Path(at_revision(name)[0]).name


def model_files(folder: Path) -> list[Path]:
    """Return the files that decide what a model answers, sorted by name."""
    found = {path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    return sorted((path for path in found if path.name not in NOTES), key=lambda path: path.name)


def model_digest(folder: Path) -> str:
    """Return the SHA-256 (hex) over the files that decide what a model answers."""
    return digest_files(model_files(folder))
