"""What a finished evaluation prints about its files."""

from dataclasses import replace

import pytest

from glassbox.cli.confidence.results import print_outcome, tell_of_fonts
from glassbox.confidence.analysis.whole_run import Question, analyse
from glassbox.confidence.job import Promise
from glassbox.confidence.run import RunFolder
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
