from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import CorruptArtifact
from glassbox.pathways.integration.summary import StudySummary
from glassbox.pathways.integration.typed import (
    arrow_schema,
    from_plain,
    read_rows,
    row_from_plain,
    rows_from_table,
    to_plain,
    to_table,
    write_rows,
)
from glassbox.pathways.integration.values import DoseEffect, PathwayRow
from tests.pathways.integration.worlds import made_up_cards, made_up_rows, made_up_study
from tests.pathways.integration.worlds import made_up_summary as summary_of

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
doses = st.builds(DoseEffect, st.text(), numbers, numbers, numbers, numbers, st.integers(0, 2**40))
rows = st.builds(
    PathwayRow, source=st.text(), target=st.text(), source_layer=st.integers(0, 99),
    target_layer=st.integers(0, 99), gradient_mean=numbers, verified=st.none() | st.booleans(),
    doses=st.lists(doses, max_size=3).map(tuple),
)  # fmt: skip


@given(st.lists(rows, max_size=5).map(tuple))
def test_rows_come_back_from_a_table_as_they_were(given_rows):
    assert rows_from_table(PathwayRow, to_table(PathwayRow, given_rows)) == given_rows


@given(rows)
def test_rows_come_back_from_json_values_as_they_were(row):
    assert row_from_plain(PathwayRow, to_plain(row)) == row


def test_cards_and_a_summary_come_back_as_they_were(tmp_path: Path):
    latents, _, _ = made_up_rows()
    cards = tuple(made_up_cards(latents))
    write_rows(tmp_path / "cards.parquet", type(cards[0]), cards)
    assert read_rows(tmp_path / "cards.parquet", type(cards[0])) == cards
    summary = summary_of(made_up_study())
    assert row_from_plain(StudySummary, to_plain(summary)) == summary


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_float_that_is_not_finite_becomes_missing(value):
    row = PathwayRow("L0-1", "L1-1", 0, 1, gradient_mean=value)
    assert to_plain(row)["gradient_mean"] is None
    (back,) = rows_from_table(PathwayRow, to_table(PathwayRow, [row]))
    assert back.gradient_mean is None


def test_an_empty_table_has_the_whole_schema():
    assert to_table(PathwayRow, []).schema == arrow_schema(PathwayRow)


def test_a_whole_number_is_taken_for_a_float_and_nothing_else_is():
    assert from_plain(float, 3) == 3.0
    assert isinstance(from_plain(float, 3), float)
    with pytest.raises(TypeError, match="is no float"):
        from_plain(float, True)
    with pytest.raises(TypeError, match="is no int"):
        from_plain(int, "3")


def test_a_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(CorruptArtifact, match=r"rows\.parquet: cannot be read as Parquet"):
        read_rows(path, PathwayRow)
    with pytest.raises(CorruptArtifact, match="cannot be read as Parquet"):
        read_rows(tmp_path / "absent.parquet", PathwayRow)


def test_a_file_of_other_rows_is_refused(tmp_path: Path):
    @dataclass(frozen=True)
    class Other:
        name: str

    write_rows(tmp_path / "rows.parquet", Other, [Other("x")])
    with pytest.raises(CorruptArtifact, match="its rows are no PathwayRow"):
        read_rows(tmp_path / "rows.parquet", PathwayRow)
