import numpy as np
import pytest

from glassbox.pathways.integration import decision_effects as module
from glassbox.pathways.integration.ablation import DecisionPrompt
from glassbox.pathways.integration.decision_effects import decision_effects
from glassbox.pathways.integration.looks import (
    FIRST_LOOK,
    GOES_ON,
    expected_directions,
    looks_of,
)
from glassbox.pathways.latents import LatentId
from glassbox.progress import untold


class Drawn:
    """A meter whose latents are directions drawn at random, each moving every prompt its own way.

    How far they move the decision, and how much any change there moves it, differs by latent.
    ``heavy`` draws them from Student's law with so many degrees of freedom.
    """

    def __init__(self, n_latents, *, driver=0.0, heavy=None, seed=0):
        self.latents = tuple(LatentId(0, index) for index in range(n_latents))
        self.prompts = tuple(
            DecisionPrompt((0, 5), kind, pair) for pair in range(6) for kind in ("safe", "risky")
        )
        self.driver, self.heavy, self.seed = driver, heavy, seed
        self.n_runs = []

    def directions(self, latent, n, *, seed):
        return [LatentId(0, 1000 + number) for number in range(n)]

    def ablated(self, runs, progress=untold):
        self.n_runs.append(len(runs))
        found = np.empty((len(runs), len(self.prompts)))
        for row, run in enumerate(runs):
            place = run.latents[0].index
            of_latent = np.random.default_rng((self.seed, place))
            size, usual = np.exp(of_latent.normal(0, 1)), of_latent.normal()
            written = -1 if run.writes is None else run.writes.index
            rng = np.random.default_rng((self.seed, place, written + 1))
            own = rng.normal() if self.heavy is None else rng.standard_t(self.heavy)
            own += self.driver * (place == 0 and run.writes is None)
            found[row] = usual + size * (own + 0.2 * rng.normal(size=len(self.prompts)))
        return found


def looked_at(n_random, n_studies=40, **how):
    return [
        decision_effects(Drawn(50, seed=seed, **how), n_random=n_random)
        for seed in range(n_studies)
    ]


@pytest.mark.parametrize("n_random", [6, 10, 20])
def test_a_latent_that_is_a_random_direction_has_a_uniform_p_value(n_random):
    found = looked_at(n_random)
    p = np.array([each.p for effects in found for each in effects.values()])
    # A first look leaves out some that a second would have found: that errs to the safe side.
    lost = 0.5 if len(looks_of(50, n_random)) == 2 else 0.0
    for level in (0.01, 0.05, 0.25, 0.5, 0.75):
        error = 4 * np.sqrt(level * (1 - level) / len(p))
        assert (1 - lost) * level - error - 0.01 <= (p <= level).mean() <= level + error
    # Effects differ from 0 on every pair of prompts all the same: that is no distinction.
    sure = [each.low > 0 or each.high < 0 for effects in found for each in effects.values()]
    assert np.mean(sure) > 0.8
    discoveries = [any(each.q <= 0.05 for each in effects.values()) for effects in found]
    assert np.mean(discoveries) <= 0.2


def test_one_that_moves_the_decision_beyond_random_directions_stands_out_alone():
    found = decision_effects(Drawn(50, driver=15.0), n_random=20)
    assert [latent.index for latent, each in found.items() if each.q <= 0.05] == [0]


def test_directions_are_spent_on_what_the_first_look_leaves_open():
    meter = Drawn(50, driver=15.0)
    effects = decision_effects(meter, n_random=20)
    first, second = meter.n_runs
    assert first == 50 * (1 + FIRST_LOOK)
    n_open = second // 21
    assert second == 21 * n_open
    assert 1 <= n_open < 25
    assert sum(each.p <= GOES_ON for each in effects.values()) <= n_open


def test_a_second_look_is_one_at_its_own_directions(monkeypatch):
    """Those that go on have the distance from new directions alone, as a single look has it."""
    effects = decision_effects(Drawn(50, driver=15.0), n_random=20)
    meter = Drawn(50, driver=15.0)
    draw = meter.directions
    meter.directions = lambda latent, n, *, seed: draw(latent, FIRST_LOOK + n, seed=seed)[
        FIRST_LOOK:
    ]
    monkeypatch.setattr(module, "looks_of", lambda n_latents, n_random: (n_random,))
    alone = decision_effects(meter, n_random=20)
    driver = meter.latents[0]
    assert effects[driver].z == pytest.approx(alone[driver].z)
    assert effects[driver].effect == pytest.approx(alone[driver].effect)


def test_a_pool_too_small_for_two_looks_is_looked_at_once():
    meter = Drawn(50, driver=15.0)
    draw = meter.directions
    meter.directions = lambda latent, n, *, seed: draw(latent, min(n, 22), seed=seed)
    effects = decision_effects(meter, n_random=20)
    assert meter.n_runs == [50 * (1 + 20)]
    assert effects[meter.latents[0]].q <= 0.05


def test_nothing_is_measured_again_where_the_first_look_leaves_nothing_open():
    meter = Drawn(60)
    meter.ablated = lambda runs, _progress: (
        meter.n_runs.append(len(runs)) or np.zeros((len(runs), 12))
    )
    effects = decision_effects(meter, n_random=20)
    assert meter.n_runs == [60 * (1 + FIRST_LOOK)]
    assert all(each.z is None and each.p == each.q == 1 for each in effects.values())


@pytest.mark.parametrize(
    ("n_latents", "n_random", "looks"),
    [
        (50, 20, (FIRST_LOOK, 20)),
        (1550, 20, (FIRST_LOOK, 20)),
        (50, 10, (10,)),
        (50, 0, (0,)),
        (5, 20, (20,)),
        (39, 20, (20,)),
        (40, 20, (FIRST_LOOK, 20)),
        (5, 200, (FIRST_LOOK, 200)),
    ],
)
def test_a_first_look_is_taken_where_it_spares_something(n_latents, n_random, looks):
    assert looks_of(n_latents, n_random) == looks
    expected = expected_directions(n_latents, n_random)
    assert expected == sum(looks) if len(looks) == 1 else FIRST_LOOK < expected < sum(looks)


@pytest.mark.slow
def test_few_studies_of_latents_without_effect_find_any():
    found = looked_at(20, 400)
    p = np.array([each.p for effects in found for each in effects.values()])
    for level in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    discoveries = [any(each.q <= 0.05 for each in effects.values()) for effects in found]
    assert np.mean(discoveries) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))


@pytest.mark.slow
def test_where_tails_are_heavy_two_looks_find_no_more_by_chance_than_one(monkeypatch):
    def values():
        found = looked_at(20, 200, heavy=4)
        return np.array([each.p for effects in found for each in effects.values()])

    two = values()
    monkeypatch.setattr(module, "looks_of", lambda n_latents, n_random: (n_random,))
    one = values()
    # Farther out, a law made of fewer directions is less sure.
    for level in (0.01, 0.05, 0.1, 0.25, 0.5):
        error = 3 * np.sqrt(2 * level * (1 - level) / len(one))
        assert (two <= level).mean() <= (one <= level).mean() + error
