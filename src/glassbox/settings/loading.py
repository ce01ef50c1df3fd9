"""Every setting, where it may come from; this package alone reads the environment.

Arguments win over the environment (``GLASSBOX_ENGINE__MODEL``, or the file that
``GLASSBOX_ENGINE__MODEL_FILE`` names), which wins over ``glassbox.toml``
(in the working directory, or the file named by ``GLASSBOX_CONFIG``), which wins over the defaults.
A key or variable that nothing reads is refused, because a misspelt setting that is silently
ignored is worse than none. Per-call choices are parameters, not settings. Knows nothing of models.
"""

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from glassbox.errors import InvalidSetting
from glassbox.settings.secret_files import FILE_SUFFIX, file_of, value_in_file, values_in_files
from glassbox.settings.sections import (
    AlertSettings,
    AuditSettings,
    ConfidenceSettings,
    DriftSettings,
    EndpointSettings,
    EngineSettings,
    ModalSettings,
    PathSettings,
    RolloutSettings,
    ServerSettings,
    StorageSettings,
    TechniqueSettings,
    TelemetrySettings,
)

ENV_PREFIX = "GLASSBOX_"
"""Start of every environment variable of ours."""

CONFIG_VARIABLE = "GLASSBOX_CONFIG"
"""Names a configuration file to use instead of ``glassbox.toml``."""

SAGEMAKER_PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
"""Port on which SageMaker will ask its container; the platform's own variable."""

SAGEMAKER_MODEL_VARIABLE = "MODEL_PATH"
"""Folder of the model in a SageMaker container. Source: the source document's Dockerfile."""

KEY_VARIABLE = "GLASSBOX_API_KEY"
"""API key that programs send to a server unless they name another."""

HIDDEN_PROMPT_VARIABLE = "GLASSBOX_HIDDEN_SYSTEM_PROMPT"
"""Secret of a container that techniques run in: the prompt put before every text there."""

TEST_DATA_VARIABLE = "GLASSBOX_TEST_DATA"
"""Folder of real data for the test suite; nothing else reads it."""

ALIASES: Final[dict[str, str]] = {
    "GLASSBOX_ACTIVE_MODEL_VERSION": "rollout.active_model_version",
    "GLASSBOX_SHADOW_MODEL_VERSION": "rollout.shadow_model_version",
    "GLASSBOX_INFERENCE_AUDIT_CAP": "audit.cap",
    "A1_ACTIVE_MODEL_VERSION": "rollout.active_model_version",
    "A1_SHADOW_MODEL_VERSION": "rollout.shadow_model_version",
    "A1_INFERENCE_AUDIT_CAP": "audit.cap",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "telemetry.endpoint",
}
"""Other variables that set a key, strongest first; the variable named after the key wins."""

CONFIG_FILE = "glassbox.toml"
"""Configuration file looked for in the working directory."""

HUB_ENDPOINT = "https://huggingface.co"
"""Model hub used unless ``HF_ENDPOINT`` names another."""


class Settings(BaseSettings):
    """All settings, frozen. Made by ``load_settings``, which gives the errors their words."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        nested_model_default_partial_update=True,
    )

    engine: EngineSettings = EngineSettings()
    """The resident model."""
    confidence: ConfidenceSettings = ConfidenceSettings()
    """The main job's promises."""
    server: ServerSettings = ServerSettings()
    """The HTTP server."""
    techniques: TechniqueSettings = TechniqueSettings()
    """Functions beside the model."""
    rollout: RolloutSettings = RolloutSettings()
    """Versions: which one answers, which ones only see."""
    audit: AuditSettings = AuditSettings()
    """The record of what was predicted."""
    drift: DriftSettings = DriftSettings()
    """Comparing what comes now with what came before."""
    alerts: AlertSettings = AlertSettings()
    """Who is told when something is wrong."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Traces for others to collect."""
    endpoint: EndpointSettings = EndpointSettings()
    """An endpoint at SageMaker."""
    modal: ModalSettings = ModalSettings()
    """A server at Modal."""
    storage: StorageSettings = StorageSettings()
    """The database."""
    paths: PathSettings = PathSettings()
    """Where things are kept."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  takes …_FILE for a key
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  named by pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first: arguments, environment, file."""
        aliases = InitSettingsSource(settings_cls, _nest(_aliased()))
        return (
            init_settings,
            InitSettingsSource(settings_cls, _nest(_in_environment())),
            aliases,
            InitSettingsSource(settings_cls, _read_config()),
        )


@dataclass(frozen=True)
class SettingInfo:
    """What a setting is, apart from its value."""

    key: str
    """Dotted name, as in ``engine.model``."""
    variable: str
    """Environment variable that sets it."""
    description: str
    """One line: meaning, unit, range."""


@dataclass(frozen=True)
class EffectiveSetting:
    """One setting's value and where it came from."""

    key: str
    """Dotted name, as in ``engine.model``."""
    value: str | int | float | None
    """The value in force; paths as text."""
    source: str
    """``argument``, ``environment NAME``, ``file PATH`` or ``default``."""


@dataclass(frozen=True)
class HubEnvironment:
    """What the environment says about the model hub; the token itself is never read into it."""

    token_is_set: bool
    """Whether ``HF_TOKEN`` is set; huggingface_hub reads it by itself."""
    is_offline: bool
    """Whether ``HF_HUB_OFFLINE`` forbids going to the network."""
    endpoint: str
    """Address of the hub."""


@functools.cache
def known_settings() -> tuple[SettingInfo, ...]:
    """Return every setting there is, in the order of the sections."""
    return tuple(
        SettingInfo(
            key=f"{section}.{name}",
            variable=f"{ENV_PREFIX}{section}__{name}".upper(),
            description=(field.description or "").strip(),
        )
        for section, model in _sections().items()
        for name, field in model.model_fields.items()
    )


def load_settings(overrides: Mapping[str, object] | None = None) -> Settings:
    """Return the settings in force.

    Args:
        overrides: Arguments by dotted name (``{"engine.model": "tiny"}``); None as a value means
            that the argument was not given.

    Raises:
        InvalidSetting: An unknown key or variable, a value outside what is allowed, or a
            configuration file that is missing or no TOML.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    keys = _keys()
    for key in given:
        if key not in keys:
            raise InvalidSetting(key, "argument", keys)
    _check_environment()
    try:
        return Settings(**_nest(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][:2])
        problem = f"is {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise InvalidSetting(key, _origin(key, given), problem=problem) from error


def effective(overrides: Mapping[str, object] | None = None) -> tuple[EffectiveSetting, ...]:
    """Return each setting's value and where it came from; raises as ``load_settings`` does."""
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values = load_settings(given).model_dump(mode="json")
    return tuple(
        EffectiveSetting(
            info.key,
            values[info.key.partition(".")[0]][info.key.partition(".")[2]],
            _origin(info.key, given),
        )
        for info in known_settings()
    )


def config_file() -> Path | None:
    """Return the configuration file in use, or None where there is none.

    Raises:
        InvalidSetting: ``GLASSBOX_CONFIG`` names a file that does not exist.
    """
    named = os.environ.get(CONFIG_VARIABLE, "")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            problem = f"is {named!r}, which is no file: create it, or unset the variable"
            raise InvalidSetting(CONFIG_VARIABLE, "environment", problem=problem)
        return path
    path = Path(CONFIG_FILE)
    return path if path.is_file() else None


def hub_environment() -> HubEnvironment:
    """Return what the environment says about the model hub."""
    names = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT")
    token, offline, endpoint = (os.environ.get(name, "").strip() for name in names)
    is_offline = offline.upper() in {"1", "ON", "YES", "TRUE"}
    return HubEnvironment(bool(token), is_offline, endpoint or HUB_ENDPOINT)


def environment_of(values: Mapping[str, object]) -> dict[str, str]:
    """Return the environment of a process that is to have these settings and no others.

    Args:
        values: Settings by dotted name; what the present environment says of ours is left out.
    """
    variables = {info.key: info.variable for info in known_settings()}
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(ENV_PREFIX) and name not in ALIASES
    }
    return {**others, **{variables[key]: str(value) for key, value in values.items()}}


def client_key() -> str | None:
    """Return the API key that programs send unless they name another, None without one."""
    return os.environ.get(KEY_VARIABLE, "").strip() or value_in_file(KEY_VARIABLE)


def take_hidden_system_prompt() -> str | None:
    """Return a container's hidden prompt and take it out of the environment, None without one.

    It is taken out because what runs there later can read the environment.
    """
    return os.environ.pop(HIDDEN_PROMPT_VARIABLE, "") or None


def sagemaker_port() -> int | None:
    """Return the port that SageMaker tells its container to listen on, if it does.

    Raises:
        InvalidSetting: It is no port.

    Source: Amazon SageMaker, "Custom Inference Code with Hosting Services".
    """
    given = os.environ.get(SAGEMAKER_PORT_VARIABLE, "").strip()
    if not given:
        return None
    if not given.isdigit() or not 0 < int(given) <= 65535:
        problem = f"is {given!r}, which is no port: a whole number from 1 to 65535"
        raise InvalidSetting(SAGEMAKER_PORT_VARIABLE, "environment", problem=problem)
    return int(given)


def notify_address() -> str:
    """Return the socket on which systemd wants to hear that the server is ready; empty if none."""
    return os.environ.get("NOTIFY_SOCKET", "")


def sagemaker_model() -> str | None:
    """Return the folder in which a SageMaker container is told to find its model, if it is."""
    return os.environ.get(SAGEMAKER_MODEL_VARIABLE, "").strip() or None


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _keys() -> tuple[str, ...]:
    return tuple(info.key for info in known_settings())


def _nest(flat: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested


def _aliased() -> dict[str, str]:
    """Return what other variables say, by key; the strongest of each."""
    said: dict[str, str] = {}
    for name, key in ALIASES.items():
        value = os.environ.get(name, "").strip()
        if value:
            said.setdefault(key, value)
    return said


def _in_environment() -> dict[str, str]:
    """Return what the environment says, and the files that it names, by key."""
    keys = {info.variable: info.key for info in known_settings()}
    said = {name.upper(): value for name, value in os.environ.items() if value}
    said |= values_in_files(keys)
    return {key: said[variable] for variable, key in keys.items() if variable in said}


def _check_environment() -> None:
    known = {info.variable for info in known_settings()} | ALIASES.keys()
    files = {name + FILE_SUFFIX for name in (*(i.variable for i in known_settings()), KEY_VARIABLE)}
    known |= {CONFIG_VARIABLE, TEST_DATA_VARIABLE, HIDDEN_PROMPT_VARIABLE, KEY_VARIABLE}
    for name in sorted(os.environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known | files:
            raise InvalidSetting(name, "environment", sorted(known))


def _read_config() -> dict[str, Any]:
    path = config_file()
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(path.name, "file", problem=f"is no valid TOML: {error}") from error
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidSetting(path.name, "file", problem=problem) from error
    sections = _sections()
    for section, table in content.items():
        if section not in sections:
            raise InvalidSetting(section, str(path), sections)
        if not isinstance(table, dict):
            problem = f"must be a table: write [{section}] and its keys below"
            raise InvalidSetting(section, str(path), problem=problem)
        for name in table:
            if name not in sections[section].model_fields:
                raise InvalidSetting(f"{section}.{name}", str(path), _keys())
    return content


def _origin(key: str, overrides: Mapping[str, object]) -> str:
    if key in overrides:
        return "argument"
    variable = next((info.variable for info in known_settings() if info.key == key), "")
    named = {name.upper(): name for name in os.environ if os.environ[name]}
    if variable in named:
        return f"environment {named[variable]}"
    if (found := file_of(variable)) is not None:
        return f"environment {found[0]}"
    for name, aliased in ALIASES.items():
        if aliased == key and os.environ.get(name, "").strip():
            return f"environment {name}"
    section, _, name = key.partition(".")
    if name in _read_config().get(section, {}):
        return f"file {config_file()}"
    return "default"
