"""A representative prompt of each selected latent and its response, for ``prompts_sample.json``.

Taken from the responses in which nothing was patched, where there are any: the prototype looks at
what the model does by itself. Of these it is the one of median length, so that neither a stub nor
the longest text stands for the others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from glassbox.artifacts import read_json, write_json
from glassbox.errors import CorruptArtifact
from glassbox.pathways.study.conditions import CONDITIONS, RISKY_BASELINE, SAFE_BASELINE
from glassbox.pathways.study.log_records import LogRecord, read_log_records
from glassbox.pathways.study.responses import Responses
from glassbox.pathways.study.selection import Selection

PREFERRED: Final = (RISKY_BASELINE, SAFE_BASELINE)
"""Conditions without a patch, in the order in which they are looked for."""


def sample_prompts(
    selection: Selection, responses: Responses, folder: Path
) -> dict[str, dict[str, Any]]:
    """Return a prompt and response for each selected latent that has logs.

    Args:
        selection: The latents.
        responses: The logs as columns.
        folder: The same logs' folder, from which the chosen texts are read.
    """
    wanted = representative_rows(selection, responses)
    places = {
        (responses.files[responses.file[row]].name, int(responses.record[row])): name
        for name, row in wanted.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for each in read_log_records(folder):
        name = places.get((each.file, each.record))
        if name is not None:
            found[name] = _entry(each)
    return {each.name: found[each.name] for each in selection.latents if each.name in found}


def representative_rows(selection: Selection, responses: Responses) -> dict[str, int]:
    """Return the row of the representative response of each selected latent that has logs."""
    order = [*PREFERRED, *(each for each in CONDITIONS if each not in PREFERRED)]
    preference = np.array([order.index(each) for each in CONDITIONS])
    rank = preference[responses.condition] + len(order) * (responses.prompt == 0)
    by_latent = np.argsort(responses.latent, kind="stable")
    starts = np.searchsorted(responses.latent[by_latent], np.arange(len(responses.names) + 1))
    place = {name: number for number, name in enumerate(responses.names)}
    chosen = {}
    for each in selection.latents:
        number = place.get(each.name)
        if number is None:
            continue
        rows = by_latent[starts[number] : starts[number + 1]]
        rows = rows[responses.first[rows]]
        rows = rows[rank[rows] == rank[rows].min()]
        ordered = rows[np.lexsort((rows, responses.length[rows]))]
        chosen[each.name] = int(ordered[(ordered.size - 1) // 2])
    return chosen


def write_prompts(sample: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        NoDiskSpace: The device is full.
    """
    write_json(path, dict(sample))


def read_prompts(path: Path) -> dict[str, dict[str, Any]]:
    """Return prompt, response and condition by the latent's name.

    Raises:
        CorruptArtifact: The file is absent or damaged.
    """
    content = read_json(path)
    entries = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(each, dict) and "prompt" in each for each in entries):
        raise CorruptArtifact(path, "not a sample of prompts by latent")
    return dict(content)


def _entry(each: LogRecord) -> dict[str, Any]:
    return {
        "prompt": each.prompt,
        "response": each.response,
        "condition": each.condition,
        "trial": each.trial,
        "decision": each.decision,
        "file": each.file,
        "record": each.record,
    }
