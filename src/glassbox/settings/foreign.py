"""What other libraries read from the environment and can be told in no other way."""

import os
from typing import Final

MLFLOW_TELEMETRY: Final = "MLFLOW_DISABLE_TELEMETRY"
"""Read by MLflow while it is imported; without it, it tells its makers what is done with it."""


def keep_mlflow_silent() -> None:
    """Tell MLflow to report to nobody, unless the environment says otherwise; before its import."""
    os.environ.setdefault(MLFLOW_TELEMETRY, "true")
