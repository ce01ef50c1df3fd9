"""Whole runs of the main job, for tests that look at what comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassbox.confidence.job import DataChoice, Job
from glassbox.confidence.pipeline import MainJob, Outcome
from glassbox.engine.resident import load_engine
from glassbox.types import ModelSpec

POLARITY = '[classes.positive]\nvalues = [1, "pos"]\n[classes.negative]\nvalues = [0, "neg"]\n'
"""A labels.toml for data whose labels are numbers."""


@contextmanager
def silent(_description: str) -> Iterator:
    yield lambda _done, _total: None


def quick_job(model: str | Path, data: str | Path, out: Path, **changes) -> Job:
    return Job(model=ModelSpec(str(model)), data=DataChoice(str(data)), out=out, **changes)


def run_job(job: Job) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return MainJob(job, load_engine, silent, said.append).evaluate(), said
