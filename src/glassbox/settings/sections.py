"""The sections of the settings: every key with its meaning, unit, range and default.

Knows nothing of where values come from.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from glassbox.types import TINY


def _expand(path: Path) -> Path:
    return path.expanduser()


UserPath = Annotated[Path, AfterValidator(_expand)]
"""A path in which a leading ``~`` stands for the home folder."""


def names_in(setting: str) -> tuple[str, ...]:
    """Return what a setting lists with commas, without the white space around it."""
    return tuple(each.strip() for each in setting.split(",") if each.strip())


class Section(BaseModel):
    """Named settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EngineSettings(Section):
    """Which model is made resident, and how much of the machine it may use."""

    model: str = TINY
    """Folder, hub name or `NAME@REVISION` of a causal language model; `tiny` is embedded."""
    device: str = "auto"
    """`auto` takes CUDA, then MPS, then the CPU; or a torch device name such as `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; `auto` takes bfloat16 only where it is multiplied natively."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads for the model; unset leaves the choice to torch."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in one forward pass; unset takes what suits the device, halved at need."""
    prefix_cache_bytes: int = Field(default=256 * 2**20, ge=0)
    """Memory for computed prompt prefixes in bytes, for texts and for labels each; 0 keeps none."""
    adapter_device_bytes: int = Field(default=2**30, ge=0)
    """Memory for LoRA adapters beside the model, in bytes; those in use never leave it."""
    adapter_host_bytes: int = Field(default=2 * 2**30, ge=0)
    """Host memory for LoRA adapters that have to make room on the device, in bytes."""
    adapter_disk_bytes: int = Field(default=20 * 2**30, ge=0)
    """Disk for LoRA adapters fetched from object stores, in bytes."""
    adapter_url_prefix: str = ""
    """Requests may name unloaded adapters below this `s3://bucket/prefix/`; empty allows none."""


class ConfidenceSettings(Section):
    """What the main job promises unless a command says otherwise."""

    seed: int = Field(default=0, ge=0)
    """Decides the split, the bootstrap and the order of training."""
    max_error: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Largest error rate among automated rows, a fraction in (0, 1)."""
    confidence_level: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Probability with which that promise must hold, a fraction in (0, 1)."""


class ServerSettings(Section):
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
    cors_origins: str = ""
    """Origins of pages elsewhere that may call this server, with commas; empty allows none."""
    rate_limit: str = ""
    """Most requests of one caller, as in `100/second`; empty sets no limit."""
    observe_rate_limit: str = "50/second"
    """Most requests of one caller to records, drift and rollouts; empty sets no limit."""
    max_answer_bytes: int = Field(default=6_291_456, ge=1024)
    """Largest answer of a SageMaker container in bytes, streams apart: the platform's limit."""
    large_answers: str = ""
    """Where it puts larger ones, as `s3://bucket/prefix/`; empty refuses them."""


class TechniqueSettings(Section):
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


class RolloutSettings(Section):
    """Which version answers, and how those that do not yet answer are tried."""

    active_model_version: str = ""
    """Version that becomes champion where there is none yet; empty takes the first one."""
    shadow_model_version: str = ""
    """Versions that become challengers where there are none yet, with commas; empty is none."""
    shadow_sampling: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of requests that challengers see, a fraction in [0, 1]."""
    shadow_queue: int = Field(default=256, ge=1)
    """Requests that may wait for one challenger; further ones are dropped and counted."""
    shadow_timeout_s: float = Field(default=5.0, gt=0.0)
    """Seconds after which a challenger's process is replaced."""
    shadow_memory_bytes: int | None = Field(default=None, ge=1)
    """Memory that a challenger's process may take, in bytes; unset is no limit."""
    shadow_in_engine: bool = False
    """Whether a challenger on the resident base model runs in the same engine, behind all else."""
    max_wait_shadow_s: float = Field(default=2.0, ge=0.0)
    """Longest that a request may ask to wait for its challenger's answer, in seconds."""
    noise_floor: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of requests that the champion answers twice, to know its own noise; in [0, 1]."""
    interval_s: float = Field(default=2.0, gt=0.0)
    """Seconds between two looks at the gates of a rollout."""


class AuditSettings(Section):
    """What is kept of each prediction, for how long and how safely."""

    cap: int = Field(default=1000, ge=1)
    """Predictions in the window of a model's summary."""
    durability: Literal["group", "strict"] = "group"
    """`strict` answers after the record is on the disk; `group` may lose the last 50 ms."""
    retention_s: float | None = Field(default=None, gt=0.0)
    """Seconds after which records are removed; unset keeps them."""
    retention_bytes: int | None = Field(default=None, ge=1)
    """Bytes of records from which the oldest are removed; unset sets no limit."""
    hash_scheme: Literal["hmac", "sha256"] = "hmac"
    """`hmac` is keyed, so that few-valued features cannot be guessed; `sha256` is not."""
    hash_length: int = Field(default=12, ge=8, le=64)
    """Hexadecimal digits kept of a plain `sha256`; the keyed one always keeps 32."""
    features: str = ""
    """Features whose values may be kept, with commas; empty keeps none."""
    segments: str = ""
    """Features by whose values the summary is broken down, with commas."""


class DriftSettings(Section):
    """How what comes now is compared with what came before."""

    interval_s: float = Field(default=300.0, gt=0.0)
    """Seconds between two comparisons; they run in a process of their own."""
    window: int = Field(default=5000, ge=100)
    """Latest records that are compared with the reference."""
    min_rows: int = Field(default=500, ge=20)
    """Fewer records than this are not judged."""
    fdr: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Share of false alarms among the features that are flagged, a fraction in (0, 1)."""


class AlertSettings(Section):
    """Who is told when something is wrong."""

    rules: UserPath | None = None
    """TOML file with rules and receivers; unset sends nothing."""
    interval_s: float = Field(default=5.0, gt=0.0)
    """Seconds between two looks at the rules."""


class TelemetrySettings(Section):
    """Traces that others collect."""

    endpoint: str = ""
    """Address of an OpenTelemetry collector (OTLP over HTTP); empty sends no traces."""
    sampling: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of requests that are traced where the caller has not decided, in [0, 1]."""


class EndpointSettings(Section):
    """The SageMaker endpoint that `glassbox deploy sagemaker` makes, changes and removes."""

    name: str = "glassbox"
    """Name of the endpoint and beginning of the names of all that belongs to it."""
    region: str = ""
    """Region of AWS; empty takes the one of AWS's own configuration."""
    profile: str = ""
    """Profile of AWS's own configuration; empty takes its default."""
    image: str = ""
    """Container image in ECR, as `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG`."""
    role: str = ""
    """ARN of the role that the container runs under."""
    artifacts: str = ""
    """Where bundles and adapters are put, as `s3://bucket/prefix`, in the same region."""
    kms_key: str = ""
    """Key that encrypts what is put there and the instances' volumes; empty takes AWS's own."""
    instance_type: str = "ml.g5.2xlarge"
    """Kind of machine that each copy of the model runs on."""
    instances: int = Field(default=5, ge=1)
    """Machines at first."""
    min_instances: int = Field(default=5, ge=1)
    """Fewest machines that autoscaling leaves."""
    max_instances: int = Field(default=300, ge=1)
    """Most machines that autoscaling takes."""
    scaling: Literal["concurrency", "gpu", "off"] = "concurrency"
    """What autoscaling follows: requests at a time (every 10 s), or the GPU's use (every 60 s)."""
    concurrency_target: float = Field(default=8.0, gt=0.0)
    """Requests at a time for each copy of the model that autoscaling aims at."""
    gpu_target: float = Field(default=0.8, gt=0.0, le=1.0)
    """Share of the GPU's time in use that autoscaling aims at, a fraction in (0, 1]."""
    alarm_p99_s: float = Field(default=0.5, gt=0.0)
    """Seconds of model latency from which the 99th percentile raises the alarm."""
    alarm_topic: str = ""
    """ARN of the SNS topic that alarms tell; empty tells nobody."""
    update: Literal["rolling", "blue-green"] = "rolling"
    """How a new configuration replaces the old: in batches, or beside all of it at once."""
    startup_s: int = Field(default=900, ge=60, le=3600)
    """Seconds that a container may take until its model is resident."""
    download_s: int = Field(default=1800, ge=60, le=3600)
    """Seconds that fetching a bundle onto a machine may take."""
    ami: str = ""
    """Machine image that decides the GPU driver, as `al2023-ami-sagemaker-inference-gpu-4-1`."""
    subnets: str = ""
    """Subnets of your VPC for the containers, with commas; empty is AWS's own network."""
    security_groups: str = ""
    """Security groups of your VPC for the containers, with commas."""
    isolated: bool = False
    """Whether the containers have no network: then bundles need weights, adapters are in them."""
    components: bool = False
    """Whether base and adapters become inference components; never exercised."""
    component_memory_bytes: int = Field(default=20 * 2**30, ge=128 * 2**20)
    """Host memory that one copy of the base component needs, in bytes."""
    shadow_instances: int = Field(default=1, ge=1)
    """Machines of the shadow variant, where there is one."""
    shadow_share: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of requests that the shadow variant gets a copy of, a fraction in (0, 1]."""


class ModalSettings(Section):
    """The server that `glassbox deploy modal` defines."""

    app: str = "glassbox"
    """Name of the app, and last part of its address: `https://WORKSPACE--APP.modal.run`."""
    environment: str = ""
    """Environment of your workspace; empty takes that of Modal's own profile."""
    gpu: str = ""
    """Kind of GPU, as `L4`, `A10G`, `H100` or `any`; empty runs on processors."""
    cpu: float | None = Field(default=None, gt=0.0)
    """Processor cores reserved for a container; unset is Modal's least."""
    memory_bytes: int | None = Field(default=None, ge=2**20)
    """Host memory reserved for a container, in bytes; unset is Modal's least."""
    region: str = ""
    """Regions it may run in, with commas, as `eu,us-east`; empty is anywhere."""
    min_containers: int = Field(default=0, ge=0)
    """Containers that stay however long nobody asks; 0 scales to zero."""
    max_containers: int = Field(default=1, ge=1)
    """Most containers at a time; more than one should share a database."""
    scaledown_window_s: int = Field(default=300, ge=2, le=3600)
    """Seconds without a request after which the others are let go."""
    max_inputs: int = Field(default=100, ge=1, le=1000)
    """Requests that one container answers at a time; further ones start another."""
    target_inputs: int | None = Field(default=None, ge=1)
    """Requests at a time that scaling aims at; unset is `max_inputs`."""
    snapshot: bool = True
    """Whether a container's memory with the loaded model is kept, so that later ones start fast."""
    secrets: str = ""
    """Names of Modal secrets for the container, with commas, such as one that holds HF_TOKEN."""
    database_secret: str = ""
    """Modal secret with GLASSBOX_STORAGE__URL, a PostgreSQL address that all containers share."""


class StorageSettings(Section):
    """Where API keys, the registry, rollouts, predictions and the audit log are kept."""

    url: str = "sqlite:///~/.glassbox/glassbox.db"
    """Address of a SQLite file or a PostgreSQL database (`postgresql+psycopg://…`)."""


class PathSettings(Section):
    """Where things are kept; a relative path starts at the working directory."""

    runs: UserPath = Path("runs")
    """Folder in which a run gets its own folder unless `--out` names one."""
    versions: UserPath = Field(default=Path("~/.glassbox/versions"), validate_default=True)
    """Folder in which registered versions are kept, each below its digest."""
    studies: UserPath = Path("studies")
    """Folder whose studies of pathways a server shows, each in a folder of its own."""
    adapters: UserPath = Field(default=Path("~/.cache/glassbox/adapters"), validate_default=True)
    """Folder for LoRA adapters fetched from object stores."""
    bundles: UserPath = Field(default=Path("~/.cache/glassbox/bundles"), validate_default=True)
    """Folder in which archived bundles are opened and base models of object stores are kept."""
    workers: UserPath = Field(default=Path("~/.cache/glassbox/workers"), validate_default=True)
    """Folder in which programs of this machine find models that are resident for techniques."""
