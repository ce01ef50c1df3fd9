"""A finished probe on other rows: read while the model runs, as a server reads it.

Rows whose group fitted the probe are left out and counted, so that the figures are of rows it never
saw. Knows nothing of how probes are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Request
from glassbox.errors import InvalidValue, NotEnoughData
from glassbox.introspection.probes.capture_cache import CapturePlan, adapter_digest, row_requests
from glassbox.introspection.probes.figures import (
    Detection,
    DomainFigures,
    by_domain,
    detection,
)
from glassbox.introspection.probes.probe import LinearProbe, ProbeReading
from glassbox.introspection.probes.rows import ProbeRow, ProbeRows
from glassbox.progress import Progress, untold

CHUNK_ROWS = 256
"""Rows between two reports of progress."""


@dataclass(frozen=True, eq=False)
class ProbeEvaluation:
    """How a probe fares on some rows."""

    probe: str
    """Its name."""
    target: str
    """What it was trained to find."""
    found_target: str
    """What was looked for here."""
    n_seen: int
    """Rows left out because their group fitted the probe."""
    figures: Detection
    """On all others."""
    domains: tuple[DomainFigures, ...]
    """By domain, where there are several."""


def evaluate_probe(
    engine: Engine,
    probe: LinearProbe,
    rows: ProbeRows,
    *,
    adapter: str | None = None,
    seed: int = 0,
    progress: Progress = untold,
) -> ProbeEvaluation:
    """Return how a probe fares on rows it never saw.

    Raises:
        AdapterMismatch: The probe was made for another model or adapter.
        NotEnoughData: No unseen row of one kind.
        InvalidData: A row that the model cannot read, by line.
        InvalidValue: Texts alone for a probe that reads responses.
    """
    probe.check(engine.info, adapter_digest(engine, adapter))
    unseen = [i for i, row in enumerate(rows.rows) if row.key not in probe.trained_on]
    positive = rows.is_positive[unseen]
    if not unseen or positive.all() or not positive.any():
        raise NotEnoughData(
            f"Evaluating a probe (rows of the rarer kind that it never saw; {len(unseen)} unseen)",
            int(min(positive.sum(), (~positive).sum())) if unseen else 0,
            1,
        )
    chosen = [rows.rows[i] for i in unseen]
    readings = read_rows(engine, probe, chosen, adapter=adapter, progress=progress)
    logits = np.array([each.probe_logit for each in readings], dtype=np.float64)
    groups, domains = [row.group for row in chosen], [row.domain for row in chosen]
    return ProbeEvaluation(
        probe=probe.name,
        target=probe.target,
        found_target=rows.target,
        n_seen=len(rows.rows) - len(unseen),
        figures=detection(
            logits, probe.probs(logits), positive, groups, thresholds=probe.thresholds, seed=seed
        ),
        domains=by_domain(logits, {}, positive, groups, domains, seed=seed),
    )


def read_rows(
    engine: Engine,
    probe: LinearProbe,
    rows: Sequence[ProbeRow],
    *,
    adapter: str | None = None,
    progress: Progress = untold,
) -> list[ProbeReading]:
    """Return the probe's reading of each row, in one pass each and without captured states.

    Raises:
        InvalidData: A row that the model cannot read, by line.
        InvalidValue: Texts alone for a probe that reads responses.
    """
    if probe.scope == "generated" and any(row.response is None for row in rows):
        raise InvalidValue("scope of the probe", "generated", "rows with a prompt and a response")
    plan = CapturePlan((probe.point.layer,), (probe.pooling,), probe.scope, adapter)
    requests = [_reading(each, probe) for each in row_requests(engine, rows, plan)]
    found: list[ProbeReading] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        for row, answer in zip(
            rows[start : start + CHUNK_ROWS],
            engine.generate(requests[start : start + CHUNK_ROWS]),
            strict=True,
        ):
            # A text alone goes to the engine in two pieces, and all of it is the text.
            values = answer.readouts[probe.name]
            found.append(probe.reading(values) if row.response is None else probe.read(answer))
        progress(len(found), len(rows))
    return found


def _reading(request: Request, probe: LinearProbe) -> Request:
    return replace(request, capture=None, readouts=(probe.readout(),), readout_scope="all")
