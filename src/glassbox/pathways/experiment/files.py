"""Checkpoints and response logs, in the study's schema. No torch.

One checkpoint and one log for each part of the latents. The log is written first, so that a
checkpoint never speaks of responses that are not there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from glassbox.artifacts import read_json, write_bytes
from glassbox.errors import ConflictError, CorruptArtifact

CHECKPOINT = "comprehensive_patching_checkpoint_{:05d}.json"
LOG = "responses_{:05d}.json"
"""Names by number of the part, from 1 on."""


def write_part(
    checkpoints: Path,
    logs: Path,
    number: int,
    results: Sequence[Mapping[str, Any]],
    responses: Sequence[Mapping[str, Any]],
    made_with: str,
) -> None:
    """Write the log and then the checkpoint of one part.

    Raises:
        NoDiskSpace: The device is full; finished parts are kept.
    """
    lines = b",\n".join(orjson.dumps(each) for each in responses)
    write_bytes(logs / LOG.format(number), b"[\n" + lines + b"\n]\n")
    content = {"results": list(results), "made_with": made_with}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_bytes(checkpoints / CHECKPOINT.format(number), orjson.dumps(content, option=options))


def read_part(
    checkpoints: Path, logs: Path, number: int, made_with: str
) -> list[dict[str, Any]] | None:
    """Return the results of a finished part, or None where it is not finished.

    Raises:
        ConflictError: It was made under another configuration.
        CorruptArtifact: It is damaged.
    """
    path = checkpoints / CHECKPOINT.format(number)
    if not path.is_file() or not (logs / LOG.format(number)).is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise CorruptArtifact(path, "no checkpoint", remedy="Remove it to have it made anew.")
    if content.get("made_with") != made_with:
        raise ConflictError(
            f"{path} was made under another configuration. Use another study.out, or remove the "
            "experiment's files to have them made anew."
        )
    return list(content["results"])
