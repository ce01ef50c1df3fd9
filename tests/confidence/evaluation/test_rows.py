"""Asking held-out texts: chunk by chunk, each kept before the next."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.evaluation import rows
from glassbox.confidence.evaluation.cache import EvaluatorKey, RowCache
from glassbox.confidence.evaluation.rows import EvaluatedRows, HeldOut, Overlong, evaluate_rows
from glassbox.confidence.labels import default_labels
from glassbox.errors import NotEnoughData
from glassbox.testing.fake import FakeEngine

KEY = EvaluatorKey("fake", None, "prompt", "float64")
CHUNK_ROWS = 8
N_ROWS = 3 * CHUNK_ROWS - 3


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(rows, "CHUNK_ROWS", CHUNK_ROWS)


def held_out() -> HeldOut:
    texts = tuple(f"Number {i}" for i in range(N_ROWS))
    return HeldOut(texts, np.arange(N_ROWS) % 2, ("test",) * N_ROWS, (None,) * N_ROWS, None)


@st.composite
def evaluated(draw: st.DrawFn) -> EvaluatedRows:
    """Rows of any text, label and part, with and without categories and known truth."""
    n_rows, n_classes = draw(st.integers(0, 6)), draw(st.integers(2, 4))
    words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)

    def column(values: st.SearchStrategy) -> tuple:
        return tuple(draw(st.lists(values, min_size=n_rows, max_size=n_rows)))

    seeded = np.random.default_rng(draw(st.integers(0, 99)))
    held = HeldOut(
        texts=column(words),
        labels=np.array(column(st.integers(0, n_classes - 1)), dtype=np.int64),
        parts=column(st.sampled_from(["calibrator", "threshold", "test"])),
        categories=column(st.none() | words),
        truth=seeded.random((n_rows, n_classes)) if n_rows and draw(st.booleans()) else None,
    )
    classes = tuple(f"클래스 {k}, no. {k}" for k in range(n_classes))
    return EvaluatedRows(
        classes, held, seeded.normal(size=(n_rows, n_classes)), seeded.random(n_rows)
    )


def as_tuples(rows: EvaluatedRows, chosen: list[int]) -> list[tuple]:
    """Some rows, each by itself."""
    held = rows.held_out
    return [
        (
            held.texts[i], rows.classes[held.labels[i]], held.parts[i], held.categories[i],
            None if held.truth is None else tuple(held.truth[i]), tuple(rows.class_logprobs[i]),
            rows.entropy[i],
        )
        for i in chosen
    ]  # fmt: skip


@given(evaluated(), st.data())
def test_rows_are_read_and_taken_as_they_were(rows, data):
    n = len(rows.held_out)
    with tempfile.TemporaryDirectory() as folder:
        rows.save(Path(folder) / "rows.parquet")
        again = EvaluatedRows.load(Path(folder) / "rows.parquet")
    assert again.classes == rows.classes
    assert as_tuples(again, [*range(n)]) == as_tuples(rows, [*range(n)])
    chosen = data.draw(st.lists(st.integers(0, n - 1), max_size=8)) if n else []
    taken = rows.take(np.array(chosen, dtype=np.int64))
    assert as_tuples(taken, [*range(len(chosen))]) == as_tuples(rows, chosen)
    tested = [i for i in range(n) if rows.held_out.parts[i] == "test"]
    assert as_tuples(rows.part("test"), [*range(len(tested))]) == as_tuples(rows, tested)


@pytest.mark.parametrize("n_done", [CHUNK_ROWS, 2 * CHUNK_ROWS])
def test_what_was_asked_before_an_interruption_is_not_asked_again(tmp_path, n_done):
    def stop(done, total):
        assert total == N_ROWS
        if done > n_done:
            raise KeyboardInterrupt

    labels = default_labels(["a", "b"])
    whole = evaluate_rows(
        LabelModel(FakeEngine(), labels), held_out(), RowCache(tmp_path / "whole", KEY, 2)
    )
    assert whole.n_computed == N_ROWS
    model, cut = LabelModel(FakeEngine(), labels), RowCache(tmp_path / "cut", KEY, 2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_rows(model, held_out(), cut, progress=stop)
    engine, seen = FakeEngine(), []
    again = evaluate_rows(
        LabelModel(engine, labels),
        held_out(),
        RowCache(tmp_path / "cut", KEY, 2),
        progress=lambda done, _total: seen.append(done),
    )
    assert again.n_computed == engine.n_prompts == N_ROWS - n_done
    assert min(seen) >= n_done
    np.testing.assert_array_equal(again.rows.class_logprobs, whole.rows.class_logprobs)
    np.testing.assert_array_equal(again.rows.entropy, whole.rows.entropy)
    assert again.overlong == Overlong(n_truncated=0, n_skipped=0)


@pytest.mark.parametrize("long", ["long " * 900, ""])
def test_texts_that_do_not_fit_are_left_out_unless_all_are(tmp_path, long):
    model = LabelModel(FakeEngine(context=400), default_labels(["a", "b"]), overlong="skip")
    texts = (*(f"{'long ' * 900}{i}" for i in range(N_ROWS - 1)), f"{long}last")
    held = HeldOut(texts, np.arange(N_ROWS) % 2, ("test",) * N_ROWS, (None,) * N_ROWS, None)
    cache = RowCache(tmp_path, KEY, 2)
    if long:
        with pytest.raises(NotEnoughData, match=r"fit its context.* at least 1 text; there are 0"):
            evaluate_rows(model, held, cache)
    else:
        answered = evaluate_rows(model, held, cache)
        assert answered.rows.held_out.texts == ("last",)
        assert answered.overlong == Overlong(n_truncated=0, n_skipped=N_ROWS - 1)
    assert not RowCache(tmp_path, KEY, 2).damaged
