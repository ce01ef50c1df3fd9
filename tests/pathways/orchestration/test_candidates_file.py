from glassbox.pathways.integration.inputs import pathway_rows
from glassbox.pathways.orchestration.candidates_file import read_kept, write_candidates
from glassbox.pathways.sections import DiscoverSection


def test_a_sweep_that_found_no_source_leaves_a_file_that_can_be_read(tmp_path):
    path = tmp_path / "candidates.parquet"
    written = write_candidates([], DiscoverSection(), path)
    assert (written.n_kept, written.n_considered) == (0, 0)
    assert read_kept(path) == (set(), 0)
    assert pathway_rows(path, None) == []
