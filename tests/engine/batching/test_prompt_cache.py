import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.batching.prompt_cache import BLOCK_TOKENS, PromptCache, common_length

PLACE_BYTES = 2 * 2 * 2 * 4


def states(tokens, adapter=None):
    """Return fake keys and values that tell which tokens they belong to."""
    numbers = torch.tensor([hash((adapter, tuple(tokens[: at + 1]))) % 9973
                            for at in range(len(tokens))], dtype=torch.float32)  # fmt: skip
    return numbers[None, None, None, :, None].expand(2, 2, 2, -1, 1).clone()


def keep(cache, tokens, adapter=None):
    missing = cache.missing(adapter, tokens)
    made = states(tokens, adapter)[..., missing.start : missing.stop, :].clone()
    cache.put(adapter, tokens, missing, made)


prompts = st.lists(
    st.tuples(
        st.sampled_from([None, "a"]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 90)
    ),
    max_size=25,
)


@given(prompts, st.integers(0, 400))
def test_what_is_found_is_what_was_put_in_and_never_over_the_budget(asked, n_places):
    cache = PromptCache(n_places * PLACE_BYTES)
    for adapter, first, second, length in asked:
        draw = random.Random(first)
        tokens = [draw.randrange(5) for _ in range(32)]
        tokens = (*tokens, *(random.Random(second).randrange(5) for _ in range(60)))[:length]
        n = cache.find(adapter, tokens, length - 1)
        assert n % BLOCK_TOKENS == 0
        assert n < length
        found = torch.zeros(2, 2, 2, n, 1)
        for start, piece in cache.take(adapter, tokens, n):
            found[..., start : start + piece.shape[3], :] = piece
        torch.testing.assert_close(found, states(tokens, adapter)[..., :n, :])
        keep(cache, tokens, adapter)
        assert cache.n_bytes <= cache.capacity_bytes
        held = [run.states.untyped_storage().nbytes() for run in cache._runs.values()]
        assert cache.n_bytes == sum(held), "what was cut off is let go"
    cache.clear()
    assert (cache.n_bytes, len(cache._blocks)) == (0, 0)


def test_the_least_recently_used_goes_first():
    cache = PromptCache(2 * BLOCK_TOKENS * PLACE_BYTES)
    one, two, three = ((token,) * 16 for token in (1, 2, 3))
    keep(cache, one)
    keep(cache, two)
    cache.take(None, one, 16)
    keep(cache, three)
    assert [cache.find(None, each, 16) for each in (one, two, three)] == [16, 0, 16]


def test_what_goes_on_from_a_prompt_goes_with_it():
    cache = PromptCache(3 * BLOCK_TOKENS * PLACE_BYTES)
    trunk, other = (1,) * 16, (3,) * 16
    keep(cache, trunk)
    keep(cache, (*trunk, *(2,) * 16))
    keep(cache, other)
    keep(cache, (4,) * 16)
    assert cache.find(None, (*trunk, *(2,) * 16), 32) in (0, 16)
    found = sum(cache.find(None, each, 32) for each in (trunk, other, (4,) * 16))
    assert cache.n_bytes >= found * PLACE_BYTES
    assert set(cache._blocks) == {name for run in cache._runs.values() for name in run.names}
    reachable = [cache.find(None, (*trunk, *(2,) * 16), 32), cache.find(None, other, 16), 16]
    assert cache.n_bytes == sum(reachable) * PLACE_BYTES


def test_what_goes_on_from_a_prompt_never_pushes_it_out():
    cache = PromptCache(5 * BLOCK_TOKENS * PLACE_BYTES)
    trunk = tuple(range(32))
    keep(cache, trunk)
    long = (*trunk, *range(100, 100 + 64))
    keep(cache, long)
    assert cache.find(None, trunk, 32) == 32
    assert cache.find(None, long, 96) == 80, "as much of it as there is room for"
    talk, found = trunk, []
    for turn in range(6):
        found.append(cache.find(None, talk, len(talk)))
        keep(cache, talk)
        talk = (*talk, *range(1000 + 32 * turn, 1032 + 32 * turn))
    assert found == [32, 32, 64, 80, 80, 80], "a talk that outgrows the budget keeps its beginning"


def test_one_adapters_prompts_are_not_anothers():
    cache = PromptCache(10**6)
    keep(cache, (1,) * 16, "a")
    assert cache.find("a", (1,) * 16, 16) == 16
    assert cache.find(None, (1,) * 16, 16) == 0


@given(st.lists(st.integers(0, 1), max_size=12), st.lists(st.integers(0, 1), max_size=12))
def test_common_length(left, right):
    n = common_length(left, right)
    assert left[:n] == right[:n]
    assert n == min(len(left), len(right)) or left[n] != right[n]
