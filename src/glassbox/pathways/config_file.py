"""Reading a study's configuration from YAML or TOML, and writing it with its results.

Relative paths in it are relative to the file. Knows nothing of what the keys mean.
"""

import tomllib
from pathlib import Path
from typing import Any

from glassbox.artifacts import read_json, write_json
from glassbox.errors import DependencyMissing, InvalidData, InvalidSetting, UnknownName
from glassbox.pathways.config import StudyConfig
from glassbox.types import TINY

PATHS = (
    ("study", "out"),
    ("saes", "folder"),
    ("data", "checkpoints"),
    ("data", "response_logs"),
    ("experiment", "prompts"),
)
"""Keys that are paths; ``model.name`` is one only where such a folder is there."""


def load_config(path: Path) -> StudyConfig:
    """Return the configuration in a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file.

    Raises:
        UnknownName: There is no such file.
        InvalidData: The file is not valid in its format, or names a key twice.
        InvalidSetting: A key nobody reads, or a value that is not allowed.
        DependencyMissing: It is YAML, and PyYAML is not installed.
    """
    if not path.is_file():
        raise UnknownName("configuration", str(path), remedy="Give a .yaml or .toml file.")
    content = _content(path)
    if not isinstance(content, dict) or not all(
        value is None or isinstance(value, dict) for value in content.values()
    ):
        reason = "sections of keys are expected, as in `model: {name: tiny}`"
        raise InvalidData(reason, source=str(path))
    filled = {str(name): dict(keys or {}) for name, keys in content.items()}
    config = StudyConfig.from_json(filled, source=str(path))
    return StudyConfig.from_json(_absolute(config, path.resolve().parent), source=str(path))


def save_config(config: StudyConfig, path: Path) -> None:
    """Write the configuration as JSON, defaults filled in; ``load_config`` reads it."""
    write_json(path, config.to_json())


def _content(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_json(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8 ({error})", source=str(path)) from error
    if suffix == ".toml":
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidData(f"not valid TOML ({error})", source=str(path)) from error
    if suffix in {".yaml", ".yml"}:
        return _yaml(text, path)
    raise InvalidSetting(path.name, "argument", problem="ends in neither .yaml, .toml nor .json")


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise DependencyMissing("yaml", "pathways") from error

    # Refuses a key that stands twice; YAML itself would take the last one in silence.
    strict: Any = type("Strict", (yaml.SafeLoader,), {})

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str | int):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is no key", key_node.start_mark
                )
            if key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", key_node.start_mark
                )
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        # A loader derived from SafeLoader makes plain values only.
        return yaml.load(text, Loader=strict) or {}
    # A date that there is not is a plain ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidData(f"not valid YAML ({error})", source=str(path)) from error


def _absolute(config: StudyConfig, folder: Path) -> dict[str, Any]:
    content = config.to_json()
    for section, key in PATHS:
        value = content[section][key]
        if value is not None and value != TINY:
            content[section][key] = str(_placed(value, folder))
    files = content["saes"]["files"]
    content["saes"]["files"] = {
        layer: str(_placed(value, folder)) for layer, value in files.items()
    }
    beside = _placed(content["model"]["name"], folder)
    if content["model"]["name"] != TINY and beside.is_dir():
        content["model"]["name"] = str(beside)
    return content


def _placed(value: str, folder: Path) -> Path:
    path = Path(value).expanduser()
    return path if path.is_absolute() else folder / path
