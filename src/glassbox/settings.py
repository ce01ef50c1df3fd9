"""Every setting, where it may come from, and the only place that reads the environment.

Arguments win over the environment (``GLASSBOX_ENGINE__MODEL``), which wins over ``glassbox.toml``
(in the working directory, or the file named by ``GLASSBOX_CONFIG``), which wins over the defaults.
A key or variable that nothing reads is refused, because a misspelt setting that is silently
ignored is worse than none. Per-call choices are parameters, not settings. Knows nothing of models.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from glassbox.errors import InvalidSetting

ENV_PREFIX = "GLASSBOX_"
"""Start of every environment variable of ours."""

CONFIG_VARIABLE = "GLASSBOX_CONFIG"
"""Names a configuration file to use instead of ``glassbox.toml``."""

SAGEMAKER_PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
"""Port on which SageMaker will ask its container; the platform's own variable."""

HIDDEN_PROMPT_VARIABLE = "GLASSBOX_HIDDEN_SYSTEM_PROMPT"
"""Secret of a container that techniques run in: the prompt put before every text there."""

TEST_DATA_VARIABLE = "GLASSBOX_TEST_DATA"
"""Folder of real data for the test suite; nothing else reads it."""

CONFIG_FILE = "glassbox.toml"
"""Configuration file looked for in the working directory."""

HUB_ENDPOINT = "https://huggingface.co"
"""Model hub used unless ``HF_ENDPOINT`` names another."""


def _expand(path: Path) -> Path:
    return path.expanduser()


UserPath = Annotated[Path, AfterValidator(_expand)]
"""A path in which a leading ``~`` stands for the home folder."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EngineSettings(_Section):
    """Which model is made resident, and how much of the machine it may use."""

    model: str = "tiny"
    """Folder or hub name of a causal language model; `tiny` is the embedded one."""
    device: str = "auto"
    """`auto` takes CUDA, then MPS, then the CPU; or a torch device name such as `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes bfloat16 only where it is multiplied natively."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads for the model; unset leaves the choice to torch."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in one forward pass; unset takes what suits the device, halved at need."""
    prefix_cache_bytes: int = Field(default=256 * 2**20, ge=0)
    """Memory for computed prompt prefixes, in bytes; 0 keeps none."""
    adapter_device_bytes: int = Field(default=2**30, ge=0)
    """Memory for LoRA adapters beside the model, in bytes; those in use never leave it."""
    adapter_host_bytes: int = Field(default=2 * 2**30, ge=0)
    """Host memory for LoRA adapters that have to make room on the device, in bytes."""
    adapter_disk_bytes: int = Field(default=20 * 2**30, ge=0)
    """Disk for LoRA adapters fetched from object stores, in bytes."""
    adapter_url_prefix: str = ""
    """Requests may name unloaded adapters below this `s3://bucket/prefix/`; empty allows none."""


class ConfidenceSettings(_Section):
    """What the main job promises unless a command says otherwise."""

    seed: int = Field(default=0, ge=0)
    """Decides the split, the bootstrap and the order of training."""
    max_error: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Largest error rate among automated rows, a fraction in (0, 1)."""
    confidence_level: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Probability with which that promise must hold, a fraction in (0, 1)."""


class ServerSettings(_Section):
    """Where the server listens, and how much it takes on."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs an API key first."""
    port: int = Field(default=8787, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    max_body_bytes: int = Field(default=8 * 2**20, ge=1)
    """Largest request body in bytes."""
    max_waiting: int = Field(default=1024, ge=1)
    """Requests that may wait for the model at a time; one more is told to come back later."""
    max_deadline_s: float = Field(default=600.0, gt=0.0)
    """Seconds after which any request ends; a request may ask for less, not for more."""
    drain_s: float = Field(default=25.0, ge=0.0)
    """Seconds that running requests get to finish once the server is told to stop."""
    max_connections: int = Field(default=4096, ge=1)
    """Connections that are open at a time; further ones are told to come back later."""


class TechniqueSettings(_Section):
    """Whether a server runs functions that callers send, and what these may use."""

    mode: Literal["off", "process", "shared"] = "off"
    """`process` runs them in a process with a model of its own, `shared` beside the serving one."""
    allowed: str = ""
    """Digests of the functions that may run, with commas, or a file of them; empty allows all."""
    wall_s: float = Field(default=600.0, gt=0.0)
    """Seconds that one run may take; a call may ask for less."""
    cpu_s: float | None = Field(default=None, gt=0.0)
    """Processor seconds that one run may take; unset is no limit. Mode `process` only."""
    memory_bytes: int | None = Field(default=None, ge=1)
    """Memory that one run may take beyond the model's, in bytes. Mode `process` only."""
    result_bytes: int = Field(default=2**30, ge=1)
    """Largest result of one run in bytes."""
    max_body_bytes: int = Field(default=256 * 2**20, ge=1)
    """Largest request body with a function and its arguments, in bytes."""
    max_waiting: int = Field(default=256, ge=1)
    """Runs that may wait for the model at a time; one more is told to come back later."""
    idle_s: float = Field(default=300.0, gt=0.0)
    """Seconds without a call after which a worker process ends and frees its model."""
    folder: UserPath = Field(default=Path("~/.glassbox/techniques"), validate_default=True)
    """Folder of workers' sockets and logs, and of local servers' secrets; nobody else may read."""


class StorageSettings(_Section):
    """Where API keys and the audit log are kept."""

    url: str = "sqlite:///~/.glassbox/glassbox.db"
    """Address of a SQLite file or a PostgreSQL database (`postgresql+psycopg://…`)."""


class PathSettings(_Section):
    """Where things are kept; a relative path starts at the working directory."""

    runs: UserPath = Path("runs")
    """Folder in which a run gets its own folder unless `--out` names one."""
    adapters: UserPath = Field(default=Path("~/.cache/glassbox/adapters"), validate_default=True)
    """Folder for LoRA adapters fetched from object stores."""
    workers: UserPath = Field(default=Path("~/.cache/glassbox/workers"), validate_default=True)
    """Folder in which programs of this machine find models that are resident for techniques."""


class Settings(BaseSettings):
    """All settings, frozen. Made by ``load_settings``, which gives the errors their words."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
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
    storage: StorageSettings = StorageSettings()
    """The database."""
    paths: PathSettings = PathSettings()
    """Where things are kept."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  named by pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first: arguments, environment, file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_config())


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
        path = _expand(Path(named))
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


def _check_environment() -> None:
    known = {info.variable for info in known_settings()}
    known |= {CONFIG_VARIABLE, TEST_DATA_VARIABLE, HIDDEN_PROMPT_VARIABLE}
    for name in sorted(os.environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known:
            raise InvalidSetting(name, "environment", sorted(known))


def _read_config() -> dict[str, Any]:
    path = config_file()
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    section, _, name = key.partition(".")
    if name in _read_config().get(section, {}):
        return f"file {config_file()}"
    return "default"
