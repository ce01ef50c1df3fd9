import numpy as np
import pytest

from glassbox.engine.requests import Request, Sampling
from glassbox.errors import CorruptArtifact
from glassbox.testing import FakeEngine


def test_a_script_decides_what_comes_next():
    def always(_tokens):
        logits = np.full(FakeEngine().info.d_vocab, -50.0)
        logits[7] = 0.0
        return logits

    engine = FakeEngine(always)
    answer = engine.logprobs([(1, 2), (3,)], [(7,), (7, 7), (8,)], top_k=1)
    np.testing.assert_allclose(answer.values[:, :2], 0.0, atol=1e-6)
    assert (answer.values[:, 2] < -40).all()
    assert answer.top_ids.tolist() == [[7], [7]]
    assert engine.n_prompts == 2


def test_a_folder_without_a_fake_adapter(tmp_path):
    with pytest.raises(CorruptArtifact, match="missing"):
        FakeEngine().load_adapter(tmp_path)


def test_a_list_of_ones_own_is_never_too_long_for_the_line():
    engine = FakeEngine(max_waiting=1)
    request = Request((1, 2), sampling=Sampling(max_tokens=2))
    assert len(engine.generate([request] * 3)) == 3
    engine.close()
