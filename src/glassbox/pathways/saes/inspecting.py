"""SAEs measured on texts: the model runs once, then its dictionaries one layer at a time.

Residuals of all layers are in memory together, so texts are few. Knows nothing of commands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float

from glassbox.engine.protocol import Engine
from glassbox.engine.states.taps import Taps
from glassbox.errors import NotEnoughData
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.gate import LoadReport, implausible, measure_load, usual_limits
from glassbox.progress import Progress
from glassbox.types import HookPoint

N_TOKENS = 4096
"""Positions that are measured by default; L0 of an SAE is then known to about one percent."""

LEASE_S = 600.0
"""How long the model may be held."""


@dataclass(frozen=True)
class Inspection:
    """One layer's SAE, measured and judged."""

    report: LoadReport
    problems: tuple[str, ...]
    """What about it cannot be; empty if nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**self.report.to_json(), "problems": list(self.problems)}


@dataclass(frozen=True, eq=False)
class _Read:
    residuals: dict[int, Float[torch.Tensor, "n d"]]
    special: Bool[torch.Tensor, "n"]


def inspect_dictionaries(
    engine: Engine,
    dictionaries: Dictionaries,
    texts: Sequence[str],
    *,
    n_tokens: int = N_TOKENS,
    progress: Progress | None = None,
) -> list[Inspection]:
    """Return what each SAE does on a model's own residuals, and what about it cannot be.

    Args:
        engine: Holds the model.
        dictionaries: One SAE a layer.
        texts: What the model reads; as many of them as ``n_tokens`` need.
        n_tokens: Positions at most, beginnings and special tokens included.
        progress: Is told of every layer.

    Raises:
        InvalidData: The SAEs are of another width or for layers that the model does not have.
        NotEnoughData: The texts are too short.
        NonFiniteOutput: The model computed NaN or infinity.
        UnsupportedModel: The model's layers are not known by name.
    """
    with engine.lend(lease_s=LEASE_S) as lent:
        taps = Taps(lent.model)
        width = int(lent.model.config.get_text_config().hidden_size)
        dictionaries.require_fits(d_model=width, n_layers=taps.n_layers)
        special = set(map(int, lent.tokenizer.all_special_ids))
        limit = min(engine.info.context, n_tokens)
        rows = [list(ids[:limit]) for ids in engine.codec.encode(texts) if len(ids) > 1]
        read = _read(lent.model, taps, _enough(rows, n_tokens), special, dictionaries.layers)
    found = []
    for sae in dictionaries.stream():
        report = measure_load(sae, read.residuals.pop(sae.layer), special=read.special)
        limits = usual_limits(sae.source, d_sae=sae.d_sae)
        found.append(Inspection(report, implausible(report, limits)))
        if progress is not None:
            progress(len(found), len(dictionaries.layers))
    return found


def _enough(rows: Sequence[list[int]], n_tokens: int) -> list[list[int]]:
    """Return the first texts that have so many tokens together, at least one."""
    kept: list[list[int]] = []
    total = 0
    for row in rows:
        if kept and total + len(row) > n_tokens:
            break
        kept.append(row)
        total += len(row)
    if not kept:
        raise NotEnoughData(
            "Inspecting an SAE", 0, 1, unit="text", remedy="Give texts of two tokens or more."
        )
    return kept


def _read(
    model: Any,
    taps: Taps,
    rows: Sequence[list[int]],
    special: set[int],
    layers: Sequence[int],
) -> _Read:
    points = {layer: HookPoint(layer, "resid_post") for layer in layers}
    parts: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    with torch.inference_mode(), taps.tapped(points.values()) as seen:
        for row in rows:
            # One text at a time: no padding, so every position is one of the text's own.
            model.base_model(input_ids=torch.tensor([row], device=model.device), use_cache=False)
            for layer, point in points.items():
                parts[layer].append(seen[point][0].to("cpu", torch.float32))
    marks = [at == 0 or token in special for row in rows for at, token in enumerate(row)]
    return _Read({layer: torch.cat(each) for layer, each in parts.items()}, torch.tensor(marks))
