"""Usable records of the response logs with their texts, one at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glassbox.pathways.study.conditions import CONDITIONS
from glassbox.pathways.study.json_stream import stream_records
from glassbox.pathways.study.responses import response_files

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class LogRecord:
    """One response."""

    feature: str
    """The latent that was patched, or would have been."""
    condition: str
    """One of the six."""
    response: str
    """What the model wrote; not empty."""
    prompt: str
    """What it was asked; empty where the record has none."""
    trial: int | None
    """Number of the trial."""
    decision: str | None
    """What the response decided, where that could be read."""
    file: str
    """Name of the file."""
    record: int
    """Number in the file, 0-based."""


def read_log_records(folder: Path) -> Iterator[LogRecord]:
    """Yield every usable record of a folder's logs, in the order of files and records.

    What cannot be used is passed over: the audit has listed it.
    """
    for path in response_files(folder):
        for number, value in stream_records(path, _silent):
            if not isinstance(value, dict):
                continue
            feature, condition = value.get("feature"), value.get("condition")
            response, prompt = value.get("response"), value.get("prompt")
            trial, decision = value.get("trial"), value.get("decision")
            if not isinstance(response, str) or not response.strip():
                continue
            if not isinstance(feature, str) or condition not in CONDITIONS:
                continue
            yield LogRecord(
                feature,
                str(condition),
                whole_characters(response),
                whole_characters(prompt) if isinstance(prompt, str) else "",
                trial if isinstance(trial, int) and not isinstance(trial, bool) else None,
                decision if isinstance(decision, str) else None,
                path.name,
                number,
            )


def whole_characters(text: str) -> str:
    """Return a text in which the half characters of damaged files are replaced by �."""
    return _HALF.sub("\ufffd", text)


def _silent(_code: str, _words: str) -> None:
    """Take note of nothing."""
