"""The Parquet file holds every record, whole or not at all."""

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from glassbox.audit import InferenceStore
from glassbox.audit.parquet import export
from glassbox.errors import NoDiskSpace
from tests.audit.made_events import label, primary, shadow


def test_every_record_is_a_row_with_its_shadows_and_its_truth(
    store: InferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassbox.audit.parquet.ROWS_AT_ONCE", 4)
    for number in range(10):
        store.record(
            primary(
                f"r{number}",
                time_s=float(number),
                features={"age": number, "tags": ["x"]},
                segments={"country": "de"},
                summaries={"n_tokens": 3.0},
            )
        )
        store.record(shadow(f"r{number}", label_probs={"positive": 1.0}))
    store.record(label("r3", label=1.5))
    store.record(label("r4", label="1.5"))
    store.flush()
    path = tmp_path / "below" / "records.parquet"
    assert export(store.range(2.0, 9.0), path, head=store.head()) == 7
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 2
    assert file.schema_arrow.metadata[b"glassbox.head"].startswith(b"22:")
    rows = file.read().to_pylist()
    assert [row["request_id"] for row in rows] == [f"r{number}" for number in range(2, 9)]
    assert orjson.loads(rows[1]["features"]) == {"age": 3, "tags": ["x"]}
    assert [rows[at]["true_label"] for at in (0, 1, 2)] == [None, "1.5", '"1.5"']
    assert dict(rows[0]["label_probs"]) == {"positive": 0.75, "negative": 0.25}
    (copy,) = rows[0]["shadows"]
    assert (copy["shadow_version"], copy["diff"]) == ("default_model_v2", 0.03)


def test_no_records_make_an_empty_file_of_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert export([], path) == 0
    assert pq.read_table(path).num_rows == 0
    assert "shadows" in pq.read_table(path).column_names


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    path.write_bytes(b"old")

    def failing():
        yield from ()
        raise OSError(28, "No space left on device")

    with pytest.raises(NoDiskSpace, match=r"records\.parquet could not be written: No space left"):
        export(failing(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
