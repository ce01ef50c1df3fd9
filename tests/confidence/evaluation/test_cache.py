import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.evaluation.cache import EvaluatorKey, RowCache

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


def test_a_flipped_bit_is_never_another_answer(tmp_path):
    texts, (logprobs, entropy) = [f"text {i}" for i in range(64)], rows(64, 0.1)
    cache = RowCache(tmp_path, KEY, 2)
    cache.add(texts, logprobs, entropy)
    (part,) = cache.folder.glob("part-*.parquet")
    whole = part.read_bytes()
    n_damaged = 0
    for at in range(0, len(whole), 37):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        again = RowCache(tmp_path, KEY, 2)
        found = again.find(texts)
        known = ~np.isnan(found.class_logprobs[:, 0])
        np.testing.assert_array_equal(found.class_logprobs[known], logprobs[known])
        np.testing.assert_array_equal(found.entropy[known], entropy[known])
        n_damaged += len(again.damaged)
    assert n_damaged > 0


def test_a_part_that_was_taken_away_makes_no_room_over_another(tmp_path):
    cache = RowCache(tmp_path, KEY, 2)
    cache.add(["a"], *rows(1))
    cache.add(["b"], *rows(1))
    min(cache.folder.glob("part-*.parquet")).unlink()
    RowCache(tmp_path, KEY, 2).add(["c"], *rows(1))
    assert RowCache(tmp_path, KEY, 2).find(["a", "b", "c"]).missing == [0]


@given(st.lists(st.text(max_size=6), max_size=12, unique=True), st.integers(0, 12))
def test_every_text_is_either_found_or_missing(tmp_path_factory, texts, n_known):
    folder = tmp_path_factory.mktemp("cache")
    known = texts[:n_known]
    cache = RowCache(folder, KEY, 2)
    if known:
        cache.add(known, *rows(len(known)))
    assert cache.find(texts).missing == list(range(len(known), len(texts)))
