"""A whole study on the embedded model, as small as one can be that still has pathways."""

import hashlib
from pathlib import Path
from typing import Any

from glassbox.pathways.config import StudyConfig
from glassbox.pathways.orchestration.workplace import Workplace

SMALL: dict[str, Any] = {
    "model": {"dtype": "float32", "device": "cpu"},
    "experiment": {
        "n_pairs": 6,
        "per_layer": 3,
        "layers": [2, 4, 6],
        "trials": 6,
        "max_new_tokens": 2,
        "batch_rows": 96,
    },
    "audit": {"n_permutations": 100, "least_trials": 5, "expected_trials": 6},
    "select": {"only_causal": False, "top_per_layer": 3},
    "contexts": {"top": 1, "spread": 1},
    "replay": {"doses": ["ablate"], "n_null": 4},
    "tokens": {"n_permutations": 20, "offsets": [0]},
    "integrate": {"n_prompts": 4, "n_graphs": 1, "n_cards": 4},
    "parallel": {"contexts_per_shard": 3},
}

TIMED = ("single_feature_test.json", ".done.json", ".lock", "config.json", ".step.json")
"""Ends of files that hold times, or digests of files that do."""


def config_in(folder: Path, **sections: dict[str, Any]) -> StudyConfig:
    merged = {name: {**keys, **sections.get(name, {})} for name, keys in SMALL.items()}
    extra = {name: keys for name, keys in sections.items() if name not in SMALL}
    study = {"study": {"name": "small", "out": str(folder)}}
    return StudyConfig.from_json({**merged, **extra, **study})


def place_of(config: StudyConfig, engine: Any) -> Workplace:
    place = Workplace(config, lambda _spec: engine)
    # The engine is the test's own: a study that ends must not close it.
    place.__dict__["engine"] = engine
    return place


def results_of(folder: Path) -> dict[str, str]:
    """Digest of every file that a resumed study has to give again."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(TIMED)
    }
