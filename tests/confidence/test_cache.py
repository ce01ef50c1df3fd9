import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.cache import EvaluatorKey, RowCache

KEY = EvaluatorKey("model", None, "prompt", "float32")


def rows(n, start=0.0):
    return np.arange(n * 2, dtype=np.float64).reshape(n, 2) + start, np.arange(n, dtype=np.float64)


def test_what_was_added_is_found_again_by_another_process(tmp_path):
    texts = ["a", "b", "c"]
    logprobs, entropy = rows(3)
    RowCache(tmp_path, KEY, 2).add(texts, logprobs, entropy)
    found = RowCache(tmp_path, KEY, 2).find(["c", "new", "a"])
    assert found.missing == [1]
    np.testing.assert_array_equal(found.class_logprobs[[0, 2]], logprobs[[2, 0]])
    np.testing.assert_array_equal(found.entropy[[0, 2]], entropy[[2, 0]])


@pytest.mark.parametrize(
    "other",
    [
        EvaluatorKey("other", None, "prompt", "float32"),
        EvaluatorKey("model", "adapter", "prompt", "float32"),
        EvaluatorKey("model", None, "other", "float32"),
        EvaluatorKey("model", None, "prompt", "bfloat16"),
    ],
)
def test_whatever_an_answer_depends_on_has_rows_of_its_own(tmp_path, other):
    RowCache(tmp_path, KEY, 2).add(["a"], *rows(1))
    assert len(RowCache(tmp_path, other, 2)) == 0
    assert len(RowCache(tmp_path, KEY, 2)) == 1


def test_a_damaged_part_is_set_aside_and_the_others_still_count(tmp_path):
    cache = RowCache(tmp_path, KEY, 2)
    cache.add(["a"], *rows(1))
    cache.add(["b"], *rows(1))
    first, _ = sorted(cache.folder.glob("part-*.parquet"))
    first.write_bytes(first.read_bytes()[:40])
    again = RowCache(tmp_path, KEY, 2)
    assert len(again.damaged) == 1
    assert again.find(["a", "b"]).missing == [0]
    again.add(["a"], *rows(1))
    assert RowCache(tmp_path, KEY, 2).find(["a", "b"]).missing == []


@given(st.lists(st.text(max_size=6), max_size=12, unique=True), st.integers(0, 12))
def test_every_text_is_either_found_or_missing(tmp_path_factory, texts, n_known):
    folder = tmp_path_factory.mktemp("cache")
    known = texts[:n_known]
    cache = RowCache(folder, KEY, 2)
    if known:
        cache.add(known, *rows(len(known)))
    assert cache.find(texts).missing == list(range(len(known), len(texts)))
