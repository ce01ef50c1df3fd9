"""Bundles of the embedded model for tests: two adapters, a classifier, a verifier."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from glassbox.artifacts import digest_files, read_json
from glassbox.deploy.bundle import Bundle, Contents, make_bundle
from glassbox.engine.lora.files import adapter_digest
from glassbox.engine.model.files import model_files
from glassbox.engine.model.finding import find_model
from glassbox.introspection.probes.file import save_probe
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel
from glassbox.runtime import SHIPPED, SHIPPED_RUN, SHIPPED_VERIFIER, Runtime
from glassbox.stats.calibrators.parametric import Identity
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.types import HookPoint

ADAPTER = SHIPPED_RUN / "adapter"
"""The adapter that ships."""


def another_adapter(folder: Path, scale: float = -2.0) -> Path:
    """Return a folder with the shipped adapter's weights, scaled; no word of where it is from."""
    folder.mkdir(parents=True)
    shutil.copy(ADAPTER / "adapter_config.json", folder)
    weights = load_file(ADAPTER / "adapter_model.safetensors")
    scaled = {name: each * scale if ".lora_B." in name else each for name, each in weights.items()}
    save_file(scaled, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def a_probe(folder: Path, *, adapter: Path | None = None) -> Path:
    """Return a folder with a probe of the embedded model that was trained on nothing."""
    home = find_model("tiny")
    config = read_json(home / "config.json")
    width = config["hidden_size"]
    model = ProbeModel(
        "tiny",
        digest_files(model_files(home)),
        width,
        config["num_hidden_layers"],
        adapter_digest=None if adapter is None else adapter_digest(adapter),
    )
    rule = LinearRule(np.ones(width), 0.0, np.zeros(width), np.ones(width))
    calibrator = Identity(2)
    probe = LinearProbe(
        folder.name, "target", model, HookPoint(3), "mean", "all", "logistic", rule, calibrator
    )
    return save_probe(probe, folder)


def full_contents(tmp_path: Path, **more: object) -> Contents:
    """Return contents with one of everything that ships, and a second adapter."""
    other = tmp_path / "other-adapter"
    if not other.exists():
        another_adapter(other)
    given = {
        "base": "tiny",
        "adapters": {"support": ADAPTER, "other": other},
        "classifiers": {"sentiment": SHIPPED},
        "verifier": SHIPPED_VERIFIER,
        "settings": {"engine.threads": 1, "server.drain_s": 20.0},
    }
    return Contents(**{**given, **more})


def make(tmp_path: Path, out: str = "bundle", **more: object) -> tuple[Path, Bundle]:
    """Return where a bundle of the embedded model now is, and what it says."""
    runtime = Runtime.load({"paths.bundles": tmp_path / "cache", "paths.runs": tmp_path / "runs"})
    place = tmp_path / out
    archive = out.endswith(".tar.gz")
    return place, make_bundle(runtime, full_contents(tmp_path, **more), place, archive=archive)
