"""How long a comparison of many columns with many rows takes, and how often it cries for nothing.

The baseline is what people write by hand: scipy's two-sample tests and distances, one column after
the other, with bins made anew. Both get the same arrays; the figure is the ratio of medians.

Run: ``python -m benchmarks.drift [--columns 50] [--rows 100000] [--rounds 3] [--streams 200]``
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy import spatial, stats

from benchmarks.apparatus.machine import describe_machine
from glassbox.rollout.drift.comparison import compare_windows
from glassbox.rollout.drift.windows import Column, Window
from glassbox.stats.intervals import clopper_pearson

LOOKS = 20
"""Comparisons of each stream: one after each new window."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=200)
    arguments = parser.parse_args()
    print(describe_machine(torch.device("cpu")).description)
    compare_speed(arguments.columns, arguments.rows, arguments.rounds)
    if arguments.streams:
        count_alarms(arguments.streams)
        count_found(arguments.streams)


def compare_speed(n_columns: int, n_rows: int, rounds: int) -> None:
    """Print how long both ways take."""
    generator = np.random.default_rng(0)
    before, now = (
        _window([_drawn(generator, kind, n_rows) for kind in range(n_columns)]) for _ in range(2)
    )
    ways: dict[str, Callable[[], object]] = {
        "glassbox": lambda: compare_windows(before, now),
        "scipy by hand": lambda: _by_hand(before, now),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    ours, theirs = (statistics.median(seconds[name]) for name in ways)
    print(f"{n_columns} columns, {n_rows:,} rows on each side")
    print(f"glassbox {ours:.2f} s; scipy by hand {theirs:.2f} s: {theirs / ours:.1f} times")


def count_alarms(n_streams: int) -> None:
    """Print in how many streams without drift something was flagged at any of 20 looks."""
    alarms = naive = 0
    for seed in range(n_streams):
        generator = np.random.default_rng(1000 + seed)
        before = _window([_drawn(generator, kind, 2000) for kind in range(10)])
        flagged = flagged_naively = False
        for _ in range(LOOKS):
            now = _window([_drawn(generator, kind, 500) for kind in range(10)])
            found, _ = compare_windows(before, now)
            flagged |= any(each.drifted for each in found)
            flagged_naively |= any(each.p_value <= 0.05 for each in found)
        alarms += flagged
        naive += flagged_naively
    for name, count in (("glassbox", alarms), ("p <= 0.05 alone", naive)):
        low, high = (float(each) for each in clopper_pearson(count, n_streams))
        print(
            f"{name}: {count} of {n_streams} streams without drift cried within {LOOKS} looks "
            f"({low:.1%} to {high:.1%})"
        )


def count_found(n_streams: int) -> None:
    """Print how often a shift of the mean of one of ten columns is flagged at the first look."""
    print("shift in sd: share of windows flagged, of 500 and of 5,000 rows")
    for shift in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0):
        shares = []
        for n_rows in (500, 5000):
            n_found = 0
            for seed in range(n_streams):
                generator = np.random.default_rng(5000 + seed)
                before = _window([generator.normal(size=10_000) for _ in range(10)])
                now = _window([generator.normal(shift * (i == 0), 1, n_rows) for i in range(10)])
                found, _ = compare_windows(before, now)
                n_found += found[0].name == "x0" and found[0].drifted
            shares.append(n_found / n_streams)
        print(f"{shift:.1f}: {shares[0]:.2f} {shares[1]:.2f}")


def _drawn(generator: np.random.Generator, kind: int, n: int) -> Float[np.ndarray, " n"]:
    shapes: tuple[Callable[[], Float[np.ndarray, " n"]], ...] = (
        lambda: generator.normal(size=n),
        lambda: generator.lognormal(sigma=1.0, size=n),
        lambda: generator.beta(5, 1, size=n),
        lambda: generator.poisson(4, size=n).astype(np.float64),
        lambda: generator.standard_t(2, size=n),
    )
    return shapes[kind % len(shapes)]()


def _window(columns: list[Float[np.ndarray, " n"]]) -> Window:
    return Window(
        np.arange(columns[0].size, dtype=np.float64),
        tuple(Column(f"x{i}", "numeric", "feature", each) for i, each in enumerate(columns)),
    )


def _by_hand(before: Window, now: Window) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for first, second in zip(before.columns, now.columns, strict=True):
        edges = np.unique(np.quantile(first.values, np.linspace(0, 1, 11)))
        edges[0], edges[-1] = -np.inf, np.inf
        p, q = (np.histogram(each.values, edges)[0] / each.values.size for each in (first, second))
        p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
        found.append(
            (
                float(stats.ks_2samp(first.values, second.values, method="asymp").pvalue),
                float(stats.wasserstein_distance(first.values, second.values)),
                float(spatial.distance.jensenshannon(p, q, base=2)),
                float(((p - q) * np.log(p / q)).sum()),
            )
        )
    return found


if __name__ == "__main__":
    main()
