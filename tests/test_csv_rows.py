"""Rows of CSV: what was written comes back, with the line that it begins at."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.csv_rows import csv_rows
from glassbox.errors import InvalidData

CELLS = st.lists(st.text(alphabet='ab",;\n '), min_size=1, max_size=4)


@given(st.lists(CELLS, max_size=8), st.sampled_from(",;\t|"))
def test_what_a_writer_wrote_comes_back_with_its_lines(rows, delimiter):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    begins = []
    for each in rows:
        begins.append(file.getvalue().count("\n") + 1)
        writer.writerow(each)
    file.seek(0)
    assert list(csv_rows(file, delimiter, "table")) == list(zip(begins, rows, strict=True))


def test_a_blank_line_has_no_cells_and_counts():
    found = list(csv_rows(["a,b\n", "\n", "c\n"], ",", "t"))
    assert found == [(1, ["a", "b"]), (2, []), (3, ["c"])]


@pytest.mark.parametrize(
    ("lines", "line"),
    [(["a\n", '"open\n', "b\n"], 2), (["a\n", "b\n", '"c" d\n'], 3), (["a\n", "b\rc\n"], 2)],
)
def test_what_is_no_csv_is_refused_with_the_line_of_its_row(lines, line):
    with pytest.raises(InvalidData, match=rf"t.*{line}.*cannot be read as CSV"):
        list(csv_rows(lines, ",", "t"))
