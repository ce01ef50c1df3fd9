"""Versions that misbehave on purpose, for demos and tests of rollouts. Knows no registry.

Each is a plain function of features, to be registered by its import path, as in
``glassbox versions register glassbox.testing.versions:hasty``.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from glassbox.errors import InvalidValue

CHOKES_ON: Final = ("not", "n't", "never", "nobody")
"""Words at which ``hasty`` gives up."""


def hasty(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer made of nothing but the text's hash, far too sure of itself.

    What an untested version may well do: it fails where a text holds a negation, and is as sure of
    its wrong answers as of its right ones.

    Raises:
        InvalidValue: The text holds a negation.
    """
    text = str(features["text"])
    if any(word in text.lower().split() for word in CHOKES_ON):
        raise InvalidValue("text", text[:20], "one without a negation")
    is_positive = hashlib.sha256(text.encode()).digest()[0] % 2 == 1
    positive = 0.97 if is_positive else 0.03
    return {"label_probs": {"negative": 1.0 - positive, "positive": positive}}
