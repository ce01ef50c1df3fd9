import torch

from glassbox.engine.scoring.prefix_cache import PrefixCache, states_bytes


def states(n_keys):
    part = torch.zeros(2, n_keys, 4)
    return {0: (part, part), 1: (part, part)}


def test_the_least_recently_used_goes_first():
    size = states_bytes(states(8))
    assert size == 4 * 2 * 8 * 4 * 4
    cache = PrefixCache(2 * size)
    made = []

    def make(name):
        return lambda: made.append(name) or states(8)

    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get((None, (ord(name),)), make(name))
    assert made == ["a", "b", "c", "b"]
    assert cache.n_bytes == 2 * size
    cache.clear()
    assert cache.n_bytes == 0


def test_adapters_do_not_share_states():
    cache = PrefixCache(10**6)
    base, tuned = states(1), states(1)
    assert cache.get((None, (1,)), lambda: base) is base
    assert cache.get(("digest", (1,)), lambda: tuned) is tuned


def test_a_prefix_over_the_budget_is_used_and_not_kept():
    cache = PrefixCache(8)
    big = states(64)
    assert cache.get((None, (1,)), lambda: big) is big
    assert cache.n_bytes == 0
