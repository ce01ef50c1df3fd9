"""``python -m recipes.shipped_run RUN``: put a finished demo run into the package.

The run that ships lets ``glassbox charts shipped``, ``classify`` and ``logprobs`` work at once.
Make it with ``glassbox demo`` after the embedded model has changed, then run this. Charts, report
and cache stay behind: they are made again from the rows.
"""

import argparse
import shutil
from pathlib import Path

from glassbox.confidence.analysis.whole_run import reopen
from glassbox.confidence.run import RunFolder
from glassbox.runtime import SHIPPED_RUN

FILES = (
    "run.json",
    "test_set.json",
    "calibrators.json",
    "results.json",
    "classifier.json",
    "evaluation/base.parquet",
    "evaluation/tuned.parquet",
    "evaluation/tfidf.parquet",
    "adapter/README.md",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "adapter/glassbox.json",
    "adapter/training_curve.json",
    "adapter/tuned_on.parquet",
)


def main() -> None:
    """Copy what ships and check that it can be read."""
    parser = argparse.ArgumentParser(prog="python -m recipes.shipped_run", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run of the demo")
    source = parser.parse_args().run
    shutil.rmtree(SHIPPED_RUN, ignore_errors=True)
    for name in FILES:
        target = SHIPPED_RUN / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    final = reopen(RunFolder(SHIPPED_RUN)).final
    size = sum(path.stat().st_size for path in SHIPPED_RUN.rglob("*") if path.is_file())
    print(f"{SHIPPED_RUN}: {size / 2**20:.1f} MiB, {final.name} model, {final.chosen} calibrator")


if __name__ == "__main__":
    main()
