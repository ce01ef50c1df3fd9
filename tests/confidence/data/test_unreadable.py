"""Files and rows that cannot be read are named with what is wrong and what to do."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glassbox.confidence.data.labelled import LabelledTexts, read_texts
from glassbox.confidence.labels import default_labels
from glassbox.errors import InvalidData, UnknownName
from tests.confidence.data.pairs import CSV, pairs


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,label\none,a\n ,b\n", r"x\.csv, line 3: the text is empty"),
        ("x.csv", "text,label\none,a\ntwo,\n", r"line 3: column 'label' holds no label"),
        ("x.csv", "text,label\none,a\ntwo,NaN\n", r"line 3: column 'label' holds no label"),
        ("x.csv", "text,label\none,a\ntwo,b,c\n", r"line 3: 3 cells where the header has 2"),
        ("x.csv", 'text,label\none,a\n"two,b\n', r"line 3: cannot be read as CSV"),
        ("x.csv", 'text,label\n"on\ne",a\n,b\n', r"line 4: the text is empty"),
        ("x.csv", "text,text\none,a\n", r"line 1: two columns are called 'text'; rename or"),
        ("x.csv", "Tickets 2026;;\ntext;label;\n", r"line 1: names 1 of 3 columns, .* a title"),
        ("x.csv", "text,label\n", r"x\.csv: there are no rows"),
        ("x.csv", "text,label\none,a\ntwo,a\n", r"every row has the label 'a'; at least two"),
        ("x.csv", "text,label\nA b,a\n a  B,b\n", r"all 2 rows have the same text"),
        ("x.csv", "", "the file is empty"),
        (
            "x.jsonl",
            '{"text": "one", "label": "a"}\n{"text": 3, "label": "b"}',
            "line 2: column 'text'",
        ),
        (
            "x.jsonl",
            '{"text": "one", "label": "a"}\n{"text": "b"}',
            r"line 2: column 'label' holds no",
        ),
        ("x.jsonl", '{"text": "one", "label": "a"}\n{"text": "b', r"line 2: is not valid JSON"),
        ("x.jsonl", '{"text": "one", "label": ["a"]}', r"line 1: column 'label' holds \['a'\]"),
        ("x.jsonl", '[{"text": "one"}]', r"line 1: is not a JSON object; a JSON array is not read"),
        ("x.jsonl", '{"text": "\\ud83d", "label": "a"}', r"line 1: is not valid JSON"),
        (
            "x.txt",
            "no labels here\nat all in these\nlines that differ",
            "no separator cuts every line",
        ),
        ("x.txt", "1 one\n1 two\n1 three\n1 four\n", "every line has the label '1'"),
        ("x.csv", "text,label\rone,a\rtwo,b\r", r"line 1: its lines end in carriage returns alone"),
        (
            "x.txt",
            "Text\tLabel\none\ta\ntwo\tb\nthree\ta\nfour\tb\nfive\ta\n",
            r"line 1: names the columns 'text' and 'label'.*--data-format tsv",
        ),
        (
            "x.tsv",
            'text\tlabel\n"on\ne"\ta\ntwo\tb\n',
            r"line 2: a quotation mark opens a cell.*--data-format csv",
        ),
        ("x.csv.gz", b"\x1f\x8b\x08\0\0", r"x\.csv\.gz: is packed with gzip: unpack it first"),
        ("x.xlsx", b"PK\x03\x04\x14\0", "a zip archive or a workbook.*save the sheet as CSV"),
        (
            "x.jsonl",
            '{"text": "one", "labels": ["a", "b"]}',
            r"holds \['a', 'b'\], not a label: a row has one label; .*--bad-rows drop",
        ),
        (
            "x.jsonl",
            '{"text": "one", "label": NaN}',
            "line 1: is not valid JSON .*no NaN: write null",
        ),
        ("x.txt", b"\x00\x01\x02\x03" * 50, r"x\.txt, line 1: holds a zero byte"),
        ("x.txt", bytes(range(1, 256)) * 8, r"x\.txt, line \d+: "),
    ],
)
def test_bad_files(write, name, content, message):
    with pytest.raises(InvalidData, match=message):
        read_texts(write(name, content))


def test_named_line_format_that_does_not_fit(write):
    path = write("x.txt", "1\tone\n0 two\n")
    with pytest.raises(InvalidData, match="line 2: has no tab between label and text"):
        read_texts(path, data_format="label-tab-text")
    with pytest.raises(
        UnknownName, match=r"No data format 'label-tab'.*Did you mean 'label-tab-text'"
    ):
        read_texts(path, data_format="label-tab")
    with pytest.raises(UnknownName, match="No encoding 'utf8000'"):
        read_texts(path, encoding="utf8000")


def test_a_sentence_names_few_labels_and_counts_many():
    def said(n_labels: int) -> str:
        rows = [(f"text {i}", f"label {i % n_labels}") for i in range(1200)]
        texts, labels = zip(*rows, strict=True)
        return LabelledTexts(texts=texts, labels=labels, source="x", format="csv").describe()

    assert said(2) == "1,200 rows (label 0 600, label 1 600) from x, read as csv."
    assert "label 9 120" in said(10)
    assert said(150) == "1,200 rows (150 labels with 8 rows each) from x, read as csv."
    assert "(11 labels with 109 to 110 rows each)" in said(11)


def test_bad_rows_can_be_dropped_and_are_counted(write):
    content = "text,label\none,a\n,a\ntwo,b\nthree,\n  ,b\nfour,c\n\n"
    labels = default_labels(["a", "b"])
    data = read_texts(write("x.csv", content), labels=labels, bad_rows="drop")
    assert pairs(data) == [("one", "a"), ("two", "b")]
    assert {each.reason: each.n_rows for each in data.dropped} == {
        "empty text": 2, "missing label": 1, "unknown label 'c'": 1, "blank line": 1,
    }  # fmt: skip
    assert data.dropped[0].first.endswith("x.csv, line 3")
    assert "2 dropped: empty text" in data.describe()
    with pytest.raises(InvalidData, match=r"there are no rows \(1 dropped: empty text\)"):
        read_texts(write("y.csv", "text,label\n,a\n"), bad_rows="drop")


@pytest.mark.parametrize("start", ["\n \n", "sep=;\r\n"])
def test_what_stands_before_a_header_is_passed_over_and_lines_keep_their_numbers(write, start):
    n_before = start.count("\n")
    path = write("x.csv", f"{start}text;label\none;a\ntwo;b\n")
    assert pairs(read_texts(path)) == [("one", "a"), ("two", "b")]
    path = write("x.csv", f"{start}text;label\none;a\n;b\n")
    with pytest.raises(InvalidData, match=f"line {n_before + 3}: the text is empty"):
        read_texts(path)


def test_a_table_of_a_spreadsheet_with_line_feeds_in_its_cells_is_read_as_csv(write):
    path = write("x.tsv", 'text\tlabel\n"on\ne"\ta\ntwo\tb\n')
    assert pairs(read_texts(path, data_format="csv")) == [("on\ne", "a"), ("two", "b")]


def test_a_long_cell_is_not_shown_whole(write):
    path = write("x.json", f'{{"text": {["word"] * 9999}, "label": "a"}}'.replace("'", '"'))
    with pytest.raises(InvalidData, match=r"column 'text' holds \['word', .*…, not a text") as told:
        read_texts(path)
    assert len(str(told.value)) < 1000


def test_columns_without_a_name_go_by_their_place(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(";text;;label;;\n0;one;x;a;;\n1;two;y;b;;\n")
    data = read_texts(path)
    assert (data.texts, data.labels) == (("one", "two"), ("a", "b"))
    assert read_texts(path, label_column="column 3").labels == ("x", "y")
    with pytest.raises(UnknownName, match="Known: column 1, column 3, label, column 5"):
        read_texts(path, label_column="")


def test_only_a_file_that_may_lack_a_header_is_said_to_lack_one(tmp_path):
    columns = {"said": ["one", "two"], "label": ["a", "b"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("said,label\none,a\ntwo,b\n")
    for name, hinted in (("x.parquet", False), ("x.csv", True)):
        with pytest.raises(UnknownName, match="Known: said, label") as why:
            read_texts(tmp_path / name)
        assert ("no header" in str(why.value)) == hinted


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.binary())]
)
def test_texts_that_parquet_holds_as_bytes_are_read_as_utf_8(kind, tmp_path):
    path = tmp_path / "x.parquet"
    texts = ["één", "两", "three", "four"]

    def write(bad: bytes) -> None:
        cells = [*(each.encode() for each in texts), bad]
        labels = pa.array([b"a", b"b", b"a", b"b", b"a"])
        pictures = pa.array([b"\x89PNG\xff"] * 5)
        column = pa.array(cells, pa.binary()).cast(kind)
        table = pa.table({"text": column, "label": labels, "picture": pictures})
        pq.write_table(table, path, store_schema=False)

    write(b"five")
    data = read_texts(path)
    assert data.texts == (*texts, "five")
    assert data.labels == ("a", "b", "a", "b", "a")
    write(b"\xff\xfe")
    with pytest.raises(InvalidData, match=r"x\.parquet, line 5: column 'text' holds bytes that are "
                       r"not UTF-8 \(b'\\xff\\xfe'\)"):  # fmt: skip
        read_texts(path)
    kept = read_texts(path, bad_rows="drop")
    assert kept.texts == tuple(texts)
    assert [each.reason for each in kept.dropped] == ["not UTF-8"]


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path):
    column = pa.array(["one", "two"])
    pq.write_table(pa.table([column, column], names=["text", "text"]), tmp_path / "x.parquet")
    with pytest.raises(InvalidData, match="two columns are called 'text'"):
        read_texts(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,label\none,a\ntwo, but, many,b\nthree,b\n", "line 3: 4 cells"),
        ("x.tsv", "text\tlabel\none\ta\ntwo\nthree\tb\n", "line 3: 1 cell where"),
        (
            "x.jsonl",
            '{"text":"one","label":"a"}\n{"tex\n{"text":"t","label":"b"}\n',
            "line 2: is not",
        ),
    ],
)
def test_rows_that_cannot_be_cut_are_dropped_like_others(write, name, content, message):
    path = write(name, content)
    with pytest.raises(InvalidData, match=message):
        read_texts(path)
    data = read_texts(path, bad_rows="drop")
    assert data.classes == ("a", "b")
    (found,) = (each for each in data.dropped if each.reason == "not a row of this format")
    assert found.n_rows == 1


def test_a_file_of_another_format_is_refused_and_not_emptied(write):
    path = write("x.json", '[\n{"text":"one","label":"a"},\n{"text":"two","label":"b"}\n]\n')
    with pytest.raises(InvalidData, match="line 1: is not"):
        read_texts(path, bad_rows="drop")
    with pytest.raises(InvalidData, match="line 2: has no tab between label and text"):
        read_texts(write("x.txt", "1\tone\n0 two\n0\tthree\n"), data_format="label-tab-text")


def test_missing_file_names_its_neighbours(write, tmp_path):
    write("train.csv", CSV)
    with pytest.raises(UnknownName, match=r"No file or folder .*trian\.csv'. Known: train\.csv"):
        read_texts(tmp_path / "trian.csv")


def test_the_likeliest_neighbour_is_named_among_many_and_none_that_is_hidden(write, tmp_path):
    for name in ("train.csv", ".trian.csv", *(f"part-{number:02}.csv" for number in range(30))):
        write(name, CSV)
    with pytest.raises(UnknownName) as caught:
        read_texts(tmp_path / "trian.csv")
    assert "train.csv" in caught.value.known
    assert ".trian.csv" not in caught.value.known
    assert len(caught.value.known) == 20
