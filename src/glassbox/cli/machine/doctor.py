"""``glassbox doctor``: what this machine can do, and what to do about what is missing.

Each group of checks is a function that returns values; printing comes last. Works without torch
and without a network. Knows nothing of how models are loaded.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import psutil
import typer
from rich.text import Text

from glassbox.artifacts import digest_files
from glassbox.cli.terminal.console import Column, note, output, print_json, print_table
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.engine.model.files import model_files
from glassbox.errors import GlassboxError
from glassbox.settings import HubEnvironment, config_file, effective, hub_environment, load_settings
from glassbox.wording import counted

HUB_TIMEOUT_S: Final = 2.0
"""Longest wait for the hub's address to answer."""

LOW_MEMORY_BYTES: Final = 2 * 2**30
"""Below this, tuning even the embedded model may fail."""

LOW_DISK_BYTES: Final = 2**30
"""Below this, a run with its charts and adapter may not fit."""

ESSENTIAL_FILES: Final = ("config.json", "model.safetensors", "tokenizer.json")
"""What the embedded model cannot do without."""

EXTRA_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": (
        "torch",
        "transformers",
        "peft",
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "prometheus_client",
        "jinja2",
        "limits",
        "matplotlib",
    ),
    "charts": ("matplotlib", "jinja2"),
    "hub": ("datasets",),
    "quant": ("bitsandbytes",),
    "postgres": ("psycopg",),
    "sagemaker": ("boto3",),
    "ray": ("ray",),
    "modal": ("modal",),
    "mcp": ("mcp",),
    "drift": ("fairlearn", "river"),
    "skops": ("skops", "pandas"),
    "mlflow": ("mlflow",),
    "otel": ("opentelemetry",),
    "notify": ("apprise",),
    "pathways": ("yaml",),
}
"""Each extra and the libraries that it brings."""

EXTRA_PURPOSES: Final[Mapping[str, str]] = {
    "serve": "running and serving a model",
    "charts": "charts and the HTML report",
    "hub": "data sets from the hub",
    "quant": "8-bit and 4-bit weights on CUDA",
    "postgres": "a PostgreSQL database instead of a SQLite file",
    "sagemaker": "SageMaker endpoints and object stores",
    "ray": "servers, techniques and studies on a Ray cluster",
    "modal": "servers and techniques on Modal",
    "mcp": "techniques for agents",
    "drift": "fairness gaps and change detection",
    "skops": "scikit-learn models as versions",
    "mlflow": "showing versions in MLflow",
    "otel": "traces for a collector",
    "notify": "alerts to a hundred more services",
    "pathways": "a study's configuration in YAML",
}
"""What each extra is for."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    group: str
    """Heading it stands under."""
    name: str
    """What was looked at."""
    shown: str
    """The finding, for people."""
    value: str | int | float | bool | None = None
    """The finding, for programs; bytes where the name says bytes."""
    status: Status = Status.OK
    """``note``: works, with less; ``broken``: something essential is missing."""
    remedy: str = ""
    """What to do about it."""


def diagnose() -> tuple[Check, ...]:
    """Return every check, in the order in which they are printed."""
    return (
        *machine_checks(),
        *torch_checks(),
        *extra_checks(),
        *model_checks(),
        *hub_checks(hub_environment()),
        *configuration_checks(),
    )


def machine_checks() -> tuple[Check, ...]:
    """Return what the computer is: Python, platform, cores, memory, disk."""
    memory = psutil.virtual_memory()
    folder = Path.cwd()
    free_disk = shutil.disk_usage(folder).free
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        Check("machine", "python", platform.python_version(), platform.python_version()),
        Check("machine", "glassbox", _version("glassbox-llm"), _version("glassbox-llm")),
        Check("machine", "platform", f"{platform.platform()}, {platform.machine()}", sys.platform),
        Check("machine", "cores", str(cores), cores),
        Check(
            "machine",
            "memory_free_bytes",
            f"{_size(memory.available)} free of {_size(memory.total)}",
            memory.available,
            Status.NOTE if memory.available < LOW_MEMORY_BYTES else Status.OK,
            f"Close other programs; {_size(LOW_MEMORY_BYTES)} are comfortable for the demo."
            if memory.available < LOW_MEMORY_BYTES
            else "",
        ),
        Check("machine", "memory_total_bytes", _size(memory.total), memory.total),
        Check(
            "machine",
            "disk_free_bytes",
            f"{_size(free_disk)} free at {folder}",
            free_disk,
            Status.NOTE if free_disk < LOW_DISK_BYTES else Status.OK,
            "Free some space, or write runs elsewhere: --out, or paths.runs in glassbox.toml."
            if free_disk < LOW_DISK_BYTES
            else "",
        ),
    )


def torch_checks() -> tuple[Check, ...]:
    """Return what torch finds: build, devices, and what ``auto`` takes of them."""
    if importlib.util.find_spec("torch") is None:
        remedy = "To run a model: pip install 'glassbox-llm[serve]'"
        return (Check("torch", "version", "not installed", None, Status.NOTE, remedy),)
    try:
        import torch

        from glassbox.engine.model.devices import describe_devices
    except (ImportError, OSError) as error:
        shown = f"{_version('torch')}, cannot be imported: {error}"
        remedy = (
            "Install it anew, in the build for this machine: pip install --force-reinstall torch"
        )
        return (Check("torch", "version", shown, None, Status.BROKEN, remedy),)
    devices = describe_devices()
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    chosen = devices[0]
    checks = [Check("torch", "version", f"{torch.__version__}, {build}", str(torch.__version__))]
    for each in devices:
        native = "" if each.has_native_bfloat16 else "no "
        shown = f"{each.description}, {_size(each.memory_bytes)}, {native}native bfloat16"
        checks.append(Check("torch", each.device, shown, each.has_native_bfloat16))
    return (
        *checks,
        Check("torch", "auto_device", chosen.device, chosen.device),
        Check("torch", "auto_dtype", chosen.dtype, chosen.dtype),
        Check("torch", "threads", str(torch.get_num_threads()), torch.get_num_threads()),
    )


def extra_checks() -> tuple[Check, ...]:
    """Return which extras are installed, with the line that installs the others."""
    found = []
    for extra, libraries in EXTRA_LIBRARIES.items():
        missing = [each for each in libraries if importlib.util.find_spec(each) is None]
        if extra == "quant" and missing and sys.platform != "linux":
            found.append(Check("extras", extra, "not available on this platform", value=False))
            continue
        shown = f"missing: {', '.join(missing)}" if missing else _versions(libraries)
        found.append(
            Check(
                "extras",
                extra,
                shown,
                not missing,
                Status.NOTE if missing else Status.OK,
                f"For {EXTRA_PURPOSES[extra]}: pip install 'glassbox-llm[{extra}]'"
                if missing
                else "",
            )
        )
    return tuple(found)


def model_checks() -> tuple[Check, ...]:
    """Return whether the embedded model lies in the package, and the digest of its files."""
    folder = Path(str(files("glassbox") / "assets" / "model"))
    missing = [name for name in ESSENTIAL_FILES if not (folder / name).is_file()]
    if missing:
        shown = f"incomplete: {', '.join(missing)} missing in {folder}"
        remedy = "Install the package anew: pip install --force-reinstall --no-deps glassbox-llm"
        return (Check("embedded model", "digest", shown, None, Status.BROKEN, remedy),)
    paths = model_files(folder)
    digest = digest_files(paths)
    size = sum(path.stat().st_size for path in paths)
    return (
        Check("embedded model", "digest", f"{digest[:16]}…", digest),
        Check("embedded model", "size_bytes", f"{size / 2**20:.1f} MiB", size),
    )


def hub_checks(hub: HubEnvironment, *, timeout_s: float = HUB_TIMEOUT_S) -> tuple[Check, ...]:
    """Return whether the model hub can be reached and a token is set.

    Args:
        hub: What the environment says.
        timeout_s: Longest wait, name look-up included.
    """
    token = Check(
        "hub", "HF_TOKEN", "set" if hub.token_is_set else "not set", value=hub.token_is_set
    )
    if hub.is_offline:
        shown = "offline by HF_HUB_OFFLINE; models already in the cache work"
        return Check("hub", "reachable", shown, value=False), token
    if _answers(hub.endpoint, timeout_s):
        return Check("hub", "reachable", f"{hub.endpoint} answers", value=True), token
    reach = Check(
        "hub",
        "reachable",
        f"{hub.endpoint} does not answer",
        value=False,
        status=Status.NOTE,
        remedy="Fine for the embedded model and for model folders; HF_HUB_OFFLINE=1 says so.",
    )
    return reach, token


def configuration_checks() -> tuple[Check, ...]:
    """Return which configuration file is in use and whether the settings can be read."""
    try:
        load_settings()
        path = config_file()
        changed = sum(each.source != "default" for each in effective())
    except GlassboxError as error:
        remedy = "Correct it; glassbox config show prints the settings once they can be read."
        return (Check("configuration", "settings", str(error), False, Status.BROKEN, remedy),)
    return (
        Check("configuration", "file", str(path) if path else "none", str(path) if path else None),
        Check(
            "configuration",
            "settings",
            f"{counted(changed, 'differs', 'differ')} from the defaults",
            value=True,
        ),
    )


def is_healthy(checks: Iterable[Check]) -> bool:
    """Return whether nothing essential is broken."""
    return all(check.status is not Status.BROKEN for check in checks)


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Forecast the memory of this model from its configuration."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", help="With --model: a size to fit, as in 24GB."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine can do, and what to do about what is missing.

    With --model, say instead how much memory that model would take; no weight is read.
    """
    if model is not None:
        from glassbox.cli.machine.forecast import show_forecast

        code = show_forecast(model, memory=memory, as_json=json)
        if code is not ExitCode.OK:
            raise typer.Exit(code)
        return
    checks = diagnose()
    if json:
        print_json({"healthy": is_healthy(checks), "checks": checks})
    else:
        _print(checks)
    if not is_healthy(checks):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _print(checks: Iterable[Check]) -> None:
    marks = {
        Status.OK: Text("ok", "green"),
        Status.NOTE: Text("note", "yellow"),
        Status.BROKEN: Text("BROKEN", "bold red"),
    }
    groups: dict[str, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.group, []).append(check)
    rows = [
        (group if place == 0 else "", check.name, marks[check.status], check.shown)
        for group, members in groups.items()
        for place, check in enumerate(members)
    ]
    narrow = [Column(name, wraps=False) for name in ("part", "what", "state")]
    print_table([*narrow, Column("finding")], rows)
    remedies = [check for members in groups.values() for check in members if check.remedy]
    for check in remedies:
        output().print(Text(f"{check.group} {check.name}: {check.remedy}"))
    if not remedies:
        note("Nothing is missing.")


def _answers(endpoint: str, timeout_s: float) -> bool:
    # The look-up of a name has no time limit of its own, so the attempt runs beside us.
    found = threading.Event()

    def attempt() -> None:
        parts = urlsplit(endpoint)
        port = parts.port or (80 if parts.scheme == "http" else 443)
        try:
            with socket.create_connection((parts.hostname or "", port), timeout=timeout_s):
                found.set()
        except OSError:
            return

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found.is_set()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        # A library may come in a distribution of another name, as mlflow in mlflow-skinny.
        for distribution in importlib.metadata.packages_distributions().get(library, ()):
            return importlib.metadata.version(distribution)
        return "not installed as a package"


def _versions(libraries: Iterable[str]) -> str:
    return ", ".join(f"{each} {_version(each)}" for each in libraries)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
