"""What a job says about its data reaches the reader."""

import pytest

from glassbox.confidence.job import DataChoice, Job
from glassbox.confidence.pipeline import MainJob, prepare
from glassbox.errors import OutOfMemory
from glassbox.types import ModelSpec
from tests.e2e.jobs import silent


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


def begun(folder, seed=0, name="texts.csv"):
    """What a run says before its model is loaded, for which there is no memory here."""

    def no_memory(_spec):
        raise OutOfMemory("no memory")

    said: list[str] = []
    job = Job(ModelSpec("tiny"), DataChoice(str(folder / name)), folder / "run", seed=seed)
    with pytest.raises(OutOfMemory, match="no memory"):
        MainJob(job, no_memory, silent, said.append).evaluate()
    return prepare(job).rows, said


def test_a_folder_that_holds_a_run_on_other_rows_says_so(tmp_path):
    rows = [f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "more.csv").write_text("text,label\n" + "".join(rows) + "One more is fine,a\n")
    held_out, said = begun(tmp_path)
    assert not any("holds a run" in line for line in said)
    test_set = tmp_path / "run" / "test_set.json"
    held_out.save(test_set)
    assert begun(tmp_path)[1] == said
    assert "run holds a run on another split (seed 0, 40" in begun(tmp_path, seed=1)[1][0]
    assert "run holds a run on other data (seed 0, 40" in begun(tmp_path, name="more.csv")[1][0]
    test_set.write_text("{")
    assert "test_set.json is damaged and is written anew" in begun(tmp_path)[1][0]
