"""What a finished evaluation prints about its files."""

from dataclasses import replace

import pytest

from glassbox.artifacts import Classifier, Part
from glassbox.cli.confidence.results import print_outcome, tell_of_fonts
from glassbox.cli.main import main
from glassbox.confidence.analysis import whole_run
from glassbox.confidence.analysis.whole_run import Question, analyse
from glassbox.confidence.job import Promise
from glassbox.confidence.run import RunFolder
from glassbox.errors import ConflictError
from tests.confidence.rows_world import drawn_rows


@pytest.mark.parametrize(
    ("is_drawn", "was_there", "expected"),
    [
        (True, True, "Report: "),
        (False, True, "is an earlier one: 'glassbox charts"),
        (False, False, ""),
    ],
)
def test_a_report_of_an_earlier_evaluation_is_not_shown_as_new(
    is_drawn, was_there, expected, tmp_path, capsys
):
    run, folder = analyse({"base": drawn_rows(200)}, (), Question(Promise())), RunFolder(tmp_path)
    if was_there:
        folder.report.write_text("<html>")
    print_outcome(run, folder, is_drawn=is_drawn)
    printed = capsys.readouterr().out.replace("\n", " ")
    assert expected in printed
    assert ("Report: " in printed) == is_drawn
    assert ("earlier one" in printed) == (was_there and not is_drawn)


@pytest.mark.parametrize("name", ["label", "\U00012000"])
def test_labels_that_no_font_here_can_write_are_told_of(name, tmp_path, capsys):
    rows = drawn_rows(200)
    rows = replace(rows, classes=(name, *rows.classes[1:]))
    tell_of_fonts(analyse({"base": rows}, (), Question(Promise())), RunFolder(tmp_path))
    said = " ".join(capsys.readouterr().err.split())
    assert ("No font here can write '\U00012000'" in said) == (name != "label")


def contents(folder):
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


@pytest.mark.parametrize("words", [["threshold", "--save"], ["calibrate"]])
def test_a_run_is_read_and_changed_by_one_process(words, tmp_path, capsys, monkeypatch):
    command, *options = words
    folder = RunFolder(tmp_path / "run")
    run = analyse({"base": drawn_rows(2000)}, (), Question(Promise(0.1, 0.9)))
    whole_run.save(run, (), folder)
    Classifier(Part("tiny", "00"), {}, "11").save(folder.root)
    folder.write_run({"classifier": "22"})
    before = contents(folder.root)
    with folder.alone():
        assert main([command, str(folder.root), *options]) == 3
        assert "Another process works in" in capsys.readouterr().err
        assert main(["threshold", str(folder.root), "--json"]) == 0
        assert {**before, ".lock": b""} == contents(folder.root)

    # What is read beforehand may be replaced before the folder is had alone.
    reopen = whole_run.reopen
    is_held = []

    def watched(*args, **options):
        with pytest.raises(ConflictError), folder.alone():
            pass
        is_held.append(True)
        return reopen(*args, **options)

    monkeypatch.setattr(whole_run, "reopen", watched)
    monkeypatch.setattr(whole_run, "recalibrate", lambda folder, label_bias: watched(folder))
    assert main([command, str(folder.root), *options]) == 0
    assert is_held
    assert folder.read_run()["classifier"] == Classifier.load(folder.root).digest


def test_no_lock_is_left_where_there_is_no_run(tmp_path, capsys):
    assert main(["threshold", str(tmp_path), "--save"]) == 2
    assert "run.json is missing" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_only_what_a_run_writes_is_swept(tmp_path):
    folder = RunFolder(tmp_path)
    left = [tmp_path / ".run.json.0123abcd", folder.evaluation / "cache" / ".a.parquet.0123abcd"]
    others = tmp_path / "another run" / ".run.json.0123abcd"
    for each in (*left, others):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.touch()
    with folder.alone():
        assert not any(each.exists() for each in left)
        assert others.exists()
