import pytest

from glassbox.artifacts import Classifier
from glassbox.confidence.data.held_out import HeldOutRows
from glassbox.confidence.data.labelled import read_texts
from glassbox.confidence.data.tuned_rows import TUNED_ON_FILE, n_tuned_on, write_tuned_on
from glassbox.errors import CorruptArtifact
from glassbox.runtime import SHIPPED_RUN


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


def test_the_shipped_adapter_says_what_it_was_tuned_on():
    adapter = Classifier.load(SHIPPED_RUN).adapter
    texts = read_texts("tiny")
    held_out = HeldOutRows.load(SHIPPED_RUN / "test_set.json").rows
    folder = SHIPPED_RUN / adapter.path
    assert n_tuned_on(folder, adapter.digest, [row.text for row in held_out]) == 0
    assert n_tuned_on(folder, adapter.digest, texts.texts) == len(texts.texts) - len(held_out)
