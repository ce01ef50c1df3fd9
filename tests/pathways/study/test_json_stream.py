"""Records of a file in pieces: what the standard library reads whole, and every kind of damage."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.pathways.study import json_stream
from glassbox.pathways.study.json_stream import stream_records

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 99999) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _read(path, content, key=None):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    faults = []
    records = list(stream_records(path, lambda code, words: faults.append((code, words)), key=key))
    return [value for _, value in records], faults, [number for number, _ in records]


@settings(max_examples=80)
@given(st.lists(VALUES, max_size=6), st.sampled_from([1, 3, 17, 1000]), st.booleans())
def test_records_are_those_of_the_standard_library_whatever_the_pieces(
    tmp_path_factory, records, piece, as_object
):
    path = tmp_path_factory.mktemp("stream") / "a.json"
    whole = {"meta": {"results": 1}, "results": records, "end": "x]"} if as_object else records
    ascii_only = piece % 2 == 0
    text = json.dumps(whole, ensure_ascii=ascii_only, indent=piece % 3 or None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", piece)
        found, faults, numbers = _read(
            path, text.encode("utf-8", "surrogatepass"), "results" if as_object else None
        )
    assert found == records
    assert numbers == list(range(len(records)))
    assert [code for code, _ in faults if code != "not-utf8"] == []


def test_a_file_that_ends_early_gives_what_came_before(tmp_path):
    text = json.dumps([{"n": n, "text": "a, b] }"} for n in range(5)])
    for cut in range(1, len(text)):
        found, faults, _ = _read(tmp_path / "a.json", text[:cut])
        assert [code for code, _ in faults] == ["truncated"], (cut, faults)
        assert all(each["n"] == place for place, each in enumerate(found))


def test_an_object_that_ends_early_is_told(tmp_path):
    text = json.dumps({"made": [1, {"a": 2}], "results": [{"n": 0}, {"n": 1}], "end": {"b": [3]}})
    for cut in range(1, len(text)):
        _, faults, _ = _read(tmp_path / "a.json", text[:cut], "results")
        assert [code for code, _ in faults] == ["truncated"], (cut, text[:cut], faults)


def test_reading_goes_on_after_a_damaged_record(tmp_path):
    text = '[{"n": 0}, {"n": oops}, {"n": 2}, {"n": 3 {"n": 4}, {"n": 5}]'
    found, faults, numbers = _read(tmp_path / "a.json", text)
    assert [each["n"] for each in found] == [0, 2, 5]
    assert [code for code, _ in faults] == ["damaged", "damaged"]
    assert numbers == [0, 2, 4]


def test_a_missing_comma_is_told_and_the_rest_is_read(tmp_path):
    found, faults, _ = _read(tmp_path / "a.json", '[{"n": 0} {"n": 1}, {"n": 2}]')
    assert [each["n"] for each in found] == [0, 2]
    assert faults[0][0] == "damaged"
    assert "neither ',' nor ']'" in faults[0][1]


@pytest.mark.parametrize(
    ("content", "key", "code"),
    [
        ("", None, "no-records"),
        ("   \n ", "results", "no-records"),
        ('{"a": 1}', None, "no-records"),
        ("[1]", "results", "no-records"),
        ('{"a": 1}', "results", "no-records"),
        ("{}", "results", "no-records"),
        ('{"results": 3}', "results", "no-records"),
        ("null", None, "no-records"),
        ("{3: 4}", "results", "damaged"),
        ('{"a" 4}', "results", "damaged"),
        ('{"a": 4 "results": []}', "results", "damaged"),
        ('{"results": [] 3}', "results", "damaged"),
        ('{"results": [], oops}', "results", "damaged"),
        ('{"results": [], "results": [1]}', "results", "trailing"),
        ("[1] x", None, "trailing"),
        ("[1,]", None, "damaged"),
    ],
)
def test_files_of_another_shape_are_told(tmp_path, content, key, code):
    _, faults, _ = _read(tmp_path / "a.json", content, key)
    assert [each for each, _ in faults] == [code]


def test_bytes_that_are_no_text_are_told_once_and_do_not_end_the_reading(tmp_path):
    found, faults, _ = _read(tmp_path / "a.json", b'["\xff", "\xfe", "fine"]')
    assert [code for code, _ in faults] == ["not-utf8"]
    assert found[2] == "fine"


def test_a_byte_order_mark_is_passed_over(tmp_path):
    assert _read(tmp_path / "a.json", b"\xef\xbb\xbf[1, 2]")[:2] == ([1, 2], [])


def test_what_python_writes_for_nan_is_read(tmp_path):
    found, faults, _ = _read(tmp_path / "a.json", "[NaN, Infinity, -Infinity, 1e999]")
    assert faults == []
    assert [str(each) for each in found] == ["nan", "inf", "-inf", "inf"]


def test_nesting_and_numbers_without_end_are_told(tmp_path):
    found, faults, _ = _read(tmp_path / "a.json", '[{"a": ' + "[" * 100_000 + "}, {}]")
    assert [code for code, _ in faults] == ["damaged"]
    found, faults, _ = _read(tmp_path / "a.json", '[{"a": ' + "1" * 5000 + '}, {"b": 1}]')
    assert found == [{"b": 1}]
    assert [code for code, _ in faults] == ["damaged"]


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    faults = []
    assert list(stream_records(tmp_path / "no.json", lambda *each: faults.append(each))) == []
    assert faults[0][0] == "unreadable"
    list(stream_records(tmp_path, lambda *each: faults.append(each)))
    assert faults[1][0] == "unreadable"


def test_memory_does_not_grow_with_the_file(tmp_path):
    import tracemalloc

    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write("[")
        for n in range(8_000):
            file.write(f'{{"n": {n}, "text": "{"x" * 2000}"}},')
        file.write("0]")
    assert path.stat().st_size > 16_000_000
    tracemalloc.start()
    try:
        n_records = sum(1 for _ in stream_records(path, lambda *_: None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_records == 8_001
    assert peak < 8_000_000
