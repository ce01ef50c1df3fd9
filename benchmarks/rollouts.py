"""How often a rollout promotes what it must not, and how soon what it may.

Thousands of challengers are simulated against each gate, watched at every request: first worse than
the champion by exactly the allowed margin, then better by degrees. A gate that passes at any
request counts, without waiting for a minimum of requests. Baselines in the same run, on the same
requests: a z-test at every look, Hoeffding's bound with a normal mixture, and the empirical
Bernstein bound with predictable weights.

Run: ``python -m benchmarks.rollouts [--rollouts 2000] [--requests 3000] [--whole 300]``
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from glassbox.rollout.decisions.evidence import Evidence
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan
from glassbox.rollout.decisions.policy import State, decide
from glassbox.stats.intervals import clopper_pearson
from glassbox.stats.sequential.means import LOG_WEIGHTS, STAKES, BoundedMean, normal_mixture_radius

ALPHA = 0.05
FLOOR = 30
"""Requests before the z-test is looked at; without it nearly all would pass at once."""

WHOLE = RolloutPlan(step_weight=0.25, limits=GateLimits(error_rate=0.05, calibration=None))
"""Plan of whole rollouts: wide enough in errors that good ones end within 3,000 requests."""

EVERY = 50
"""Requests between two looks at a whole rollout."""

NOISE = 0.02
"""Mean difference of the champion of whole rollouts to itself."""

LIMITS = {"difference": 0.05, "error_rate": 0.05, "latency": 0.05}
"""What each gate of whole rollouts allows, as in their plan."""

JUDGED_BY = {"difference": ("difference", "noise"), "error_rate": ("errors",), "latency": ("slow",)}
"""Tallies that each gate of the shadow reads."""

ROUNDING = 1e-6
"""More than the logarithms of coins are rounded by."""

Requests = Float[np.ndarray, "rollouts requests"]
Passed = Bool[np.ndarray, "rollouts requests"]
Draw = Callable[[np.random.Generator, int, int, float], Requests]


def betting(values: Requests, limit: float, low: float, high: float) -> Passed:
    """The bound that rollouts use, at every request."""
    del low
    coins = np.full(values.shape, -np.inf)
    for stake, weight in zip(STAKES, LOG_WEIGHTS, strict=True):
        won = np.cumsum(np.log1p(stake * (limit - values) / (high - limit)), axis=1)
        np.logaddexp(coins, won + weight, out=coins)
    return coins >= math.log(1 / ALPHA)


def z_test(values: Requests, limit: float, low: float, high: float) -> Passed:
    """A one-sided z-test at level alpha, looked at after every request from the 30th on."""
    del low, high
    n = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, axis=1) / n
    variance = np.maximum(np.cumsum(values**2, axis=1) / n - mean**2, 1e-12)
    passed: Passed = (mean + 1.6449 * np.sqrt(variance / n) <= limit) & (n >= FLOOR)
    return passed


def hoeffding(values: Requests, limit: float, low: float, high: float) -> Passed:
    """Howard et al. 2021: the range alone stands for the variance."""
    n = np.arange(1, values.shape[1] + 1)
    variance = (high - low) ** 2 / 4
    radius = np.array(
        [
            normal_mixture_radius(k * variance, alpha=2 * ALPHA, tuned_for=500 * variance)
            for k in n.tolist()
        ]
    )
    passed: Passed = (np.cumsum(values, axis=1) + radius) / n <= limit
    return passed


def bernstein(values: Requests, limit: float, low: float, high: float) -> Passed:
    """Waudby-Smith & Ramdas 2023, theorem 2, one-sided."""
    scaled, wanted = (values - low) / (high - low), (limit - low) / (high - low)
    n = np.arange(1, scaled.shape[1] + 1)
    mean = (0.5 + np.cumsum(scaled, axis=1)) / (n + 1)
    variance = (0.25 + np.cumsum((scaled - mean) ** 2, axis=1)) / (n + 1)
    before = np.concatenate([np.full((len(scaled), 1), 0.5), mean[:, :-1]], axis=1)
    spread = np.concatenate([np.full((len(scaled), 1), 0.25), variance[:, :-1]], axis=1)
    weight = np.minimum(np.sqrt(2 * math.log(1 / ALPHA) / (spread * n * np.log1p(n))), 0.5)
    penalty = np.cumsum((scaled - before) ** 2 * (-np.log1p(-weight) - weight), axis=1)
    total = np.cumsum(weight, axis=1)
    upper = (np.cumsum(weight * scaled, axis=1) + math.log(1 / ALPHA) + penalty) / total
    passed: Passed = upper <= wanted
    return passed


BOUNDS: dict[str, Callable[[Requests, float, float, float], Passed]] = {
    "betting (Glassbox)": betting,
    "empirical Bernstein": bernstein,
    "Hoeffding, normal mixture": hoeffding,
    "z-test at every look": z_test,
}


def _differences(rng: np.random.Generator, rollouts: int, requests: int, mean: float) -> Requests:
    # Most differences of two classifiers are tiny and a few are large.
    return rng.beta(2 * mean, 2 * (1 - mean), size=(rollouts, requests))


def _errors(rng: np.random.Generator, rollouts: int, requests: int, mean: float) -> Requests:
    champion = rng.random((rollouts, requests)) < 0.005
    challenger = rng.random((rollouts, requests)) < 0.005 + mean
    return challenger.astype(np.float64) - champion


def _slow(rng: np.random.Generator, rollouts: int, requests: int, mean: float) -> Requests:
    return (rng.random((rollouts, requests)) < mean).astype(np.float64)


GATES: dict[str, tuple[Draw, float, float]] = {
    "difference": (_differences, 0.05, 0.0),
    "error_rate": (_errors, 0.01, -1.0),
    "latency": (_slow, 0.05, 0.0),
}
"""How each gate's requests are drawn, its limit and the low end of its range."""


def false_promotions(n_rollouts: int, n_requests: int, seed: int) -> None:
    """Print how often each bound passes a challenger that is worse by exactly the margin."""
    print(
        f"\nworse by exactly the limit, {n_rollouts} rollouts of {n_requests} requests, "
        f"alpha {ALPHA}: promoted (upper 95 % limit)"
    )
    print("| bound | " + " | ".join(GATES) + " |")
    print("|---|" + "---|" * len(GATES))
    for name, bound in BOUNDS.items():
        cells = []
        for place, (draw, limit, low) in enumerate(GATES.values()):
            rng = np.random.default_rng([seed, place])
            values = draw(rng, n_rollouts, n_requests, limit)
            n_passed = int(bound(values, limit, low, 1.0).any(axis=1).sum())
            upper = float(clopper_pearson(n_passed, n_rollouts, level=0.9)[1])
            cells.append(f"{n_passed / n_rollouts:.1%} ({upper:.1%})")
        print(f"| {name} | " + " | ".join(cells) + " |")


def power(n_rollouts: int, n_requests: int, seed: int) -> None:
    """Print how often, and after how many requests, each bound passes one that may pass."""
    print("\nwhere the truth is a share of the limit: promoted, median requests of all rollouts")
    for gate, (draw, limit, low) in GATES.items():
        shares = (
            (0.0, 0.25, 0.5, 0.75, 0.9) if gate != "difference" else (0.1, 0.25, 0.5, 0.75, 0.9)
        )
        print(f"\n| {gate}, limit {limit} | " + " | ".join(f"{each:.2f}" for each in shares) + " |")
        print("|---|" + "---|" * len(shares))
        for name, bound in BOUNDS.items():
            if bound is z_test:
                continue
            cells = []
            for place, share in enumerate(shares):
                rng = np.random.default_rng([seed, 7, place])
                passed = bound(draw(rng, n_rollouts, n_requests, share * limit), limit, low, 1.0)
                ever = passed.any(axis=1)
                first = np.where(ever, passed.argmax(axis=1) + 1, n_requests + 1)
                median = float(np.median(first))
                shown = f"{median:.0f}" if median <= n_requests else "–"
                cells.append(f"{ever.mean():.0%}, {shown}")
            print(f"| {name} | " + " | ".join(cells) + " |")


def canary(n_rollouts: int, n_requests: int, seed: int) -> None:
    """Print the same for two arms, of which the challenger's gets a tenth of the requests.

    Rollouts take the smallest product of coins over all rates of the champion. Here its true rate
    is put in, which passes at least as often: the share printed is an upper bound.
    """
    rng = np.random.default_rng([seed, 9])
    coins = np.full((n_rollouts, n_requests), -np.inf), np.full((n_rollouts, n_requests), -np.inf)
    is_new = rng.random((n_rollouts, n_requests)) < 0.1
    failed = rng.random((n_rollouts, n_requests)) < np.where(is_new, 0.015, 0.005)
    for stake, weight in zip(STAKES, LOG_WEIGHTS, strict=True):
        new = np.where(is_new, np.log1p(stake * (0.015 - failed) / (1 - 0.015)), 0.0)
        old = np.where(is_new, 0.0, np.log1p(stake * (failed - 0.005) / 0.005))
        for kept, won in zip(coins, (new, old), strict=True):
            np.logaddexp(kept, np.cumsum(won, axis=1) + weight, out=kept)
    n_passed = int((coins[0] + coins[1] >= math.log(1 / ALPHA)).any(axis=1).sum())
    upper = float(clopper_pearson(n_passed, n_rollouts, level=0.9)[1])
    print(
        f"\ncanary_error_rate, two arms, worse by exactly 0.01: promoted at most "
        f"{n_passed / n_rollouts:.1%} ({upper:.1%})"
    )


def whole(n_rollouts: int, n_requests: int, seed: int) -> None:
    """Print how often whole rollouts promote, and what they must not promote how often.

    Through ``decide`` and ``Evidence`` as they are shipped: shadow, canary steps and all gates at
    once, a look every 50 requests. Noise of 0.02 is in the difference, and its floor is measured.
    First challengers that are worse by exactly one gate's limit, then, a fortieth as many, by
    shares of it.
    """
    print(
        f"\nwhole rollouts, {n_rollouts} each, a look every {EVERY} of {n_requests} requests: "
        "promoted (upper 95 % limit)"
    )
    for gate in GATES:
        n_promoted = sum(
            _may_be_promoted([seed, 13, each], gate, n_requests)
            and _is_promoted([seed, 13, each], {gate: 1.0}, n_requests)
            for each in range(n_rollouts)
        )
        upper = float(clopper_pearson(n_promoted, n_rollouts, level=0.9)[1])
        print(f"| worse in {gate} | {n_promoted / n_rollouts:.1%} ({upper:.1%}) |", flush=True)
    shares = (0.0, 0.5, 0.75)
    n_each = max(n_rollouts // 40, 1)
    print(f"\nwhole rollouts, {n_each} each, worse by a share of the limit: promoted")
    print("| worse in | " + " | ".join(f"{each:.2f}" for each in shares) + " |")
    print("|---|" + "---|" * len(shares))
    for gate in GATES:
        cells = [
            sum(
                _is_promoted([seed, 17, place, each], {gate: share}, n_requests)
                for each in range(n_each)
            )
            / n_each
            for place, share in enumerate(shares)
        ]
        print(f"| {gate} | " + " | ".join(f"{each:.0%}" for each in cells) + " |", flush=True)


def _may_be_promoted(seed: list[int], worse: str, n_requests: int) -> bool:
    """Return False where the gate that a challenger is worse in passes at no look.

    Without it a rollout stays in the shadow, where nobody's requests depend on what was decided:
    they can be drawn beforehand, and nearly all rollouts need not be gone through gate by gate.
    """
    rng, tallies = np.random.default_rng(seed), Evidence.begin("r", "v1", "v2", WHOLE).tallies
    limits = WHOLE.limits
    wanted = math.log(1 / limits.alpha) - ROUNDING
    assert limits.difference is not None
    for _ in range(n_requests // EVERY):
        for name, values in _drawn(rng, {worse: 1.0}, 0.0).items():
            if name in JUDGED_BY[worse]:
                tallies[name].extend(values.tolist())
        if worse == "difference":
            # The least over all noise counts; where it is too little for some, it is for all.
            noise = np.linspace(0.0, limits.most_noise, 60)
            coins = tallies["difference"].log_coins_below(limits.difference + noise)
            coins = coins + tallies["noise"].log_coins_above(noise)
        else:
            limit = LIMITS[worse]
            coins = tallies[JUDGED_BY[worse][0]].log_coins_below(np.array([limit]))
        if coins.min() >= wanted:
            return True
    return False


def _drawn(
    rng: np.random.Generator, shares: Mapping[str, float], weight: float
) -> dict[str, Float[np.ndarray, " observations"]]:
    """Return what one look's requests add to each tally."""
    worse = {gate: limit * shares.get(gate, 0.0) for gate, limit in LIMITS.items()}
    n_canary = int(rng.binomial(EVERY, weight))
    shadowed = EVERY - n_canary
    champion = rng.random(EVERY) < 0.005
    challenger = rng.random(EVERY) < 0.005 + worse["error_rate"]
    mean = NOISE + worse["difference"]
    found = {
        "errors": challenger[:shadowed] * 1.0 - champion[:shadowed],
        "champion_errors": champion[:shadowed] * 1.0,
        "slow": (rng.random(shadowed) < worse["latency"]) * 1.0,
        "difference": rng.beta(2 * mean, 2 * (1 - mean), shadowed),
        "noise": rng.beta(2 * NOISE, 2 * (1 - NOISE), shadowed // 10),
    }
    if weight:
        found |= {
            "canary_champion_errors": champion[:shadowed] * 1.0,
            "canary_errors": challenger[shadowed:] * 1.0,
            "canary_slow": (rng.random(n_canary) < worse["latency"]) * 1.0,
        }
    return found


def _is_promoted(seed: list[int], shares: Mapping[str, float], n_requests: int) -> bool:
    rng = np.random.default_rng(seed)
    evidence, state = Evidence.begin("r", "v1", "v2", WHOLE), State("Waiting")
    evidence.distinct.update(str(each) for each in range(WHOLE.min_distinct))
    for _ in range(n_requests // EVERY):
        for name, values in _drawn(rng, shares, state.weight).items():
            evidence.tallies[name].extend(values.tolist())
        decision = decide(WHOLE, replace(state, step_s=state.step_s + 60.0), evidence)
        if decision.verdict in ("promote", "rollback"):
            return decision.verdict == "promote"
        state = decision.state
    return False


def same_as_shipped(seed: int) -> None:
    """Check that the tallies of rollouts pass no earlier than the coins simulated here."""
    rng = np.random.default_rng([seed, 11])
    n_checked = 0
    for draw, limit, low in GATES.values():
        values = draw(rng, 3, 600, limit / 4)
        passed = betting(values, limit, low, 1.0)
        for row, expected in zip(values, passed, strict=True):
            tally = BoundedMean(1.0, is_signed=low < 0)
            for place, value in enumerate(row.tolist()):
                tally.add(value)
                if place % 50 == 49:
                    assert not (tally.upper(ALPHA) <= limit) or expected[place]
                    n_checked += 1
    print(f"\nthe shipped tallies never passed before the simulated coins: {n_checked} looks")


def cost() -> None:
    """Print what counting an observation and one look cost."""
    rng = np.random.default_rng(0)
    values = rng.beta(0.1, 1.9, size=20_000).tolist()
    tally = BoundedMean()
    started = time.perf_counter()
    tally.extend(values)
    each = (time.perf_counter() - started) / len(values)
    started = time.perf_counter()
    for _ in range(20):
        tally.upper(ALPHA)
    look = (time.perf_counter() - started) / 20
    print(
        f"one observation {1e6 * each:.1f} µs, one bound {1e3 * look:.1f} ms, whatever came before"
    )


def main() -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--whole", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    false_promotions(asked.rollouts, asked.requests, asked.seed)
    canary(asked.rollouts, asked.requests, asked.seed)
    whole(asked.whole, asked.requests, asked.seed)
    power(max(asked.rollouts // 5, 1), asked.requests, asked.seed)
    same_as_shipped(asked.seed)
    cost()


if __name__ == "__main__":
    main()
