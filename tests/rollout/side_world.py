"""One server's side over a database of its own, with plain functions as versions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from glassbox.rollout.assembly.assembling import Given, Watchers, assemble_side
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.rollout.shadow import shadows
from glassbox.rollout.shadow.limits import ChildLimits
from glassbox.rollout.versions.registering import Offer
from glassbox.runtime import Runtime

CODE = """
import os
import time

from glassbox.rollout.prediction import Prediction

def steady(features):
    return {"prediction": features["x"] / 2, "confidence": 0.9}

def other(features):
    return {"prediction": features["x"] / 2 + 0.1, "confidence": 0.7}

def classes(features):
    return {"label_probs": {"no": 1 - features["x"], "yes": features["x"]}}

def picky(features):
    if features["x"] > 0.5:
        raise ValueError("the secret words of the user")
    return features["x"]

def changing(features):
    features["x"] = 99.0
    return 0.5

def changing_deeply(features):
    features["deep"]["list"].append(1.0)
    return 0.5

def cutting(features):
    return Prediction(0.5, truncated=features["x"] > 0.5)

def counting(features):
    return float(len(features["deep"]["list"]))

def sleepy(features):
    time.sleep(features["x"])
    return 0.5

def deadly(features):
    os._exit(3)

def held(features):
    while not GATE.exists():
        time.sleep(0.01)
    return 0.5
"""

SCHEMA = {"features": [{"name": "x", "type": "number", "low": 0.0}]}

QUICK = {
    "rollout.noise_floor": 0.0,
    "rollout.interval_s": 0.2,
    # A challenger's process may take long to begin on a machine that does much else.
    "rollout.max_wait_shadow_s": 60.0,
    "rollout.shadow_timeout_s": 30.0,
    "alerts.interval_s": 0.2,
}


def settings_of(folder: Path, **more: object) -> dict[str, object]:
    """Return settings of a world in a folder."""
    return {
        "storage.url": f"sqlite:///{folder}/glassbox.db",
        "paths.versions": str(folder / "versions"),
        # Another name than the embedded model's: nothing is registered by itself.
        "engine.model": "none",
        **QUICK,
        **more,
    }


def _gate(folder: Path) -> Path:
    return folder / "gate"


def let_go(folder: Path) -> None:
    """Let every version of a world go on that is held."""
    _gate(folder).touch()


@contextmanager
def open_side(
    folder: Path,
    *names: str,
    watchers: Watchers | None = None,
    starts: bool = True,
    schema: Mapping[str, Any] | None = SCHEMA,
    yields: bool = False,
    **settings: object,
) -> Iterator[RolloutSide]:
    """Yield a side whose first version is champion and whose others are challengers.

    These yield to all else only where it is said: where other tests keep the processors busy, one
    that does takes seconds to start.
    """
    code = folder / "models.py"
    code.write_text(f"import pathlib\n\nGATE = pathlib.Path({str(_gate(folder))!r})\n{CODE}")
    overrides = {key.replace("__", "."): value for key, value in settings.items()}
    runtime = Runtime.load(settings_of(folder, **overrides))
    registry, loaders = runtime.registry(is_strict=False), runtime.version_loaders()
    registrar = runtime.registrar(registry)
    for place, name in enumerate(names):
        offer = Offer(f"{code}:{name}", name=name, input_schema=schema)
        version = registrar.register(offer, actor="test").version
        alias = "champion" if not place else f"challenger-{place}" if place > 1 else "challenger"
        if registry.snapshot(is_fresh=True).aliased(alias) is None:
            registry.move_alias(
                "default", alias, version.number, expected=None, actor="test", reason="set up"
            )
    # The challengers above may be as bad as they like; what is registered later is tried first.
    trying = runtime.registrar(registry, loaders)
    limits = partial(ChildLimits, yields=yields)
    side = assemble_side(runtime.settings, Given(registry, trying, loaders, None, watchers))
    with patch.object(shadows, "ChildLimits", limits):
        if starts:
            side.start()
        try:
            yield side
        finally:
            side.close()
            registry._database.close()
