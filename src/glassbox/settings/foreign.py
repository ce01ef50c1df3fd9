"""What other libraries read from the environment and can be told in no other way."""

import os
from typing import Final

MLFLOW_TELEMETRY: Final = "MLFLOW_DISABLE_TELEMETRY"
"""Read by MLflow while it is imported; without it, it tells its makers what is done with it."""


def keep_mlflow_silent() -> None:
    """Tell MLflow to report to nobody, unless the environment says otherwise; before its import."""
    os.environ.setdefault(MLFLOW_TELEMETRY, "true")


def keep_ray_silent() -> None:
    """Let Ray clusters that start here report to nobody, unless the environment says otherwise."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


SPIN_COUNT: Final = "3000"
"""Turns for which a thread of OpenMP waits awake for the others; the library's own is a hundred
times as many, and takes a core from whatever else runs. Source: benchmarks/busy_cores.py."""


def keep_torch_from_spinning() -> None:
    """Let torch's threads wait awake only briefly, here and in child processes; before its import.

    Whoever has set either variable of the OpenMP library knows better.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
