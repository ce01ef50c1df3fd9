"""Small patching studies on disk, with known effects, for the tests of the audit."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.pathways.study.conditions import CONDITIONS, CONTRASTS

CONTRAST = CONTRASTS[0]


@dataclass
class MadeStudy:
    """Records that can be spoilt before they are written."""

    results: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    checkpoints_per_file: int = 7
    logs_per_file: int = 500
    folders: dict[str, Path] = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write checkpoints and logs; returns both folders."""
        analysis, logs = folder / "analysis", folder / "response_logs"
        for each in (analysis, logs):
            each.mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(_parts(self.results, self.checkpoints_per_file)):
            path = analysis / f"comprehensive_patching_checkpoint_{number:03d}.json"
            path.write_text(json.dumps({"made": "by a test", "results": part, "n": len(part)}))
        for number, part in enumerate(_parts(self.logs, self.logs_per_file)):
            (logs / f"responses_{number:03d}.json").write_text(json.dumps(part))
        return analysis, logs


def made_study(
    *,
    n_latents: int = 12,
    n_trials: int = 30,
    effects: dict[int, float] | None = None,
    layers: int = 3,
    seed: int = 0,
    named_contrast: bool = True,
    outcome: str = "decision",
) -> MadeStudy:
    """A study without effects, but for ``effects``: place of a latent to its change of P(stop)."""
    rng = np.random.default_rng(seed)
    results, logs = [], []
    for place in range(n_latents):
        layer, index = place % layers, 100 + place
        name = f"L{layer}-{index}"
        values = {}
        for condition in CONDITIONS:
            stop = 0.5 + ((effects or {}).get(place, 0.0) if condition == CONTRAST[0] else 0.0)
            draws = (
                (rng.random(n_trials) < stop).astype(float)
                if outcome == "decision"
                else stop + 0.1 * rng.normal(size=n_trials)
            )
            values[condition] = draws
            for trial, drawn in enumerate(draws):
                decided = drawn if outcome == "decision" else float(drawn > 0.5)
                record = {
                    "feature": name,
                    "condition": condition,
                    "response": f"I {'stop' if decided else 'continue'} now, {rng.integers(1e9)}.",
                    "trial": trial,
                    "prompt": f"{condition.split('_')[0]} prompt {trial}",
                    "decision": "stop" if decided else "continue",
                }
                if outcome != "decision":
                    record[outcome] = float(drawn)
                logs.append(record)
        results.append(
            {
                "feature": name,
                "layer": layer,
                "feature_id": index,
                "is_causal": True,
                "cohen_d": plain_d(values[CONTRAST[0]], values[CONTRAST[1]]),
                **({"contrast": list(CONTRAST), "outcome": outcome} if named_contrast else {}),
            }
        )
    return MadeStudy(results, logs)


def plain_d(treated: np.ndarray, baseline: np.ndarray) -> float | None:
    """Cohen's d by its definition; None without spread."""
    n1, n0 = treated.size, baseline.size
    pooled = ((n1 - 1) * treated.var(ddof=1) + (n0 - 1) * baseline.var(ddof=1)) / (n1 + n0 - 2)
    return float((treated.mean() - baseline.mean()) / np.sqrt(pooled)) if pooled > 0 else None


def _parts(records: list[Any], size: int) -> list[list[Any]]:
    return [records[start : start + size] for start in range(0, len(records), size)]
