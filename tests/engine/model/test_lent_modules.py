"""What a guest did to modules is put back soon, and what the libraries did is nobody's doing."""

import time

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glassbox.engine.model.lent_modules import ModuleRecord
from glassbox.testing import tiny_engine


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()


def test_a_deep_models_hook_is_found_and_removed_in_no_time():
    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=30,
        num_attention_heads=1, num_key_value_heads=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    record = ModuleRecord(model)
    model.model.layers[3].register_forward_hook(lambda *_: None)
    begun = time.process_time()
    assert record.restore() == ("1 forward hook removed",)
    # Looking through all modules for each of their tables took twelve seconds.
    assert time.process_time() - begun < 2


def test_backward_hooks_that_a_guest_takes_away_again_leave_nothing(engine):
    with engine.lend(lease_s=5) as lent:
        layers = lent.model.model.layers
        hooks = [layer.register_full_backward_hook(lambda *_: None) for layer in layers]
        embedded = torch.zeros(1, 3, 32, requires_grad=True)
        lent.model(inputs_embeds=embedded).logits.sum().backward()
        hooks[0].remove()
        assert lent.undo() == ("1 backward hook removed",)
        layers[0].register_full_backward_hook(lambda *_: None).remove()
        assert lent.undo() == ()


def test_the_length_of_a_static_cache_is_the_librarys(engine):
    with engine.lend(lease_s=5) as lent:
        ids = lent.tokenizer("the positive", return_tensors="pt")
        lent.model.generate(**ids, max_new_tokens=2, do_sample=False, cache_implementation="static")
        assert lent.undo() == ()


def test_patched_classes_of_model_and_tokenizer_are_put_back_where_they_only_inherit(engine):
    def refused(*_args, **_kwargs):
        raise AssertionError

    with engine.lend(lease_s=5) as lent:
        model, tokenizer = type(lent.model), type(lent.tokenizer)
        inherited = (model.generate, tokenizer.__call__, tokenizer.batch_decode)
        for kind, name in ((model, "generate"), (tokenizer, "__call__"),
                           (tokenizer, "batch_decode")):  # fmt: skip
            setattr(kind, name, refused)
        assert sorted(lent.undo()) == sorted([
            f"patched {model.__name__}.generate put back",
            f"patched {tokenizer.__name__}.__call__ put back",
            f"patched {tokenizer.__name__}.batch_decode put back",
        ])  # fmt: skip
        assert (model.generate, tokenizer.__call__, tokenizer.batch_decode) == inherited
        assert "generate" not in vars(model)
        assert lent.undo() == ()
