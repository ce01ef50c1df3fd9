"""Labelled texts are read from every format; their labels are found and mapped."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.data.formats import MAX_LABEL_CHARACTERS
from glassbox.confidence.data.labelled import label_indices, normalise, read_texts, truth_probs
from glassbox.confidence.labels import LabelSet, default_labels
from glassbox.errors import InvalidData, InvalidValue, UnknownName
from tests.confidence.data.pairs import CSV, pairs

ROWS = [("a fine film", "pos"), ("a dull plot", "neg"), ("so, so good", "pos")]
LABELS = LabelSet(
    classes=("negative", "positive"),
    verbalisers=((" negative",), (" positive",)),
    instruction="Say.",
    values=(("neg", "0"), ("pos", "1")),
)


@pytest.mark.parametrize(
    ("name", "content", "stated"),
    [
        ("a.csv", CSV, "csv, delimiter ','"),
        ("b.csv", CSV.replace("\n", "\r\n"), "csv, delimiter ','"),
        ("c.csv", 'Label;Review\npos;a fine film\nneg;a dull plot\npos;"so, so good"', "';'"),
        ("d.tsv", "sentence\tlabel\na fine film\tpos\na dull plot\tneg\nso, so good\tpos\n", "tsv"),
        (
            "e.jsonl",
            '{"text": "a fine film", "label": "pos"}\n\n{"label": "neg", "text": "a dull plot"}\n'
            '{"text": "so, so good", "label": "pos", "more": 1}',
            "jsonl",
        ),
        ("f.train", "pos a fine film\nneg a dull plot\npos so, so good\n", "label-space-text"),
        ("g.txt", "a fine film\tpos\na dull plot \tneg\nso, so good\tpos\r\n", "text-tab-label"),
        (
            "h",
            "__label__pos a fine film\n__label__neg a dull plot\n__label__pos so, so good",
            "label-space-text",
        ),
        ("i.txt", "pos|a fine film\nneg|a dull plot\npos|so, so good\n", "label-pipe-text"),
        ("j.txt", '{"sentence": "a fine film", "class": "pos"}\n'
            + '{"sentence": "a dull plot", "class": "neg"}\n'
            + '{"sentence": "so, so good", "class": "pos"}\n', "jsonl"),
    ],
)  # fmt: skip
def test_formats(write, name, content, stated):
    path = write(name, content)
    # Three lines are too few to find out where the label stands.
    options = {"data_format": stated} if stated.startswith(("label-", "text-")) else {}
    data = read_texts(path, **options)
    assert pairs(data) == ROWS
    assert stated in data.format
    assert data.source == str(path)
    assert data.encoding == "utf-8 (detected)"


def test_line_format_is_found_out(write):
    lines = "".join(f"{i % 2} sentence {i}, and so on .\n" for i in range(12))
    data = read_texts(write("x.train", lines))
    assert "label-space-text" in data.format
    assert data.counts == {"0": 6, "1": 6}
    reverse = "".join(f"sentence {i}, and so on .\t{i % 3}\n" for i in range(12))
    data = read_texts(write("y.txt", reverse))
    assert "text-tab-label" in data.format
    assert data.classes == ("0", "1", "2")


@pytest.mark.parametrize("more", [0, 1])
def test_words_too_long_for_a_label_are_text(write, more):
    name = "n" * (MAX_LABEL_CHARACTERS + more)
    rows = [f"film{i}\t{label}\n" for i, label in enumerate([name, "short"] * 6)]
    path = write("x.txt", "".join(rows))
    if more:
        with pytest.raises(InvalidData, match="no separator cuts every line"):
            read_texts(path)
    else:
        assert read_texts(path).counts == {name: 6, "short": 6}


@pytest.mark.parametrize("kind", [pa.float64(), pa.decimal128(38, 0), pa.decimal128(38, 2)])
def test_parquet(kind, tmp_path):
    path = tmp_path / "x.parquet"
    labels = pa.array([1, 0, 1]).cast(kind)
    pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": labels}), path)
    data = read_texts(path)
    assert pairs(data) == [(t, "1" if label == "pos" else "0") for t, label in ROWS]
    assert data.encoding == ""
    renamed = path.rename(tmp_path / "unnamed")
    assert pairs(read_texts(renamed, labels=LABELS)) == [
        (t, "positive" if label == "pos" else "negative") for t, label in ROWS
    ]
    path.write_bytes(b"PAR1" + b"junk" * 20)
    with pytest.raises(InvalidData, match=r"x\.parquet: cannot be read as Parquet"):
        read_texts(path)


def test_folder_of_class_files(write, tmp_path):
    write("set/pos.txt", "a fine film\nso, so good\n\n")
    write("set/neg.txt", "a dull plot \n")
    write("set/README.md", "about")
    data = read_texts(tmp_path / "set")
    assert sorted(pairs(data)) == sorted(ROWS)
    assert "not read: README.md" in data.format
    assert data.dropped[0].reason == "blank line"
    assert data.dropped[0].n_rows == 1


def test_folder_whose_suffixes_are_the_classes(write, tmp_path):
    write("set/rt.pos", "one\ntwo")
    write("set/rt.neg", "three")
    assert read_texts(tmp_path / "set").counts == {"neg": 1, "pos": 2}
    write("set/other.pos", "four")
    with pytest.raises(
        InvalidData, match=r"do not tell classes apart: other\.pos, rt\.neg, rt\.pos"
    ):
        read_texts(tmp_path / "set")


@pytest.mark.parametrize("names", [("train.csv", "test.csv"), ("a.parquet", "b.parquet")])
def test_a_folder_of_tables_is_not_read_as_classes(write, tmp_path, names):
    for name in names:
        write(f"set/{name}", "text,label\nfine,pos\ndull,neg\n")
    with pytest.raises(InvalidData, match=r"holds tables.*Give one of them, as in .*set/"):
        read_texts(tmp_path / "set")


@pytest.mark.parametrize("names", [("train.txt", "dev.txt", "test.txt"), ("x.train", "x.valid")])
def test_a_folder_of_parts_is_not_read_as_classes(write, tmp_path, names):
    for name in names:
        write(f"set/{name}", "1 fine\n0 dull\n")
    with pytest.raises(InvalidData, match="named like parts of a data set"):
        read_texts(tmp_path / "set")
    data = read_texts(tmp_path / "set", data_format="class-files")
    assert len(data.counts) == len(names)


def test_what_windows_leaves_in_a_folder_is_no_class(write, tmp_path):
    for name in ("very good.txt", "very bad.txt", "Thumbs.db", "desktop.ini", ".DS_Store"):
        write(f"set/{name}", f"one of {name}\n")
    assert read_texts(tmp_path / "set").classes == ("very bad", "very good")


def test_a_folder_of_folders_is_told_what_to_do(write, tmp_path):
    (tmp_path / "set").mkdir()
    write("set/pos/1.txt", "fine")
    write("set/neg/1.txt", "dull")
    with pytest.raises(InvalidData, match=r"folders \(neg, pos\) are not read: .*into one file"):
        read_texts(tmp_path / "set")


def test_folder_that_is_too_small(write, tmp_path):
    write("set/pos.txt", "one")
    with pytest.raises(InvalidData, match="holds 1 text file; one file per class"):
        read_texts(tmp_path / "set")
    with pytest.raises(InvalidData, match=r"no \.jsonl files"):
        read_texts(tmp_path / "set", data_format="jsonl")
    with pytest.raises(InvalidValue, match="for a folder class-files or jsonl"):
        read_texts(tmp_path / "set", data_format="csv")


def test_folder_of_json_lines_with_known_truth(write, tmp_path):
    row = '{"text": "%s", "category": "%s", "p_positive": %s, "label": "%s"}\n'
    write("set/strong.jsonl", row % ("one", "strong", 0.9, "positive"))
    write("set/weak.jsonl", row % ("two", "weak", 0.4, "negative"))
    data = read_texts(tmp_path / "set")
    assert data.categories == ("strong", "weak")
    assert (data.truth, data.truth_label) == ((0.9, 0.4), "positive")
    truth = truth_probs(data.truth, data.truth_label, ("negative", "positive"))
    np.testing.assert_allclose(truth, [[0.1, 0.9], [0.6, 0.4]])
    other_way = truth_probs(data.truth, data.truth_label, ("positive", "negative"))
    np.testing.assert_allclose(other_way, [[0.9, 0.1], [0.4, 0.6]])
    assert list(label_indices(data.labels, ("negative", "positive"))) == [1, 0]
    write("set/weak.jsonl", row % ("two", "weak", 1.4, "negative"))
    with pytest.raises(InvalidData, match=r"weak\.jsonl, line 1: column 'p_positive' holds 1\.4"):
        read_texts(tmp_path / "set")


def test_truth_needs_two_classes():
    assert truth_probs(None, None, ("a", "b")) is None
    assert truth_probs((0.5,), "a", ("a", "b", "c")) is None
    assert truth_probs((0.5,), "d", ("a", "b")) is None


def test_embedded_dataset():
    data = read_texts("tiny")
    assert len(data) == 10_000
    assert len(set(data.categories)) == 8
    assert data.truth_label == "positive"
    assert data.dropped == ()
    assert data.n_contradictory == 0


def test_label_column_may_be_the_category(write):
    data = read_texts(write("x.csv", "content,category\none,a\ntwo,b\n"))
    assert data.classes == ("a", "b")
    assert data.categories is None


def test_columns_by_name(write):
    path = write("x.csv", "id,words,verdict\n1,one,a\n2,two,b\n")
    data = read_texts(path, text_column="words", label_column="verdict")
    assert pairs(data) == [("one", "a"), ("two", "b")]
    with pytest.raises(
        UnknownName, match=r"No text column.*Known: id, words, verdict.*text_column"
    ):
        read_texts(path)
    with pytest.raises(UnknownName, match=r"No column 'word'.*Did you mean 'words'"):
        read_texts(path, text_column="word")
    with pytest.raises(UnknownName, match=r"No label column.*Known: id, verdict"):
        read_texts(path, text_column="words")
    with pytest.raises(InvalidValue, match="a column other than the texts' 'words'"):
        read_texts(path, text_column="words", label_column="words")


def test_labels_are_mapped_and_unknown_ones_named_by_line(write):
    path = write("x.txt", "1\tone\n0\ttwo\n1\tthree\n2\tfour\n0\tfive\n2\tsix\n")
    with pytest.raises(UnknownName, match=r"No label '2'. Known: negative, positive.*line 4"):
        read_texts(path, labels=LABELS)
    path = write("y.txt", "1\tone\n0\ttwo\n1\tthree\n0\tfour\n")
    assert read_texts(path, labels=LABELS).labels == ("positive", "negative") * 2


def test_all_labels_that_a_label_set_lacks_are_told_at_once(write):
    file = write("a.csv", "text,label\na,x\nb,y\nc,z\nd,y\ne,\nf,w\n")
    labels = default_labels(["x", "w"])
    with pytest.raises(
        UnknownName,
        match=r"No label 'y'\. Known: w, x\. .*line 3\. The data have 2 labels that labels\.toml "
        r"lacks: 'y' \(2 rows\), 'z' \(1 row\)\. .*\[classes\.'NAME'\]",
    ):
        read_texts(file, labels=labels)
    with pytest.raises(InvalidData, match="column 'label' holds no label"):
        read_texts(write("b.csv", "text,label\na,x\ne,\nb,y\nc,z\n"), labels=labels)


def test_a_label_set_may_say_what_an_empty_label_stands_for(write):
    named = replace(LABELS, values=(("", "0"), ("1",)))
    rows = read_texts(write("x.csv", "text,label\none,1\ntwo,\n"), labels=named)
    assert rows.labels == ("positive", "negative")


def test_labels_that_a_label_set_merges_are_reported_one_by_one(write, tmp_path):
    for name in ("strong_positive", "weak_positive", "strong_negative", "weak_negative"):
        write(f"set/{name}.txt", "".join(f"{name} {i}\n" for i in range(3)))
    names = [(f"strong_{name}", f"weak_{name}") for name in LABELS.classes]
    data = read_texts(tmp_path / "set", labels=replace(LABELS, values=tuple(names)))
    assert data.counts == {"negative": 6, "positive": 6}
    assert [text.rsplit(" ", 1)[0] for text in data.texts] == list(data.categories)
    renamed = read_texts(write("x.txt", "1\tone\n0\ttwo\n1\tthree\n0\tfour\n"), labels=LABELS)
    assert renamed.categories is None


def test_a_column_is_the_truth_only_if_it_is_called_after_a_class(write):
    rows = "one,a,17\ntwo,b,18\n"
    for name in ("p_id", "p_c"):
        data = read_texts(write("x.csv", f"text,label,{name}\n{rows}"))
        assert (data.truth, data.truth_label) == (None, None)
    known = read_texts(write("x.csv", "text,label,p_id,p_b\none,a,17,0.2\ntwo,b,18,0.9\n"))
    assert (known.truth, known.truth_label) == ((0.2, 0.9), "b")
    with pytest.raises(InvalidData, match="column 'p_a' holds '17', not a number"):
        read_texts(write("x.csv", f"text,label,p_a\n{rows}"))


def test_repeats_and_contradictions_are_counted(write):
    content = "text,label\nOne,a\n one ,a\nONE,b\ntwo,b\nthree,a\n"
    data = read_texts(write("x.csv", content))
    assert (len(data), data.n_duplicates, data.n_contradictory) == (5, 2, 3)
    assert "2 repeat an earlier text; 3 share a text with a row of another label" in data.describe()


def test_digest_is_of_the_content_alone(write):
    one = read_texts(write("x.csv", "text,label\none,a\ntwo,b\n"))
    other = read_texts(write("y.jsonl", '{"text":"two","label":"b"}\n{"text":"one","label":"a"}'))
    changed = read_texts(write("z.csv", "text,label\none,b\ntwo,a\n"))
    assert one.digest == other.digest != changed.digest


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).filter(
                lambda text: text.strip()
            ),
            st.sampled_from(["yes", "no"]),
        ),
        min_size=2,
    )
)
def test_csv_and_json_lines_round_trip(tmp_path_factory, rows):
    import csv
    import json

    folder = tmp_path_factory.mktemp("round")
    with (folder / "x.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    (folder / "x.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "label": label}) for text, label in rows)
    )
    expected = [(text.strip(), label) for text, label in rows]
    same = len({normalise(text) for text, _ in rows}) == 1 or len({each for _, each in rows}) == 1
    for name in ("x.csv", "x.jsonl"):
        if same:
            with pytest.raises(InvalidData, match=r"same text|at least two classes"):
                read_texts(folder / name)
        else:
            assert pairs(read_texts(folder / name)) == expected


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "n_rows", "classes", "stated", "encoding"),
    [
        ("rt-polarity", 10_662, ("neg", "pos"), "2 class files", "utf-8"),
        ("sst2/stsa.binary.train", 6_920, ("0", "1"), "label-space-text", "utf-8"),
        ("sst2/stsa.binary.dev", 872, ("0", "1"), "label-space-text", "utf-8"),
        ("sst2/stsa.binary.test", 1_821, ("0", "1"), "label-space-text", "utf-8"),
        ("subj/subj.all", 10_000, ("0", "1"), "label-space-text", "cp1252"),
        ("sentiment-labelled-sentences/imdb_labelled.txt", 1_000, ("0", "1"), "text-tab", "utf-8"),
        ("sentiment-labelled-sentences/yelp_labelled.txt", 1_000, ("0", "1"), "text-tab", "utf-8"),
        (
            "sentiment-labelled-sentences/amazon_cells_labelled.txt",
            1_000,
            ("0", "1"),
            "tab",
            "utf-8",
        ),
    ],
)
def test_real_data(data_dir, path, n_rows, classes, stated, encoding):
    data = read_texts(data_dir / "text-classification" / path)
    assert len(data) == n_rows
    assert data.classes == classes
    assert stated in data.format
    assert data.encoding.startswith(encoding)
    assert data.dropped == ()
