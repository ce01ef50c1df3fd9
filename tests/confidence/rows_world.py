"""Evaluated rows drawn from a known truth, for tests of analysis without any model."""

import numpy as np

from glassbox.confidence.evaluation.rows import EvaluatedRows, HeldOut

CLASSES = ("negative", "positive")


def drawn_rows(
    n: int = 1200, *, sharpness: float = 1.0, noise: float = 0.0, seed: int = 0, known: bool = True
) -> EvaluatedRows:
    """Rows whose labels are drawn with a known probability.

    ``sharpness`` multiplies the model's log-odds (above 1 it is over-confident), ``noise`` is the
    standard deviation of the model's own error in log-odds.
    """
    draw = np.random.default_rng(seed)
    log_odds = draw.normal(0.0, 2.5, size=n)
    p_positive = 1.0 / (1.0 + np.exp(-log_odds))
    labels = (draw.random(n) < p_positive).astype(np.int64)
    said = sharpness * (log_odds + noise * np.random.default_rng(seed + 1).normal(size=n))
    logprobs = np.column_stack([-np.logaddexp(0.0, said), -np.logaddexp(0.0, -said)])
    parts = np.array(["calibrator", "threshold", "test"]).repeat(
        [n // 4, round(n * 0.35), n - n // 4 - round(n * 0.35)]
    )
    return EvaluatedRows(
        classes=CLASSES,
        held_out=HeldOut(
            texts=tuple(f"text {i}" for i in range(n)),
            labels=labels,
            parts=tuple(map(str, parts)),
            categories=tuple("odd" if i % 2 else "even" for i in range(n)),
            truth=np.column_stack([1.0 - p_positive, p_positive]) if known else None,
        ),
        class_logprobs=logprobs + np.log(0.98),
        entropy=np.full(n, 0.5),
    )
