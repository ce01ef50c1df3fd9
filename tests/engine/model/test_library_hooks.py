"""What the library hangs on a model for hidden states costs nobody anything who asks for none."""

import pytest
import torch

from glassbox.engine.model.lent_modules import ModuleRecord
from glassbox.engine.model.library_hooks import hang_library_hooks, without_library_hooks
from glassbox.testing import ARCHITECTURES, tiny_engine, tiny_loaded

IDS = torch.tensor([[5, 6, 7]])


def hooks(model):
    return sum(len(each._forward_hooks) for each in model.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loaded_model_has_no_hooks(architecture):
    engine = tiny_engine(architecture)
    assert hooks(engine._model) == 0
    engine.close()


def test_a_guest_finds_them_and_undoing_needs_no_search(monkeypatch):
    searched, search = [], ModuleRecord._hooks_removed
    monkeypatch.setattr(
        ModuleRecord, "_hooks_removed", lambda own: searched.append(own) or search(own)
    )
    engine = tiny_engine("llama")
    with engine.lend(lease_s=5) as lent:
        n_hooks = hooks(lent.model)
        states = lent.model(IDS, output_hidden_states=True).hidden_states
        assert lent.undo() == ()
        assert hooks(lent.model) == n_hooks > 0
    assert len(states) == 3
    assert not searched
    engine.close()


def test_what_hung_before_a_block_stays_and_what_came_in_it_comes_again():
    model, seen = tiny_loaded("llama").model, []
    model.model.register_forward_hook(lambda *_: seen.append(1))
    with without_library_hooks(model):
        hang_library_hooks(model)
        assert hooks(model) > 1
    assert hooks(model) == 1
    with torch.inference_mode():
        plain = model(IDS)
        full = model(IDS, output_hidden_states=True)
    assert plain.hidden_states is None
    assert len(full.hidden_states) == 3
    assert len(seen) == 3
