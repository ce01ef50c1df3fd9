"""Pathways as rows: the kept candidates, and what exhaustive replay verified below the cut."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glassbox.errors import CorruptArtifact
from glassbox.pathways.integration.graph import study_graph
from glassbox.pathways.integration.inputs import pathway_rows, replay_summary
from glassbox.pathways.integration.values import LatentRow

ENDS = {"target": "L1-5", "target_layer": 1, "source_layer": 0}


def test_what_replay_verified_below_the_cut_is_in_the_graph_with_its_gradients(tmp_path):
    shares = {"L0-1": (0.2, True), "L0-2": (0.009, False), "L0-3": (0.008, False)}
    candidates = [
        ENDS | {"source": source, "attribution_share": share, "attribution_mean": -share}
        | {"kept": is_kept}
        for source, (share, is_kept) in shares.items()
    ]  # fmt: skip
    measured = [
        ENDS | {"source": source, "dose": "ablate", "measured_pre": 1.0, "verified": verified}
        for source, verified in (("L0-1", True), ("L0-2", True), ("L0-3", False), ("L0-4", True))
    ]
    pq.write_table(pa.Table.from_pylist(candidates), tmp_path / "candidates.parquet")
    pq.write_table(pa.Table.from_pylist(measured), tmp_path / "validated.parquet")
    rows = pathway_rows(tmp_path / "candidates.parquet", tmp_path / "validated.parquet")
    assert [(row.source, row.attribution_share) for row in rows] == [
        ("L0-1", 0.2), ("L0-2", 0.009), ("L0-4", None),
    ]  # fmt: skip
    latents = [LatentRow("L1-5", 1, 5), *(LatentRow(f"L0-{at}", 0, at) for at in range(1, 5))]
    edges = study_graph(latents, rows, []).edges
    assert [(edge.source, edge.weight) for edge in edges] == [("L0-1", -0.2), ("L0-2", -0.009)]


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ('{"schema": 2, "summary": {"slope": 1.0}}', "schema is 2; this Glassbox reads 1"),
        ('{"schema": 1, "summary": {"slope": "steep"}}', "not what 'validate' writes"),
        ('{"schema": 1}', "not what 'validate' writes"),
        ("[]", "schema is None"),
    ],
)
def test_figures_of_a_replay_that_are_of_another_version_or_damaged_are_refused(
    tmp_path, content, refusal
):
    path = tmp_path / "validated_pathways.json"
    path.write_text(content)
    with pytest.raises(CorruptArtifact, match=refusal):
        replay_summary(path)
    path.write_text('{"schema": 1, "summary": {"slope": 1.5, "spearman": null}}')
    assert replay_summary(path) == {"slope": 1.5}
