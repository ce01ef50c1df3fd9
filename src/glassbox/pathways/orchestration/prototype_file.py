"""``single_feature_test.json``: what the rehearsal with one latent left, read back. No torch.

Source: the study's plan, "Step 2", for the file's name and its fields feature, upstream_candidates
and memory_usage_gb.
"""

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from glassbox.artifacts import read_object
from glassbox.errors import CorruptArtifact, InvalidData

SCHEMA: Final = 1
"""Version of the layout."""


class _Candidate(BaseModel):
    source: str
    activation: float
    gradient: float
    attribution: float


class _Stage(BaseModel):
    name: str
    seconds: float
    added_bytes: float
    peak_bytes: float


class _Step(BaseModel):
    step: str
    seconds: float
    peak_bytes: float
    disk_bytes: float


class _Forecast(BaseModel):
    steps: list[_Step]
    peak_bytes: float
    limit_bytes: float
    memory: str


class _Prototype(BaseModel):
    feature: str
    n_tokens: int
    position: int
    activation: float
    upstream_candidates: list[_Candidate]
    stages: list[_Stage]
    forecast: _Forecast


def read_prototype(path: Path) -> dict[str, Any]:
    """Return the file's content; all that is shown of it is there.

    Raises:
        InvalidData: There is no such file yet.
        CorruptArtifact: It is damaged or of another schema.
    """
    if not path.is_file():
        raise InvalidData(
            "not there yet: run 'glassbox pathways prototype' first", source=str(path)
        )
    content = read_object(path, schema=SCHEMA)
    try:
        _Prototype.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptArtifact(
            path,
            f"not what 'prototype' writes ({where}: {first['msg']})",
            remedy="Run 'glassbox pathways prototype' with --fresh.",
        ) from error
    return content
