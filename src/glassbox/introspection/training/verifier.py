"""``verify train``: graded responses in, a verifier's folder out, resumable.

Asks the model in chunks that are kept on disk by digest, so that a killed run goes on where it
was; then fits, measures on the test part and writes. Draws nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from glassbox.artifacts import digest_json, read_json, write_json
from glassbox.errors import CorruptArtifact
from glassbox.introspection.evidence.gathering import as_it_stands, gather
from glassbox.introspection.evidence.swaps import learn_swaps
from glassbox.introspection.evidence.witness import Plan, Witness
from glassbox.introspection.probes.file import save_probe
from glassbox.introspection.probes.probe import LinearProbe
from glassbox.introspection.training.figures import Figures, Judged, judge_rows, measure
from glassbox.introspection.training.fusions import (
    PARTS,
    Recipe,
    Values,
    fit_fusions,
    fitting_origins,
    split,
)
from glassbox.introspection.training.graded import GradedRow, data_digest
from glassbox.introspection.verifier.file import PROBES_FOLDER, VerifierManifest
from glassbox.progress import Progress

CHUNK: Final = 100
"""Prompts asked about before their evidence is written."""

EVIDENCE_FOLDER: Final = "evidence"
"""Folder of a verifier with what was read of each response."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A verifier and what it reached."""

    manifest: VerifierManifest
    """The verifier."""
    figures: Figures
    """On the test part."""
    judged: Judged
    """The test part, row by row."""
    n_parts: dict[str, int]
    """Rows in each part."""


def train_verifier(
    witness: Witness,
    rows: Sequence[GradedRow],
    folder: Path,
    recipe: Recipe,
    *,
    probes: Sequence[LinearProbe] = (),
    progress: Progress | None = None,
) -> Trained:
    """Return a verifier fitted on graded rows, written to a folder.

    Args:
        witness: The model and how it is asked; which tokens are swapped is learned here where
            there are prompts enough.
        rows: The graded responses.
        folder: Where the verifier and its evidence are kept.
        recipe: How it is fitted.
        probes: Probes that read along, copied into the folder.
        progress: Called as responses have been read.

    Raises:
        NotEnoughData: Too few right or wrong responses in a part.
        GlassboxError: As the engine.
    """
    rows = [replace(row, prompt=witness.plan.framed(row.prompt)) for row in rows]
    parts = split(rows, recipe)
    # Reading may take hours: what it cannot lead to is said before it.
    fitting_origins(rows, parts)
    plan = with_swaps(witness, [row.prompt for row in rows])
    witness = replace(witness, plan=plan, probes=tuple(probes))
    values = _values(witness, rows, folder / EVIDENCE_FOLDER, progress)
    fusions = fit_fusions(rows, values, parts, recipe)
    test = [at for at, part in enumerate(parts) if part == "test"]
    judged = judge_rows([rows[i] for i in test], [values[i] for i in test], fusions)
    figures = measure(judged, seed=recipe.seed)
    for probe in probes:
        save_probe(probe, folder / PROBES_FOLDER / probe.name)
    info = witness.engine.info
    manifest = VerifierManifest(
        model=info.name,
        model_digest=info.digest,
        plan=plan,
        fusions=fusions,
        data_digest=data_digest(rows),
        figures=figures.to_json(),
        probes=tuple(probe.name for probe in probes),
        seed=recipe.seed,
    )
    manifest.save(folder)
    return Trained(manifest, figures, judged, {name: parts.count(name) for name in PARTS})


def with_swaps(witness: Witness, prompts: Sequence[str]) -> Plan:
    """Return the plan with the tokens that may be swapped, learned from prompts."""
    if witness.plan.swaps is not None:
        return witness.plan
    distinct = list(dict.fromkeys(prompts))
    return replace(
        witness.plan, swaps=learn_swaps([witness.encode(prompt).ids for prompt in distinct])
    )


def standing_pairs(witness: Witness, rows: Sequence[GradedRow]) -> list[tuple[str, str]]:
    """Return each row's prompt, and its response as it stands behind it."""
    codec = witness.engine.codec
    return [(row.prompt, as_it_stands(codec, row.prompt, row.response)) for row in rows]


def _values(
    witness: Witness, rows: Sequence[GradedRow], folder: Path, progress: Progress | None
) -> list[Values]:
    standing = standing_pairs(witness, rows)
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    found: dict[tuple[str, str], Values] = {}
    for start in range(0, len(prompts), CHUNK):
        chunk = set(prompts[start : start + CHUNK])
        pairs = list(dict.fromkeys(pair for pair in standing if pair[0] in chunk))
        found |= dict(zip(pairs, _chunk(witness, pairs, folder), strict=True))
        if progress is not None:
            progress(sum(pair in found for pair in standing), len(rows))
    return [found[pair] for pair in standing]


def _chunk(witness: Witness, pairs: list[tuple[str, str]], folder: Path) -> list[Values]:
    plan = witness.plan
    swaps = None if plan.swaps is None else plan.swaps.to_json()
    asked = asdict(replace(plan, swaps=None)) | {"swaps": swaps}
    probes = [
        [probe.name, probe.readout().weight.tolist(), probe.readout().bias]
        for probe in witness.probes
    ]
    key = digest_json([witness.engine.info.digest, witness.adapter, asked, probes, pairs])
    path = folder / f"{key[:24]}.json"
    if path.exists():
        values = read_json(path)
        if not isinstance(values, list) or len(values) != len(pairs):
            raise CorruptArtifact(path, "not the evidence it is named after",
                                  remedy="Delete it; it will be read again.")  # fmt: skip
        return values
    found: list[Values] = [dict(each.values) for each in gather(witness, pairs)]
    write_json(path, found)
    return found
