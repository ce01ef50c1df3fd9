"""Asking held-out texts: chunk by chunk, each kept before the next."""

import numpy as np
import pytest

from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.evaluation import rows
from glassbox.confidence.evaluation.cache import EvaluatorKey, RowCache
from glassbox.confidence.evaluation.rows import HeldOut, evaluate_rows
from glassbox.confidence.labels import default_labels
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
