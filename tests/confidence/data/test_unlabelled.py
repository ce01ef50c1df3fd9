import gc
import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.data.unlabelled import MAX_LINE_BYTES, given_texts, stream_texts
from glassbox.errors import InvalidData, UnknownName


def stream(content: bytes | str, **options):
    content = content.encode() if isinstance(content, str) else content
    return [
        (number, text if isinstance(text, str) else str(text))
        for number, text in stream_texts(io.BytesIO(content), **options)
    ]


def test_one_text_a_line_and_the_rest_continues():
    found = stream("first\r\n\n  third \x85 still \nbad\x00\n".encode() + b"b\xff\nlast")
    assert [number for number, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [text for _, text in found[::2]][:2] == ["first", "third \x85 still"]
    assert found[1][1] == "standard input, line 2: the text is empty"
    assert "line 4: holds a zero byte" in found[3][1]
    assert "line 5: holds a byte that is not in the file's encoding" in found[4][1]
    assert found[5][1] == "last"


def test_texts_given_one_by_one_are_checked_like_lines():
    found = list(given_texts([" one ", "", "b\udcff"]))
    assert found[0] == (1, "one")
    assert str(found[1][1]) == "texts, line 2: the text is empty"
    assert isinstance(found[2][1], InvalidData)


def test_json_lines():
    found = stream(
        '{"text": "one"}\n{"body": "two"}\n{"id": 3}\n{"text": 4}\n{"tex\n\n[1]\n{"text":"z"}'
    )
    assert found[0] == (1, "one")
    assert found[1] == (2, "two")
    assert "line 3: No text column 'text'. Known: id" in found[2][1]
    assert "line 4: the text is 4" in found[3][1]
    assert "line 5: is not valid JSON" in found[4][1]
    assert "line 6: the text is empty" in found[5][1]
    assert "line 7: is not a JSON object" in found[6][1]
    assert found[7] == (8, "z")


def test_json_lines_with_a_bad_byte():
    found = stream(b'{"text": "one"}\n{"text": "\xff"}\n{"text": "two"}')
    assert "line 2: is not valid JSON" in found[1][1]
    assert found[2] == (3, "two")


def test_csv():
    content = (
        b'id;text\n1;one\n2;"two\nlines; here"\n3;x;y\n4;\n\n5;b\xff\n6;"open" quote\n7;last\n'
    )
    found = dict(stream(content, data_format="csv"))
    assert list(found) == [2, 3, 5, 6, 7, 8, 9, 10]
    assert found[2] == "one"
    assert found[3] == "two\nlines; here"
    assert "line 5: 3 cells where the header has 2" in found[5]
    assert "line 6: the text is empty" in found[6]
    assert "line 7: the line is empty" in found[7]
    assert "line 8: holds a byte" in found[8]
    assert "line 9: cannot be read as CSV" in found[9]
    assert found[10] == "last"


@pytest.mark.parametrize("n_after", [3, 20_000])
def test_a_quote_that_nothing_closes_costs_its_own_line_alone(n_after):
    after = [f"row {i} is fine" for i in range(n_after)]
    found = stream("\n".join(["text", "first", '"stray quote', *after]), data_format="csv")
    assert found[0] == (2, "first")
    assert "line 3: cannot be read as CSV: a quotation mark is not properly" in found[1][1]
    assert found[2:] == list(enumerate(after, start=4))


def test_lines_that_cannot_be_read_inside_quotes_cost_their_own_row_alone():
    endless = "x" * (MAX_LINE_BYTES + 1)
    rows = ["text", '"one', endless, endless, 'two"', "good", "better"]
    found = stream("\n".join(rows), data_format="csv")
    assert [number for number, _ in found] == [2, 6, 7]
    assert "line 3: is over" in found[0][1]
    assert found[1:] == [(6, "good"), (7, "better")]


def test_what_stands_before_a_header_is_passed_over():
    assert stream("\nsep=;\ntext;label\none;a\n", data_format="csv") == [(4, "one")]
    assert stream("\ntext\tlabel\none\ta\n", data_format="tsv") == [(3, "one")]
    with pytest.raises(UnknownName, match="No text column"):
        stream("sep=;\n", data_format="csv")


def test_tsv_reads_lone_quotes_as_characters():
    found = stream('text\tid\n"the film\t1\n"so good"\t2\n', data_format="tsv")
    assert found == [(2, '"the film'), (3, "so good")]


def test_columns_of_tables():
    with pytest.raises(UnknownName, match=r"No text column.*Known: a, b"):
        stream("a,b\n1,2\n", data_format="csv")
    assert stream("a,b\n1,2\n", data_format="csv", text_column="b") == [(2, "2")]


def test_file_formats_by_suffix_and_encoding(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("text\ncafé crème\n".encode("cp1252") + b"plain\n" * 20)
    said: list[str] = []
    assert next(stream_texts(path, say=said.append)) == (2, "café crème")
    assert said == [f"{path}: read as cp1252 (guessed from the bytes); --encoding names another."]
    path.write_bytes("\ufefftext\nüber\n".encode())
    assert list(stream_texts(path)) == [(2, "über")]
    lines = tmp_path / "x.txt"
    lines.write_bytes("fine é\n".encode() * 3 + b"bad \xff\nfine\n")
    found = list(stream_texts(lines))
    assert isinstance(found[3][1], InvalidData)
    assert found[4] == (5, "fine")
    assert list(stream_texts(lines, encoding="latin-1"))[3] == (4, "bad ÿ")


def test_a_missing_header_is_met_with_a_format_that_streams_have(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("so good\nso bad\n", encoding="utf-8")
    with pytest.raises(UnknownName, match=r"--data-format text\)"):
        next(stream_texts(path))
    assert list(stream_texts(path, data_format="text")) == [(1, "so good"), (2, "so bad")]
    path.write_text('{"words": "so good"}\n', encoding="utf-8")
    ((_, problem),) = stream_texts(path, data_format="jsonl")
    assert "none has a usual name" in str(problem)
    assert "has no header" not in str(problem)


def test_what_cannot_be_streamed(tmp_path):
    with pytest.raises(UnknownName, match=r"No file .*x\.txt"):
        next(stream_texts(tmp_path / "x.txt"))
    with pytest.raises(
        UnknownName, match=r"No data format 'parquet'.*Known: text, jsonl, csv, tsv"
    ):
        stream("x", data_format="parquet")
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InvalidData, match="convert it to JSON Lines"):
        next(stream_texts(path))
    path = tmp_path / "x.csv"
    path.write_bytes(b"text,label\rone,a\r")
    with pytest.raises(InvalidData, match="carriage returns alone"):
        next(stream_texts(path))
    path.write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(InvalidData, match="packed with gzip"):
        next(stream_texts(path))
    path = tmp_path / "wide.txt"
    path.write_bytes("text".encode("utf-16"))
    with pytest.raises(InvalidData, match="utf-16; lines can be streamed"):
        next(stream_texts(path))
    path.write_bytes(b"")
    assert list(stream_texts(path)) == []


def test_an_endless_line_is_passed_over():
    found = stream(b"one\n" + b"x" * (3 * MAX_LINE_BYTES) + b"\nlast\n")
    assert found[0] == (1, "one")
    assert f"line 2: is over {MAX_LINE_BYTES} bytes" in found[1][1]
    assert found[2] == (3, "last")
    (only,) = stream(b"x" * (2 * MAX_LINE_BYTES))
    assert "line 1: is over" in only[1]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"))))
def test_every_line_has_one_answer_in_order(lines):
    content = "".join(f"{line}\n" for line in lines)
    found = stream(content, data_format="text")
    assert [number for number, _ in found] == list(range(1, len(lines) + 1))
    records = "\n".join(json.dumps({"text": line}) for line in lines)
    if lines:
        assert [number for number, _ in stream(records)] == list(range(1, len(lines) + 1))


def peak_bytes(path) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        for _ in stream_texts(path):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path):
    line = "a text of some length, é, to be classified\n" * 200
    path = tmp_path / "long.txt"
    path.write_text(line * 100)
    # What other threads of the process allocate meanwhile is counted, too, but is no file's worth.
    assert peak_bytes(path) < path.stat().st_size / 4
