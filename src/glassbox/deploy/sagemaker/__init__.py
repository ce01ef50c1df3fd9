"""Amazon SageMaker: the toolkit's four functions, and an endpoint made, changed and removed.

The names below are imported when they are first used, so that planning needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassbox.deploy.sagemaker.handlers import (
        JSON_TYPE,
        ShadowSelfModel,
        input_fn,
        model_fn,
        output_fn,
        predict_fn,
        shadow_self,
    )

__all__ = [
    "JSON_TYPE",
    "ShadowSelfModel",
    "input_fn",
    "model_fn",
    "output_fn",
    "predict_fn",
    "shadow_self",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("glassbox.deploy.sagemaker.handlers"), name)
