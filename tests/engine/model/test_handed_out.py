import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

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
        lambda weight: weight[1:].data.add_(1),
        lambda weight: weight.numpy().__iadd__(1),
        lambda weight: np.add.at(weight.detach().T.numpy(), (0, 1), 1),
        lambda weight: np.asarray(weight).fill(1),
        lambda weight: np.from_dlpack(weight.detach()).fill(1),
        lambda weight: torch.from_dlpack(weight.detach()).add_(1),
    ],
    ids=["one value", "all", "foreach", "view", "numpy", "view in numpy", "array", "dlpack",
         "torch to torch"],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["model.layers.1.mlp.up_proj.weight", "model.some_table"], ids=["parameter", "buffer"]
)
def test_the_next_run_of_a_lease_never_meets_what_was_written_past_the_counters(
    monkeypatch, name, write
):
    monkeypatch.setattr(lent_weights, "N_LOOKED_AT", 0)
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    loaded = tiny_loaded()
    loaded.model.model.register_buffer("some_table", torch.randn(6, 5))
    engine = ResidentEngine(loaded)
    with engine.lend(lease_s=5) as lent:
        weight = dict([*lent.model.named_parameters(), *lent.model.named_buffers()])[name]
        before = weight.detach().clone()
        write(weight)
        assert lent.undo() == (f"values of 1 changed weight put back ({name})",)
        assert torch.equal(weight, before)
        # Whoever only reads there has changed nothing.
        assert lent.model.lm_head.weight.data.sum() != lent.model.lm_head.weight.numpy().max()
        assert lent.undo() == ()
    assert lent.leftovers == []
    engine.close()


def test_tensors_without_memory_of_their_own_are_as_ever(engine):
    with engine.lend(lease_s=5) as lent:
        sparse = torch.eye(2).to_sparse()
        assert sparse.data.to_dense().tolist() == [[1, 0], [0, 1]]
        with pytest.raises(RuntimeError, match="under vmap"):
            torch.vmap(lambda x: x.data)(torch.zeros(2))
        with pytest.raises(TypeError, match="can't convert Sparse"):
            sparse.numpy()
        assert torch.ones(1, requires_grad=True).numpy(force=True).tolist() == [1]
        assert lent.undo() == ()


class Seen(TorchFunctionMode):
    """Names of the calls that a guest's own mode is told of."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Strict(torch.Tensor):
    """Knows the calls that it was written for, and no others."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ not in ("__get__", "numpy", "sum", "item"):
            return NotImplemented
        return super().__torch_function__(func, types, args, kwargs)


def test_guests_own_modes_and_tensors_are_told_of_their_own_calls_alone(engine):
    with engine.lend(lease_s=5) as lent:
        weight = lent.model.lm_head.weight
        with Seen() as seen:
            assert weight.data.numpy().base is not None
            weight.detach().__dlpack__()
        assert seen.names == ["__get__", "numpy", "detach", "__dlpack__"]
        assert torch.ones(3).as_subclass(Strict).data.sum().item() == 3
        assert torch.ones(3).as_subclass(Strict).numpy().sum() == 3
        # Its memory is asked for by nobody, or torch would warn.
        with FakeTensorMode():
            assert torch.ones(3).data.shape == (3,)
        assert lent.undo() == ()


def test_a_write_through_data_without_a_copy_closes_the_engine(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    monkeypatch.setattr(lent_weights, "N_SAMPLED", 4)
    engine = ResidentEngine(tiny_loaded())
    with pytest.raises(ConflictError, match="changed weight"), engine.lend(lease_s=5) as lent:
        lent.model.lm_head.weight.data.view(-1)[1] += 1
    engine.close()


def test_the_doors_are_torchs_own_again_when_no_model_is_lent(engine):
    other = ResidentEngine(tiny_loaded())
    plain, own = torch.nn.Parameter.data, dict(vars(torch.Tensor))
    with engine.lend(lease_s=5):
        with other.lend(lease_s=5) as inner:
            inner.model.lm_head.weight.data += 1
            assert inner.undo() != ()
        assert torch.nn.Parameter.data is not plain
        mine = torch.nn.Parameter(torch.zeros(2))
        mine.data = torch.ones(2)
        assert mine.data.tolist() == [1, 1]
    assert torch.nn.Parameter.data is plain
    assert dict(vars(torch.Tensor)) == own
    other.close()
