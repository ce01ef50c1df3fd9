"""Small engines and SAEs for tests, ours and yours: of random weights, and a fake without any.

Each name is imported when it is first used, so that what needs no torch does without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glassbox.testing.fake import FakeEngine
    from glassbox.testing.sae import shipped_saes, tiny_sae
    from glassbox.testing.tiny import ARCHITECTURES, tiny_engine, tiny_loaded, tiny_tokenizer

_HOMES = {
    "ARCHITECTURES": "tiny",
    "FakeEngine": "fake",
    "shipped_saes": "sae",
    "tiny_sae": "sae",
    "tiny_engine": "tiny",
    "tiny_loaded": "tiny",
    "tiny_tokenizer": "tiny",
}

__all__ = [
    "ARCHITECTURES",
    "FakeEngine",
    "shipped_saes",
    "tiny_engine",
    "tiny_loaded",
    "tiny_sae",
    "tiny_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
