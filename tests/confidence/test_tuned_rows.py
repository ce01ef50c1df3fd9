import pytest

from glassbox.confidence.tuned_rows import TUNED_ON_FILE, n_tuned_on, write_tuned_on
from glassbox.errors import CorruptArtifact


def test_an_adapter_recognises_the_texts_that_it_was_tuned_on(tmp_path):
    write_tuned_on(tmp_path, "d1", ["A gem.", "So dull", "a  GEM.\n"])
    assert n_tuned_on(tmp_path, "d1", ["a gem.", "So  dull ", "New."]) == 2
    assert n_tuned_on(tmp_path, "d1", ["New."]) == 0


def test_what_was_written_for_other_weights_does_not_count(tmp_path):
    assert n_tuned_on(tmp_path, "d1", ["A gem."]) is None
    write_tuned_on(tmp_path, "d1", ["A gem."])
    assert n_tuned_on(tmp_path, "d2", ["A gem."]) is None


def test_a_damaged_list_is_named(tmp_path):
    (tmp_path / TUNED_ON_FILE).write_bytes(b"PAR1 no")
    with pytest.raises(CorruptArtifact, match=r"tuned_on\.parquet"):
        n_tuned_on(tmp_path, "d1", ["A gem."])
