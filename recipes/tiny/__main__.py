"""``python -m recipes.tiny STEP``: rebuild the embedded world, in whole or in part."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from recipes.tiny import world


def _pretrain() -> None:
    """Trains, then installs the checkpoint that the development set prefers."""
    world.run_pretraining()
    checkpoint = world.choose_checkpoint(world.CHECKPOINTS / "log.jsonl")
    world.install_checkpoint(checkpoint)
    print(f"installed {checkpoint.name}")


def _evaluate() -> None:
    """Measures what ships and writes metrics.json."""
    report = world.run_evaluation()
    print(json.dumps(report, indent=2))


STEPS: dict[str, Callable[[], None]] = {
    "dataset": world.make_dataset,
    "tokenizer": world.make_tokenizer,
    "corpus": world.make_corpus,
    "pretrain": _pretrain,
    "evaluate": _evaluate,
}


def main() -> None:
    """Runs one step, installs a given checkpoint, or runs all steps in order."""
    parser = argparse.ArgumentParser(prog="python -m recipes.tiny", description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "install", "all"])
    parser.add_argument("--checkpoint", type=Path, help="for install: folder of the checkpoint")
    arguments = parser.parse_args()
    if arguments.step == "install":
        if arguments.checkpoint is None:
            parser.error("install needs --checkpoint")
        world.install_checkpoint(arguments.checkpoint)
        return
    names = list(STEPS) if arguments.step == "all" else [arguments.step]
    for name in names:
        started = time.monotonic()
        STEPS[name]()
        print(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
