"""A study whose corpus is long enough for several shards, up to where the corpus is read."""

import random
from pathlib import Path
from typing import Any

from glassbox.pathways.config import StudyConfig
from glassbox.pathways.orchestration.steps import do_step
from tests.pathways.orchestration.small_study import place_of
from tests.pathways.study.studies import made_study

TEXT = "stop play the wheel again bet less more risk safe now a win loss and count my coins"
WORDS = TEXT.split()


def long_config(root: Path, folder: Path, **parallel: Any) -> StudyConfig:
    """The study in a folder, on the logs in another; a shard is one forward pass."""
    return StudyConfig.from_json(
        {
            "study": {"name": "long", "out": str(folder)},
            "model": {"dtype": "float32", "device": "cpu"},
            "data": {
                "checkpoints": str(root / "analysis"),
                "response_logs": str(root / "response_logs"),
            },
            "audit": {"n_permutations": 100},
            "select": {"only_causal": False, "top_per_layer": 4},
            "contexts": {"max_tokens": 128},
            "tokens": {"n_permutations": 20, "offsets": [0]},
            "parallel": {"passes_per_shard": 1, **parallel},
        }
    )


def write_long_logs(root: Path, *, n_trials: int) -> None:
    """Write the study's checkpoints and logs: eight latents, six conditions, a text a trial."""
    rng = random.Random(0)
    study = made_study(n_latents=8, n_trials=n_trials, layers=4)
    for record in study.logs:
        record["prompt"] = " ".join(rng.choices(WORDS, k=10))
        record["response"] = " ".join(rng.choices(WORDS, k=rng.randint(30, 70)))
    study.write(root)


def up_to_the_corpus(root: Path, folder: Path, engine: Any, **parallel: Any) -> StudyConfig:
    """Do the steps before ``tokens``; they need no model."""
    config = long_config(root, folder, **parallel)
    for step in ("audit", "select"):
        do_step(place_of(config, engine), step)
    return config
