import pytest
import torch

from glassbox.engine.model import lent_weights
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import ConflictError
from glassbox.testing import tiny_engine, tiny_loaded


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.data.view(-1)[1].add_(1),
        lambda weight: weight.data.copy_(weight.data * 2),
        lambda weight: torch._foreach_mul_([weight.data], 2.0),
    ],
    ids=["one value", "all", "foreach"],
)
def test_the_next_run_of_a_lease_never_meets_what_was_written_through_data(
    engine, monkeypatch, write
):
    monkeypatch.setattr(lent_weights, "N_LOOKED_AT", 0)
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    with engine.lend(lease_s=5) as lent:
        weight = lent.model.model.layers[1].mlp.up_proj.weight
        before = weight.detach().clone()
        write(weight)
        assert lent.undo() == (
            "values of 1 changed weight put back (model.layers.1.mlp.up_proj.weight)",
        )
        assert torch.equal(weight, before)
        assert lent.model.lm_head.weight.data.sum() != 0
        assert lent.undo() == ()
    assert lent.leftovers == []


def test_a_write_through_data_without_a_copy_closes_the_engine(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    engine = ResidentEngine(tiny_loaded())
    with pytest.raises(ConflictError, match="changed weight"), engine.lend(lease_s=5) as lent:
        lent.model.lm_head.weight.data.view(-1)[1] += 1
    engine.close()


def test_data_is_torchs_own_again_when_no_model_is_lent(engine):
    other = ResidentEngine(tiny_loaded())
    plain = torch.nn.Parameter.data
    with engine.lend(lease_s=5):
        with other.lend(lease_s=5) as inner:
            inner.model.lm_head.weight.data += 1
            assert inner.undo() != ()
        assert torch.nn.Parameter.data is not plain
        mine = torch.nn.Parameter(torch.zeros(2))
        mine.data = torch.ones(2)
        assert mine.data.tolist() == [1, 1]
    assert torch.nn.Parameter.data is plain
    other.close()
