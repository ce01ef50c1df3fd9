"""Files of rows: read by what their columns mean, refused with the place of the fault."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData, UnknownName
from glassbox.rollout.drift.files import Roles, read_window, window_of_columns
from glassbox.rollout.drift.text_columns import is_text, text_columns

ROLES = Roles(prob="p", answer="said", truth="true", time="when", segments=("sex",))
CSV = """id,when,p,said,true,sex,age
0,2026-01-02T00:00:00,0.9,1,1,f,30
1,2026-01-01T00:00:00,0.2,0,1,m,
2,2026-01-03T00:00:00,0.6,1,,f,50
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "rows.csv"
    found.write_text(CSV)
    return found


def test_columns_are_read_by_their_roles_in_the_order_of_time(path: Path) -> None:
    found = read_window(path, ROLES)
    assert [each.name for each in found.columns] == ["prediction", "label", "sex", "age"]
    assert found.prob is not None
    assert found.prob.tolist() == [0.2, 0.9, 0.6]
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([0.8, 0.9, 0.6])
    assert found.is_right is not None
    np.testing.assert_array_equal(found.is_right, [0, 1, np.nan])
    assert found.is_first is not None
    np.testing.assert_array_equal(found.is_first, [1, 1, np.nan])
    assert found.segments["sex"] == ("m", "f", "f")
    assert found.times_s[0] == 1_767_225_600


def test_every_format_gives_the_same_window(path: Path, tmp_path: Path) -> None:
    from pyarrow import csv

    table = csv.read_csv(path, convert_options=csv.ConvertOptions(strings_can_be_null=True))
    parquet.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.tsv").write_text(CSV.replace(",", "\t"))
    lines = [
        '{"when": "2026-01-02T00:00:00", "p": 0.9, "said": 1, "true": 1, "sex": "f", "age": 30}',
        '{"when": "2026-01-01T00:00:00", "p": 0.2, "said": 0, "true": 1, "sex": "m"}',
        '{"when": "2026-01-03T00:00:00", "p": 0.6, "said": 1, "sex": "f", "age": 50}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    expected = read_window(path, ROLES)
    for ending in ("parquet", "tsv", "jsonl"):
        found = read_window(tmp_path / f"rows.{ending}", ROLES)
        assert [each.name for each in found.columns] == [each.name for each in expected.columns]
        np.testing.assert_array_equal(found.times_s, expected.times_s)
        for one, other in zip(found.columns, expected.columns, strict=True):
            np.testing.assert_array_equal(one.values, other.values)


def test_blanks_behind_commas_are_no_part_of_the_values(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age, city\n" + "1, Bonn\n2, Ulm\n" * 3)
    column = read_window(path, Roles()).column("city")
    assert column is not None
    assert column.categories == ("Bonn", "Ulm")


@pytest.mark.parametrize(
    ("roles", "error", "match"),
    [
        (Roles(prob="nope"), UnknownName, "'nope'"),
        (Roles(prob="sex"), InvalidData, "'sex' must hold numbers"),
        (Roles(prob="age"), InvalidData, r"fractions in \[0, 1\]"),
        (Roles(time="sex"), InvalidData, "'sex' must hold times"),
    ],
)
def test_roles_that_do_not_fit_are_refused(
    path: Path, roles: Roles, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        read_window(path, roles)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="ends in"):
        read_window(tmp_path / "rows.xls", Roles())
    with pytest.raises(InvalidData, match="no such file"):
        read_window(tmp_path / "rows.csv", Roles())
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(InvalidData, match="cannot be read as parquet"):
        read_window(tmp_path / "bad.parquet", Roles())
    (tmp_path / "ragged.csv").write_text("a,b\n1\n1,2,3\n")
    with pytest.raises(InvalidData, match="cannot be read as csv"):
        read_window(tmp_path / "ragged.csv", Roles())
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(NotEnoughData, match="comparison"):
        read_window(tmp_path / "empty.csv", Roles())
    parquet.write_table(pa.table({"a": [1.5, None]}), tmp_path / "good.parquet")
    assert read_window(tmp_path / "good.parquet", Roles()).n_rows == 2


def test_a_truth_that_has_to_be_there_is_missed(path: Path) -> None:
    with pytest.raises(UnknownName, match="'later'"):
        read_window(path, Roles(prob="p", truth="later"), has_truth=True)


def test_the_truth_may_be_absent_from_a_file(path: Path) -> None:
    found = read_window(path, Roles(prob="p", truth="later"))
    assert found.is_right is None
    assert found.chose_first is not None


def test_texts_become_lengths_and_shares_of_words() -> None:
    texts = [f"The room number {i} was quiet and clean" for i in range(30)]
    assert is_text(texts)
    assert not is_text(["red", "green", "blue"] * 10)
    assert not is_text(["a very long name of one single category"] * 30)
    assert not is_text([1, 2, None])
    columns = text_columns("review", [*texts, None])
    assert columns[0].values[0] == len(texts[0])
    assert np.isnan(columns[0].values[-1])
    shares = np.stack([each.values for each in columns[2:]])
    np.testing.assert_allclose(shares[:, :-1].sum(axis=0), 1)
    window = window_of_columns({"review": texts}, Roles())
    assert len(window.columns) == 10 - sum(bool(np.isnan(each.values).all()) for each in columns)
