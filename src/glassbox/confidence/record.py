"""What a run writes down about itself: the classifier's manifest and ``run.json``."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from glassbox.artifacts import Classifier, Part, digest_json
from glassbox.confidence.analysis.whole_run import RunAnalysis, decided, reopen
from glassbox.confidence.evaluation.rows import Overlong
from glassbox.confidence.job import Job
from glassbox.confidence.labels import LabelSet
from glassbox.confidence.material import Material
from glassbox.confidence.run import RunFolder
from glassbox.engine.protocol import Engine, EngineInfo

VERSIONED = ("glassbox-llm", "torch", "transformers", "peft", "scikit-learn", "numpy")
"""Distributions whose versions a run records."""


def manifest(
    job: Job,
    engine: Engine,
    labels: LabelSet,
    analysis: RunAnalysis,
    adapter: Path | None,
    adapter_digest: str | None,
) -> Classifier:
    """Return the manifest of the classifier that a run made."""
    final = analysis.final
    part = None
    if adapter is not None and adapter_digest is not None:
        own = adapter.resolve() == RunFolder(job.out).adapter.resolve()
        part = Part(path=adapter.name if own else str(adapter.resolve()), digest=adapter_digest)
    return Classifier(
        base=Part(path=job.model.model, digest=engine.info.digest),
        labels=labels.to_json(),
        prompt_digest=labels.digest,
        adapter=part,
        overlong=job.overlong,
        made_from=digest_json(
            [
                final.rows.held_out.texts,
                [int(each) for each in final.rows.held_out.labels],
                job.seed,
            ]
        ),
        **decided(final),
    )


def base_manifest(folder: RunFolder, manifest: Classifier) -> Classifier:
    """Return the classifier that a run's base model makes, with its own calibrator and threshold.

    Raises:
        CorruptArtifact: A file of the run is damaged.
    """
    return replace(manifest, adapter=None, **decided(reopen(folder).models["base"]))


def run_record(
    job: Job,
    info: EngineInfo,
    material: Material,
    seconds: Mapping[str, float],
    overlong: Mapping[str, Overlong],
    classifier: Classifier,
) -> dict[str, Any]:
    """Return the content of ``run.json``: what was asked, of what, where and how long it took."""
    texts = material.texts
    return {
        "job": job.describe(),
        "data": {
            "source": str(texts.source),
            "format": texts.format,
            "encoding": texts.encoding,
            "digest": texts.digest,
            "n_rows": len(texts.texts),
            "parts": asdict(material.split.sizes),
            "description": material.description,
        },
        "overlong": {name: asdict(each) for name, each in overlong.items()},
        "model": asdict(info),
        "classifier": classifier.digest,
        "versions": {name: _version(name) for name in VERSIONED}
        | {"python": platform.python_version()},
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
        },
        "seconds": dict(seconds),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
