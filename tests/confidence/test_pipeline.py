"""What a job says about its data reaches the reader."""

from glassbox.confidence.job import DataChoice, Job
from glassbox.confidence.pipeline import prepare
from glassbox.types import ModelSpec


def test_format_encoding_and_bad_rows_are_as_asked(tmp_path):
    path = tmp_path / "texts.dat"
    rows = [
        f"Number {i} était {('bon', 'mal')[i % 2]},{('good', 'bad')[i % 2]}" for i in range(200)
    ]
    path.write_bytes("\n".join(["text,label", *rows, ",good"]).encode("cp850"))
    choice = DataChoice(str(path), data_format="csv", encoding="cp850", bad_rows="drop")
    texts = prepare(Job(ModelSpec("tiny"), choice, tmp_path / "run")).texts
    assert len(texts) == 200
    assert texts.texts[0] == "Number 0 était bon"
    assert texts.encoding == "cp850 (given)"
    assert [each.reason for each in texts.dropped] == ["empty text"]
