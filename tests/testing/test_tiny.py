import time

import pytest
import torch

from glassbox.errors import UnknownName
from glassbox.testing import ARCHITECTURES, tiny_engine, tiny_loaded


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_is_small_seeded_and_packed(architecture):
    engine = tiny_engine(architecture)
    assert engine.info.scoring_path == "packed"
    assert engine.info.d_model == 32
    assert engine.info.n_layers == 2
    assert 280 <= engine.info.d_vocab <= 320
    first, second = (tiny_loaded(architecture).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_seeds_differ_and_the_callers_random_state_does_not():
    before = torch.random.get_rng_state()
    one, two = tiny_engine(seed=1), tiny_engine(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.info.digest != two.info.digest
    ask = ([(1, 2, 3)], [(4,)])
    assert one.logprobs(*ask).values[0, 0] != two.logprobs(*ask).values[0, 0]


def test_an_engine_is_made_in_a_blink():
    tiny_engine()
    started = time.process_time()
    tiny_engine()
    assert time.process_time() - started < 2.0


def test_an_unknown_architecture_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'llama'"):
        tiny_engine("lama")
